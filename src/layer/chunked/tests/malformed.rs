//! Tables of contents that are malformed, or differ from their layers.

use super::{
    super::{
        check::{check_blob, check_entries},
        toc::TocEntry,
    },
    *,
};

/// Checks that a table changed by `change` is refused with a message that contains `why`.
#[track_caller]
fn refused(valid: &Toc, end: u64, why: &str, change: impl Fn(&mut Toc)) {
    let mut table = valid.clone();
    change(&mut table);
    let error = files(&table, end).err().unwrap_or_else(|| panic!("no error: {why}")).to_string();
    assert!(error.contains(why), "{error}, and not {why}");
}

/// The first entry that has several chunks; its chunks follow.
fn big(table: &mut Toc) -> &mut [TocEntry] {
    let at = table.entries.iter().position(|entry| entry.kind == EntryKind::Chunk).unwrap();
    &mut table.entries[at - 1..]
}

#[test]
fn a_toc_with_wrong_offsets_is_refused() {
    let (blob, annotations) = chunked(&archive('a'), 2, 65_536);
    let (located, valid) = table(&blob, &annotations);
    let refused = |why: &str, change: &dyn Fn(&mut Toc)| refused(&valid, located.table.offset, why, change);
    refused("overlaps", &|table| big(table)[0].offset = 1 << 40);
    refused("overlaps", &|table| big(table)[1].offset = u64::MAX);
    refused("overlaps", &|table| big(table)[1].offset = 1);
    refused("overlaps", &|table| table.entries.last_mut().unwrap().end_offset = u64::MAX);
    // A chunk of one file inside a chunk of another file.
    refused("overlaps", &|table| {
        let place = big(table)[0].offset;
        table.entries.iter_mut().rfind(|entry| entry.kind == EntryKind::Reg).unwrap().offset = place;
    });
    refused("bomb", &|table| table.entries.iter_mut().find(|entry| entry.size == 1).unwrap().size = 1 << 50);
    refused("and it has", &|table| big(table)[0].size += 1);
    refused("and it has", &|table| big(table)[0].size = u64::MAX);
    refused("do not follow each other", &|table| big(table)[1].chunk_offset += 1);
    refused("do not follow each other", &|table| big(table)[1].chunk_size = 0);
    refused("do not follow each other", &|table| big(table)[0].chunk_size = u64::MAX);
    refused("has no digest", &|table| big(table)[1].chunk_digest = None);
    refused("has no digest", &|table| big(table)[0].digest = None);
    refused("follows no file", &|table| table.entries.retain(|entry| entry.kind == EntryKind::Chunk));
    refused("twice", &|table| table.entries.push(table.entries[0].clone()));
    refused("not a path", &|table| table.entries[1].name = "/a/../../etc/passwd".into());
    refused("not a path", &|table| table.entries[1].name.clear());
    refused("follows \"", &|table| big(table)[1].name.push('x'));
}

#[test]
fn wrong_annotations_and_tocs_are_refused() {
    let (blob, annotations) = chunked(&archive('a'), 2, 65_536);
    let size = blob.len() as u64;
    let (located, _) = table(&blob, &annotations);
    let at = located.table;
    let bytes = &blob[at.offset as usize..(at.offset + at.length) as usize];
    let positions = ["", "1", "1:2:3", "1:2:3:2", "a:2:3:1", "-1:2:3:1", "0:2:3:1", "1:18446744073709551615:3:1"];
    let more = ["1:2:18446744073709551615:1", &format!("{size}:1:3:1"), "1:2:3:1:5"];
    for position in positions.into_iter().chain(more) {
        let wrong = [(annotation::CHECKSUM, located.digest.to_string()), (annotation::POSITION, position.to_owned())];
        let wrong = wrong.map(|(key, value)| (key.to_owned(), value)).into();
        assert!(Located::from_annotations(&wrong, size).is_err(), "{position}");
    }
    assert_eq!(Located::from_annotations(&Annotations::new(), size).unwrap(), None);
    let error = |located: &Located, bytes: &[u8]| located.read(bytes).unwrap_err().to_string();
    assert!(error(&located, &bytes[1..]).contains("its digest is not"));
    let mut changed = bytes.to_vec();
    changed[20] ^= 1;
    assert!(error(&located, &changed).contains("its digest is not"));
    // Only the digest is correct.
    let located_as = |bytes: &[u8], plain| {
        let table = super::super::read::BlobPosition { offset: 10, length: bytes.len() as u64, plain };
        Located { digest: Digest::sha256(bytes), plain_digest: None, table, tar_split: None }
    };
    let bomb = zstd::encode_all(&vec![b' '; 100_000_000][..], 3).unwrap();
    assert!(error(&located_as(&bomb, 1000), &bomb).contains("does not have the 1000 bytes"));
    for (text, why) in [
        ("{}", "parsing it"),
        (r#"{"version":2,"entries":[]}"#, "version 2"),
        (r#"{"version":1,"entries":[{"type":"other","name":"x"}]}"#, "parsing it"),
        (r#"{"version":1,"entries":[{"type":"reg","name":"x","size":-1}]}"#, "parsing it"),
        // Readers whose field names have any case see another table.
        (r#"{"version":1,"entries":[],"Entries":[{"type":"dir","name":"x"}]}"#, "duplicate field `entries`"),
        (r#"{"version":1,"entries":[{"type":"reg","name":"x","mode":493,"MODE":2541}]}"#, "duplicate field `mode`"),
        (
            r#"{"version":1,"entries":[{"type":"reg","name":"x","chunkSize":1,"chunksize":2}]}"#,
            "duplicate field `chunksize`",
        ),
        (r#"{"version":1,"entries":[{"type":"reg","name":"x","\u017fize":1}]}"#, "is not ASCII"),
    ] {
        let bytes = zstd::encode_all(text.as_bytes(), 3).unwrap();
        let error = error(&located_as(&bytes, text.len() as u64), &bytes);
        assert!(error.contains(why), "{error}");
    }
    assert!(error(&located_as(b"x", 5), b"x").contains("decompressing it"));
    // The text is small, and needs much memory when it is parsed.
    let entries = vec![r#"{"type":"dir","name":"x"}"#; 1_000_001].join(",");
    let many = format!(r#"{{"version":1,"entries":[{entries}]}}"#);
    let bytes = zstd::encode_all(many.as_bytes(), 3).unwrap();
    assert!(error(&located_as(&bytes, many.len() as u64), &bytes).contains("more than 1000000 entries"));
}

#[test]
fn field_names_have_any_case() {
    let text = r#"{"Version":1,"ENTRIES":[{"Type":"reg","nAme":"x","modtime":"1970-01-01T00:00:01Z","UID":7,"gid":8,
        "LINKNAME":"y","ChunkSize":3,"devmajor":4,"other":{"A":1,"a":2}}]}"#;
    let expected = TocEntry {
        name: "x".to_owned(),
        modified: Some("1970-01-01T00:00:01Z".to_owned()),
        uid: 7,
        gid: 8,
        link_name: "y".to_owned(),
        chunk_size: 3,
        dev_major: 4,
        ..TocEntry::default()
    };
    assert_eq!(Toc::parse(text.as_bytes()).unwrap().entries, [expected]);
}

#[test]
fn devices_are_described_for_comparisons_only() {
    let mut tar = TarWriter::new(Vec::new());
    tar.append_with::<LayerError>(&Header::file(b"/a", 0), |_| Ok(())).unwrap();
    let mut tar = tar.finish().unwrap();
    tar.truncate(512);
    let mut pipe = tar::Header::new_ustar();
    pipe.set_path("pipe").unwrap();
    pipe.set_entry_type(tar::EntryType::Fifo);
    pipe.set_mode(0o600);
    pipe.set_size(0);
    pipe.set_uid(1);
    pipe.set_gid(1);
    pipe.set_mtime(1);
    pipe.set_cksum();
    tar.extend_from_slice(pipe.as_bytes());
    tar.extend_from_slice(&[0; 1024]);
    let mut writer = ChunkedWriter::with_threads(Vec::new(), 1, None).unwrap().describing_devices();
    writer.write_all(&tar).unwrap();
    let (blob, Finished { annotations, unfit }) = writer.finish().unwrap();
    assert_eq!(unfit, None);
    let (_, toc) = table(&blob, &annotations);
    let kinds: Vec<EntryKind> = toc.entries.iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [EntryKind::Reg, EntryKind::Fifo]);
    let mut other = toc.clone();
    other.entries[1].kind = EntryKind::Reg;
    assert!(check_entries(&other, &toc).is_err());
}

#[test]
fn a_toc_that_differs_from_its_layer_is_reported() {
    let tar = archive('a');
    let (blob, annotations) = chunked(&tar, 2, 65_536);
    let (located, toc) = table(&blob, &annotations);
    check_blob(&located, &toc, &mut &blob[..]).unwrap();
    check_entries(&toc, &toc).unwrap();

    let mut changed_tables: Vec<(&str, Toc)> = Vec::new();
    let mut add = |what, change: fn(&mut Vec<TocEntry>)| {
        let mut table = toc.clone();
        change(&mut table.entries);
        changed_tables.push((what, table));
    };
    add("mode", |entries| entries[3].mode = 0o4777);
    add("owner", |entries| entries[5].uid = 0);
    add("time", |entries| entries[5].modified = Some("2026-01-01T00:00:00Z".to_owned()));
    add("link", |entries| entries[3].link_name = "/etc/shadow".to_owned());
    add("attribute", |entries| drop(entries[3].xattrs.insert("user.x".to_owned(), "eA==".to_owned())));
    add("name", |entries| entries[3].name.push('x'));
    add("less", |entries| drop(entries.remove(3)));
    add("more", |entries| entries.push(TocEntry { name: "/more".to_owned(), ..TocEntry::default() }));
    for (what, table) in changed_tables {
        assert!(check_entries(&table, &toc).is_err(), "{what}");
    }

    let file = toc.entries.iter().position(|entry| entry.size == 5_000).unwrap();
    let mut other = toc.clone();
    other.entries[file].digest = Some(Digest::sha256(b"x"));
    assert!(check_blob(&located, &other, &mut &blob[..]).is_err(), "digest");
    let mut other = toc.clone();
    other.entries[file].offset -= 1;
    assert!(check_blob(&located, &other, &mut &blob[..]).is_err(), "offset");
    for (what, at) in [
        ("chunk", toc.entries[file].offset + 30),
        ("footer", blob.len() as u64 - 70),
        ("old footer", blob.len() as u64 - 20),
    ] {
        let mut blob = blob.clone();
        blob[at as usize] ^= 1;
        assert!(check_blob(&located, &toc, &mut &blob[..]).is_err(), "{what}");
    }
    let split = located.tar_split.unwrap();
    let without = Located { tar_split: None, plain_digest: None, ..located.clone() };
    assert!(check_blob(&without, &toc, &mut &blob[..]).is_err(), "tar-split data that only the footer has");
    let mut blob = blob.clone();
    blob[(split.offset + split.length / 2) as usize] ^= 1;
    assert!(check_blob(&located, &toc, &mut &blob[..]).is_err(), "tar-split data");
}
