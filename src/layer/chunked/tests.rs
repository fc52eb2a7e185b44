mod lazy;
mod malformed;

use std::{
    io::{Read, Write},
    ops::Range,
};

use super::{
    Annotations, ChunkedWriter, Finished, annotation,
    map::FrameMap,
    read::{ChunkAt, Located, files},
    toc::{EntryKind, Toc},
};
use crate::{
    layer::{Header, LayerError, TarWriter, compress::Compression},
    oci::Digest,
};

/// Bytes that do not compress, with a store path's hash now and then.
fn content(length: usize, digit: char) -> Vec<u8> {
    let mut state = length as u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    let mut bytes: Vec<u8> = std::iter::repeat_with(&mut next).take(length).collect();
    let path = format!("/nix/store/{}-x", digit.to_string().repeat(32));
    for at in (10_000..length.saturating_sub(100)).step_by(700_000) {
        bytes[at..at + path.len()].copy_from_slice(path.as_bytes());
    }
    bytes
}

const LENGTHS: [usize; 12] = [0, 1, 511, 512, 513, 5_000, 20_000, 131_072, 1_048_576, 2_097_152, 2_099_300, 7_000_003];

fn archive(digit: char) -> Vec<u8> {
    let mut tar = TarWriter::new(Vec::new());
    let put = |tar: &mut TarWriter<_>, header: &Header<'_>, bytes: &[u8]| {
        tar.append_with(header, |out| out.write_all(bytes).map_err(LayerError::Write)).unwrap();
    };
    put(&mut tar, &Header::directory(b"/"), &[]);
    put(&mut tar, &Header::directory(b"/nix"), &[]);
    let long = format!("/nix/{}", "n".repeat(300));
    put(&mut tar, &Header::file(long.as_bytes(), 3), b"abc");
    put(&mut tar, &Header::file("/é".as_bytes(), 0), &[]);
    for length in LENGTHS {
        let name = format!("/nix/{length}");
        put(
            &mut tar,
            &Header { mode: 0o444, uid: 7, ..Header::file(name.as_bytes(), length as u64) },
            &content(length, digit),
        );
    }
    tar.finish().unwrap()
}

fn chunked(tar: &[u8], threads: usize, step: usize) -> (Vec<u8>, Annotations) {
    let mut writer = ChunkedWriter::with_threads(Vec::new(), threads, None).unwrap();
    for part in tar.chunks(step) {
        writer.write_all(part).unwrap();
    }
    let (blob, finished) = writer.finish().unwrap();
    (blob, finished.annotations)
}

fn table(blob: &[u8], annotations: &Annotations) -> (Located, Toc) {
    let located = Located::from_annotations(annotations, blob.len() as u64).unwrap().expect("a table");
    let Located { table: at, .. } = located;
    let read = located.read(&blob[at.offset as usize..(at.offset + at.length) as usize]).unwrap();
    (located, read)
}

fn unpack(blob: &[u8], chunk: &ChunkAt) -> Vec<u8> {
    zstd::decode_all(&blob[chunk.offset as usize..chunk.end as usize]).unwrap()
}

#[test]
fn other_readers_get_the_same_tar_with_any_number_of_threads() {
    let tar = archive('a');
    let (blob, annotations) = chunked(&tar, 1, 65_536);
    for (threads, step) in [(2, 100_003), (8, 1 << 24), (3, 777)] {
        assert!(chunked(&tar, threads, step) == (blob.clone(), annotations.clone()), "{threads} threads, {step} bytes");
    }
    assert!(zstd::decode_all(&blob[..]).unwrap() == tar);
}

#[test]
fn the_toc_lists_every_file_with_the_offsets_of_its_chunks() {
    let tar = archive('a');
    let (blob, annotations) = chunked(&tar, 2, 65_536);
    let (located, table) = table(&blob, &annotations);
    assert_eq!(table.entries.iter().filter(|entry| entry.kind != EntryKind::Chunk).count(), 4 + LENGTHS.len());
    let files = files(&table, located.table.offset).unwrap();
    assert_eq!(files.len(), LENGTHS.len());
    for file in &files {
        let mut whole = Vec::new();
        for chunk in &file.chunks {
            let bytes = unpack(&blob, chunk);
            assert_eq!((bytes.len() as u64, Digest::sha256(&bytes)), (chunk.size, chunk.digest), "{}", file.entry.name);
            whole.extend(bytes);
        }
        assert_eq!((whole.len() as u64, Digest::sha256(&whole)), (file.entry.size, file.digest), "{}", file.entry.name);
        if let Some(length) = file.entry.name.strip_prefix("/nix/").and_then(|name| name.parse().ok()) {
            assert!(whole == content(length, 'a'));
            assert_eq!((file.entry.mode, file.entry.uid), (0o444, 7));
            assert_eq!(file.entry.modified.as_deref(), Some("1970-01-01T00:00:01Z"));
        }
    }
}

fn one(range: Range<u64>) -> Vec<Range<u64>> {
    std::iter::once(range).collect()
}

#[test]
fn ranges_of_the_blob_are_made_without_the_rest() {
    let tar = archive('a');
    let noise = content(3_000_000, 'a');
    for plain in [&tar, &noise, &Vec::new()] {
        let mut writer = ChunkedWriter::with_threads(Vec::new(), 2, None).unwrap();
        writer.write_all(plain).unwrap();
        let (blob, annotations, map) = writer.finish_with_map().unwrap();
        let map: FrameMap = serde_json::from_slice(&serde_json::to_vec(&map).unwrap()).unwrap();
        let end = blob.len() as u64;
        let frames_end = map.end_of_frames();
        let mut sets = vec![
            vec![],
            one(0..1),
            one(0..end),
            one(end - 1..end),
            vec![0..1, 2..3, end / 2..end / 2 + 1],
            one(frames_end.saturating_sub(1)..frames_end),
            one(frames_end.saturating_sub(1)..end),
        ];
        // Each frame, and ranges across the ends of frames.
        let ends: Vec<u64> = map.frames().map(|placed| placed.in_blob().end).collect();
        sets.push(ends.iter().map(|end| end - 1..*end).collect());
        sets.extend(ends.windows(2).map(|ends| one(ends[0] - 1..ends[0] + 1)));
        for ranges in sets {
            let mut made = Vec::new();
            let (wanted, mut parts) = map.parts(&ranges, None, &mut made).unwrap();
            assert!(wanted.is_sorted_by(|one, next| one.end < next.start), "{wanted:?}");
            for range in wanted {
                for piece in plain[range.start as usize..range.end as usize].chunks(10_000) {
                    parts.write_all(piece).unwrap();
                }
            }
            parts.finish().unwrap();
            let expected: Vec<u8> =
                ranges.iter().flat_map(|range| &blob[range.start as usize..range.end as usize]).copied().collect();
            assert!(made == expected, "{ranges:?}");
        }
        assert_eq!(map.size(), end);
        assert_eq!(map.table(&annotations).unwrap().is_some(), std::ptr::eq(plain, &tar));
    }
}

#[test]
fn a_changed_tar_yields_no_range() {
    let tar = archive('a');
    let mut writer = ChunkedWriter::with_threads(Vec::new(), 2, None).unwrap();
    writer.write_all(&tar).unwrap();
    let (blob, _, map) = writer.finish_with_map().unwrap();
    let end = map.end_of_frames();
    let other = archive('b');
    for (bytes, why) in [(&other[..], "other bytes"), (&tar[..tar.len() - 1], "too few")] {
        let mut made = Vec::new();
        let (_, mut parts) = map.parts(&one(0..end), None, &mut made).unwrap();
        assert!(parts.write_all(bytes).and_then(|()| parts.finish()).is_err(), "{why}");
    }
    let mut made = Vec::new();
    let (_, mut parts) = map.parts(&one(0..end), None, &mut made).unwrap();
    assert!(parts.write_all(&tar).is_ok() && parts.write_all(b"x").is_err(), "too many");
    // The table is written without the tar.
    let mut made = Vec::new();
    let (wanted, parts) = map.parts(&one(end..blob.len() as u64), None, &mut made).unwrap();
    assert!(wanted.is_empty());
    parts.finish().unwrap();
    assert!(made == blob[end as usize..]);
}

/// Assembles the tar as vbatts/tar-split does (tar/asm/assemble.go).
#[test]
fn the_files_and_the_tar_split_data_give_the_tar() {
    let tar = archive('a');
    let (blob, annotations) = chunked(&tar, 2, 65_536);
    let (located, table) = table(&blob, &annotations);
    let files = files(&table, located.table.offset).unwrap();
    let at = located.tar_split.unwrap();
    let split = &blob[at.offset as usize..(at.offset + at.length) as usize];
    assert_eq!(table.tar_split_digest, Some(Digest::sha256(split)));
    let mut text = String::new();
    zstd::stream::read::Decoder::new(split).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text.len() as u64, at.plain);
    let mut made = Vec::new();
    for (position, line) in text.lines().enumerate() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["position"], position);
        let payload = line["payload"].as_str().map(|text| data_encoding::BASE64.decode(text.as_bytes()).unwrap());
        if line["type"] == 2 {
            made.extend(payload.unwrap());
        } else if line["size"].is_number() {
            let file = files.iter().find(|file| file.entry.name == line["name"]).unwrap();
            let content: Vec<u8> = file.chunks.iter().flat_map(|chunk| unpack(&blob, chunk)).collect();
            assert_eq!(payload.unwrap(), super::frames::CRC.checksum(&content).to_be_bytes());
            made.extend(content);
        }
    }
    assert!(made == tar);
}

#[test]
fn a_rebuild_changes_the_chunks_with_hashes() {
    let (old, old_annotations) = chunked(&archive('a'), 2, 65_536);
    let (new, new_annotations) = chunked(&archive('b'), 2, 65_536);
    let (old_at, old_table) = table(&old, &old_annotations);
    let (new_at, new_table) = table(&new, &new_annotations);
    let known: Vec<Digest> = files(&old_table, old_at.table.offset)
        .unwrap()
        .iter()
        .flat_map(|file| file.chunks.clone())
        .map(|chunk| chunk.digest)
        .collect();
    let new_files = files(&new_table, new_at.table.offset).unwrap();
    let missing: u64 = new_files
        .iter()
        .flat_map(|file| &file.chunks)
        .filter(|chunk| !known.contains(&chunk.digest))
        .map(|chunk| chunk.end - chunk.offset)
        .sum();
    assert!(missing > 0 && missing < 2_000, "{missing} bytes");
}

#[test]
fn a_tar_that_the_format_cannot_describe_has_no_table() {
    let plain = archive('a');
    let files = |names: &[&[u8]]| {
        let mut tar = TarWriter::new(Vec::new());
        for name in names {
            tar.append_with::<LayerError>(&Header::file(name, 0), |_| Ok(())).unwrap();
        }
        tar.finish().unwrap()
    };
    let (twice, not_utf8) = (files(&[b"/a", b"/a"]), files(&[b"/\xff"]));
    let after = [plain.clone(), vec![0; 10_000], b"x".to_vec()].concat();
    let noise = content(3_000_000, 'a');
    let mut sparse = tar::Header::new_gnu();
    sparse.set_entry_type(tar::EntryType::GNUSparse);
    sparse.set_size(0);
    sparse.set_cksum();
    let mut pipe = tar::Header::new_ustar();
    pipe.set_entry_type(tar::EntryType::Fifo);
    pipe.set_size(0);
    pipe.set_cksum();
    for (why, tar) in [
        ("no end", &[][..]),
        ("the name \"/a\" twice", &twice),
        ("the name \"/\u{fffd}\", which is not UTF-8", &not_utf8),
        ("a sparse file", sparse.as_bytes()),
        ("a device or a pipe", pipe.as_bytes()),
        ("no end", &plain[..700]),
        ("no end", &plain[..6_000_000]),
        ("bytes after its end", &after),
        ("a malformed header", &noise),
    ] {
        let mut writer = ChunkedWriter::with_threads(Vec::new(), 2, None).unwrap();
        writer.write_all(tar).unwrap();
        let (blob, Finished { annotations, unfit }) = writer.finish().unwrap();
        assert_eq!(unfit.unwrap().to_string(), format!("its tar has {why}"));
        assert!(annotations.is_empty(), "{why}");
        assert!(!blob.is_empty() && zstd::decode_all(&blob[..]).unwrap() == tar, "{why}");
    }
    let padded = [plain, vec![0; 3_000_000]].concat();
    let (blob, annotations) = chunked(&padded, 2, 65_536);
    assert!(annotations.contains_key(annotation::CHECKSUM) && zstd::decode_all(&blob[..]).unwrap() == padded);
}

#[test]
fn empty_device_numbers_of_files_are_zero() {
    // As in the default formats of GNU tar and of Python's tarfile.
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(2);
    header.set_mode(0o644);
    header.set_mtime(1);
    header.set_uid(0);
    header.set_gid(0);
    assert_eq!(header.as_bytes()[329..345], [0; 16]);
    builder.append_data(&mut header, "a", &b"hi"[..]).unwrap();
    let tar = builder.into_inner().unwrap();
    let mut writer = ChunkedWriter::with_threads(Vec::new(), 2, None).unwrap();
    writer.write_all(&tar).unwrap();
    assert_eq!(writer.finish().unwrap().1.unfit, None);
}
