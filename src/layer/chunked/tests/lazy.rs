//! What stargz-snapshotter reads of a blob: its last 40 bytes, the table, and the digest of each chunk.

use super::{super::check::check_blob, *};

/// Returns the annotations of a manifest for lazy pulls.
fn for_lazy_pulls(annotations: &Annotations) -> Annotations {
    Compression::Lazy.annotations(annotations.clone())
}

#[test]
fn the_last_bytes_locate_the_toc_with_the_annotated_digest() {
    let (blob, annotations) = chunked(&archive('a'), 2, 65_536);
    let (numbers, magic) = blob[blob.len() - 40..].split_at(32);
    assert_eq!(magic, b"GnUlInUx");
    let number = |at: usize| u64::from_le_bytes(numbers[8 * at..8 * at + 8].try_into().unwrap());
    let (offset, length) = (number(0) as usize, number(1) as usize);
    let text = zstd::decode_all(&blob[offset..offset + length]).unwrap();
    assert_eq!((text.len() as u64, number(3)), (number(2), 1));
    assert_eq!(annotations[annotation::LAZY], Digest::sha256(&text).to_string());
    let (_, toc) = table(&blob, &annotations);
    let chunks = toc.entries.iter().filter(|entry| entry.size > 0 || entry.kind == EntryKind::Chunk);
    assert!(chunks.clone().count() > LENGTHS.len() && chunks.clone().all(|entry| entry.chunk_digest.is_some()));
    // The skippable frame that older versions of podman find, if they read 64 bytes.
    assert_eq!(blob[blob.len() - 56..blob.len() - 48], *b"GNUlInUx");
}

#[test]
fn manifests_name_the_toc_for_partial_or_for_lazy_pulls() {
    let (_, annotations) = chunked(&archive('a'), 2, 65_536);
    let lazy = for_lazy_pulls(&annotations);
    assert_eq!(lazy.keys().collect::<Vec<_>>(), [annotation::LAZY, annotation::OLD_CHECKSUM, annotation::OLD_POSITION]);
    let partial = Compression::ZstdChunked.annotations(annotations.clone());
    assert_eq!((partial.len(), partial.contains_key(annotation::LAZY)), (annotations.len() - 1, false));
}

#[test]
fn a_lazy_layer_is_checked_against_its_annotations() {
    let (blob, annotations) = chunked(&archive('a'), 2, 65_536);
    let lazy = for_lazy_pulls(&annotations);
    let (located, toc) = table(&blob, &lazy);
    check_blob(&located, &toc, &mut &blob[..]).unwrap();

    let mut other = lazy.clone();
    other.insert(annotation::LAZY.to_owned(), Digest::sha256(b"x").to_string());
    let wrong = Located::from_annotations(&other, blob.len() as u64).unwrap().unwrap();
    let at = wrong.table.offset as usize..(wrong.table.offset + wrong.table.length) as usize;
    assert!(wrong.read(&blob[at]).unwrap_err().to_string().contains("its digest before compression is not"));

    // Positions in the footer of podman and of stargz-snapshotter, and the magic number of the latter.
    for (at, why) in [(48 + 60, "positions"), (40, "positions"), (8, "the footer that lazy pulls need")] {
        let mut changed = blob.clone();
        let at = blob.len() - at;
        changed[at] ^= 1;
        let error = check_blob(&located, &toc, &mut &changed[..]).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn blobs_of_the_first_revision_stay_valid() {
    let (blob, annotations) = chunked(&archive('a'), 2, 65_536);
    let partial = Compression::ZstdChunked.annotations(annotations.clone());
    let (located, mut toc) = table(&blob, &partial);
    // Files of one chunk had no digest of the chunk.
    for entry in toc.entries.iter_mut().filter(|entry| entry.size > 0 && entry.chunk_size == 0) {
        entry.chunk_digest = None;
    }
    let old = &blob[..blob.len() - 48];
    check_blob(&located, &toc, &mut &*old).unwrap();
    let lazy = Located { plain_digest: located.plain_digest.or(Some(Digest::sha256(b"x"))), ..located };
    assert!(check_blob(&lazy, &toc, &mut &*old).is_err());
}
