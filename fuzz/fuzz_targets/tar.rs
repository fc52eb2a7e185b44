//! Tars against Go's: whatever an entry is, our bytes are those of Go's `archive/tar`, and we read what we wrote.
#![no_main]

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{LazyLock, Mutex},
};

use data_encoding::HEXLOWER;
use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};
use serde_json::json;
use strata::internals::layer::{Header, LayerError, TarWriter, untar::TarReader};

#[derive(Arbitrary, Debug)]
struct Entry {
    name: Vec<u8>,
    /// Names are long, too.
    repeated: u8,
    kind: u8,
    mode: u16,
    owner: (u64, u64),
    names: (String, String),
    data: Vec<u8>,
    link: Vec<u8>,
    mtime: u64,
    device: (u16, u16),
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// fuzz/tar.go, which answers each line with a line. `dev/fuzz` builds it.
static GO: LazyLock<Mutex<(Child, ChildStdin, BufReader<ChildStdout>)>> = LazyLock::new(|| {
    let program = std::env::var("STRATA_FUZZ_TAR").expect("dev/fuzz sets STRATA_FUZZ_TAR");
    let mut child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    Mutex::new((child, input, BufReader::new(output)))
});

fn by_go(header: &Header<'_>, data: &[u8]) -> Option<Vec<u8>> {
    let hex = |bytes: &[u8]| HEXLOWER.encode(bytes);
    let xattrs = header.xattrs.into_iter().flatten().map(|(name, value)| (hex(name), hex(value)));
    let line = json!({ "name": hex(header.name), "kind": header.kind.as_byte(), "mode": header.mode, "uid": header.uid,
        "gid": header.gid, "uname": hex(header.uname.as_bytes()), "gname": hex(header.gname.as_bytes()),
        "link": hex(header.link), "mtime": header.mtime, "major": header.device.0, "minor": header.device.1,
        "data": hex(data), "xattrs": xattrs.collect::<BTreeMap<_, _>>() });
    let (_, input, output) = &mut *GO.lock().unwrap();
    writeln!(input, "{line}").unwrap();
    let mut answer = String::new();
    output.read_line(&mut answer).unwrap();
    HEXLOWER.decode(answer.trim().as_bytes()).ok()
}

fuzz_target!(|entry: Entry| {
    let kinds = b"012346 5";
    let kind = tar::EntryType::new(kinds[usize::from(entry.kind) % kinds.len()].max(b'0'));
    let is_link = matches!(kind, tar::EntryType::Link | tar::EntryType::Symlink);
    let is_device = matches!(kind, tar::EntryType::Char | tar::EntryType::Block);
    // As trees have them: Go refuses files with a slash at the end, and cleans some names of others.
    let parts: Vec<&[u8]> = entry.name.split(|byte| *byte == b'/').collect();
    let is_absolute = parts.first().is_some_and(|first| first.is_empty());
    let parts: Vec<&[u8]> = parts.into_iter().filter(|part| !matches!(*part, b"" | b"." | b"..")).collect();
    let name = parts.join(&b'/').repeat(1 + usize::from(entry.repeated));
    let slash = |wanted: bool| if wanted { b"/".as_slice() } else { b"" };
    let name = [slash(is_absolute), &name, slash(kind.is_dir() && entry.repeated % 2 == 0)].concat();
    let header = Header {
        name: &name,
        kind,
        mode: u32::from(entry.mode) & 0o7777,
        uid: entry.owner.0 >> 1,
        gid: entry.owner.1 >> 1,
        uname: &entry.names.0,
        gname: &entry.names.1,
        size: if kind.is_file() { entry.data.len() as u64 } else { 0 },
        link: if is_link { &entry.link } else { &[] },
        mtime: entry.mtime >> 20,
        device: if is_device { (u64::from(entry.device.0) & 0xfff, entry.device.1.into()) } else { (0, 0) },
        xattrs: Some(&entry.xattrs),
    };
    // No file system has such names.
    let bad = |key: &[u8]| key.is_empty() || key.contains(&0) || key.contains(&b'=');
    if header.name.iter().all(|byte| *byte == b'/')
        || [header.name, header.link, header.uname.as_bytes(), header.gname.as_bytes()]
            .iter()
            .any(|text| text.contains(&0))
        || entry.xattrs.keys().any(|key| bad(key))
    {
        return;
    }
    let data = if kind.is_file() { entry.data.as_slice() } else { &[] };
    let mut writer = TarWriter::new(Vec::new());
    writer.append_with(&header, |out| out.write_all(data).map_err(LayerError::Write)).unwrap();
    let by_strata = writer.finish().unwrap();
    let by_go_tar = by_go(&header, data).unwrap_or_else(|| panic!("Go refuses {header:?}"));
    assert!(by_strata == by_go_tar, "{header:?}\n{}\n{}", by_strata.escape_ascii(), by_go_tar.escape_ascii());

    let mut reader = TarReader::new(by_strata.as_slice());
    let read = reader.next_entry().unwrap().unwrap();
    let mut content = Vec::new();
    reader.read_to_end(&mut content).unwrap();
    assert_eq!((read.name.as_slice(), read.kind, read.mode), (header.name, header.kind, header.mode));
    assert_eq!((read.uid, read.gid, read.device, read.size), (header.uid, header.gid, header.device, header.size));
    assert_eq!((read.link.as_slice(), &read.xattrs, content.as_slice()), (header.link, &entry.xattrs, data));
    assert!(reader.next_entry().unwrap().is_none());
});
