//! Tars with unusual headers: strata reads the same entries as Go's `archive/tar`, or refuses the tar.
//!
//! `tests/peers/go-tar.sh` compares them with Go. If `STRATA_KEEP_TARS=DIR` is set, the tars and the entries that strata reads
//! are written to this directory.

use std::{collections::BTreeMap, fs, io, path::Path};

use strata::internals::layer::untar::TarReader;

const COUNT: u64 = 20_000;

/// A sequence of numbers that is the same in each run (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }

    fn one_of<'a>(&mut self, choices: &[&'a [u8]]) -> &'a [u8] {
        choices[self.below(choices.len())]
    }

    fn is_one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

/// A header with a correct checksum.
#[derive(Clone)]
pub struct Block(pub [u8; 512]);

impl Block {
    /// A header of V7 with mode, owner and size.
    pub fn new(kind: u8, name: &[u8], size: usize) -> Self {
        let mut block = Self([0; 512]);
        block.put(0, name).put(100, b"0000644\0").put(108, b"0000001\0").put(116, b"0000002\0");
        block.put(124, format!("{size:011o}\0").as_bytes()).put(136, b"00000000003\0").put(156, &[kind]);
        block
    }

    pub fn put(&mut self, at: usize, bytes: &[u8]) -> &mut Self {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// The header and data, padded.
    pub fn with_data(&self, data: &[u8]) -> Vec<u8> {
        let mut bytes = self.0.to_vec();
        bytes[148..156].fill(b' ');
        let sum: u32 = bytes.iter().map(|byte| u32::from(*byte)).sum();
        bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        bytes.extend_from_slice(data);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }
}

/// PAX records, each with its length.
pub fn records(pairs: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (key, value) in pairs {
        let rest = key.len() + value.len() + 3;
        let length = (1..).map(|digits: usize| rest + digits).find(|length| length.to_string().len() + rest == *length);
        bytes.extend_from_slice(format!("{} {key}=", length.unwrap()).as_bytes());
        bytes.extend_from_slice(value);
        bytes.push(b'\n');
    }
    bytes
}

const NAMES: [&[u8]; 8] =
    [b"a", b"dir/", b"dir/file", b"", b"\xc3\xbc", b"cut\0rest", b"/root", b"var/lib/dpkg/status"];
const NUMBERS: [&[u8]; 9] = [
    b"00000000005\0",
    b"\x80\0\0\0\0\0\0\0\0\0\0\x05",
    b"\0\0\0\0\0\0\0\0\0\0\0\0",
    b"      5 \0   ",
    b"00000000009\0",
    b"5\0rest of it",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe",
    b"\x80\x01\0\0\0\0\0\0\0\0\0\x05",
    b"\x80\0\0\x7f\xff\xff\xff\xff\xff\xff\xff\xff",
];
const VALUES: [&[u8]; 7] = [b"3", b"", b"-1", b"+4", b"1.5", b"1.4999", b"x"];

/// Returns a header with fields of other formats, and sometimes with invalid numbers.
fn unusual(numbers: &mut Numbers, kind: u8, name: &[u8], size: usize) -> Block {
    let mut block = Block::new(kind, name, size);
    block.put(157, numbers.one_of(&NAMES));
    let magics: [&[u8]; 7] =
        [b"ustar\x0000", b"ustar\x0000", b"ustar  \0", b"ustar\0 0", b"ustar\0\0\0", b"ustar 00", b"ustar \0\0"];
    block.put(257, numbers.one_of(&magics));
    if numbers.is_one_in(2) {
        let prefixes: [&[u8]; 7] =
            [b"p", b"usr/share", b"00000000012\0", b"\0hidden", b"\xc3\xbc", b"9", b"00000000012\0xyz"];
        block.put(345, numbers.one_of(&prefixes));
    }
    if numbers.is_one_in(8) {
        block.put(345, &[b'q'; 155]);
    }
    if numbers.is_one_in(6) {
        block.put(508, b"tar\0").put(476, &[0; 24]);
        if numbers.is_one_in(2) {
            block.put(476, numbers.one_of(&NUMBERS));
        }
    }
    if numbers.is_one_in(6) {
        let field = numbers.one_of(&NUMBERS);
        match numbers.below(7) {
            0 if size == 5 => block.put(124, field),
            1 => block.put(136, field),
            2 => block.put(100, &field[..8]),
            3 => block.put(108, &field[4..]),
            4 => block.put(329, &field[4..]),
            5 => block.put(337, &field[..8]),
            _ => block.put(116, &field[4..]),
        };
    }
    block
}

/// Returns a header of type x, g, L or K with its data.
fn extension(numbers: &mut Numbers) -> Vec<u8> {
    let (kind, data) = match numbers.below(8) {
        0 | 1 => (b'L', numbers.one_of(&NAMES).to_vec()),
        2 => (b'K', numbers.one_of(&NAMES).to_vec()),
        more => {
            let keys = ["path", "linkpath", "size", "uid", "mtime", "atime", "SCHILY.xattr.user.a", "comment"];
            let mut pairs = Vec::new();
            for _ in 0..numbers.below(3) {
                let key = keys[numbers.below(keys.len())];
                let value = match key {
                    "path" | "linkpath" => numbers.one_of(&NAMES),
                    "size" if numbers.is_one_in(2) => b"5",
                    _ => numbers.one_of(&VALUES),
                };
                pairs.push((key, value));
            }
            (if more == 3 { b'g' } else { b'x' }, records(&pairs))
        }
    };
    let name: &[u8] = if numbers.is_one_in(8) { b"etc/.wh.passwd" } else { b"pax_global_header" };
    unusual(numbers, kind, name, data.len()).with_data(&data)
}

fn tar(seed: u64) -> Vec<u8> {
    let mut numbers = Numbers(seed);
    let mut bytes = Vec::new();
    for _ in 0..=numbers.below(3) {
        for _ in 0..numbers.below(3) {
            bytes.extend(extension(&mut numbers));
        }
        let name = numbers.one_of(&NAMES);
        let kind = numbers.one_of(&[b"\0", b"0", b"0", b"1", b"2", b"3", b"5", b"6", b"7", b"S", b"Z"])[0];
        let has_data = matches!(kind, 0 | b'0' | b'7' | b'S');
        let (size, data): (_, &[u8]) = if has_data { (5, b"hello") } else { (0, b"") };
        let mut block = unusual(&mut numbers, kind, name, size);
        if kind == b'S' {
            block.put(257, b"ustar  \0").put(345, &[0; 155]).put(386, b"00000000003\x0000000000005\0");
            block.put(483, b"00000000010\0");
        }
        bytes.extend(block.with_data(data));
    }
    bytes.extend([0; 1024]);
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the entries of a tar in the form of tests/peers/tarlist.go.
pub fn listing(tar: &[u8]) -> io::Result<Vec<String>> {
    let mut reader = TarReader::new(tar);
    let mut lines = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        let size = entry.holes.as_ref().map_or(entry.size, |holes| holes.size);
        let mtime = entry.mtime.map_or("-".to_owned(), |time| time.to_string());
        let xattrs: Vec<String> =
            entry.xattrs.iter().map(|(name, value)| format!("{}={}", hex(name), hex(value))).collect();
        lines.push(format!(
            "{} {size} {:o} {}:{} {mtime} name:{} link:{} {}",
            entry.kind.as_byte(),
            entry.mode,
            entry.uid,
            entry.gid,
            hex(&entry.name),
            hex(&entry.link),
            xattrs.join(",")
        ));
    }
    Ok(lines)
}

#[test]
fn unusual_headers_are_read_or_refused_for_a_known_reason() {
    let kept = std::env::var_os("STRATA_KEEP_TARS");
    let mut list = String::new();
    let (mut read, mut reasons) = (0, BTreeMap::<String, u32>::new());
    for seed in 0..COUNT {
        let bytes = tar(seed);
        if let Some(directory) = &kept {
            fs::write(Path::new(directory).join(seed.to_string()), &bytes).unwrap();
        }
        match listing(&bytes) {
            Ok(lines) => {
                read += 1;
                list += &format!("{seed} {}\n", lines.join("; "));
            }
            Err(error) => {
                *reasons.entry(error.to_string()).or_default() += 1;
                list += &format!("{seed} refused {error}\n");
            }
        }
    }
    if let Some(directory) = &kept {
        fs::write(Path::new(directory).join("list"), list).unwrap();
    }
    assert!(read > COUNT / 3, "{read} tars were read: {reasons:?}");
    assert!(reasons.len() > 4, "{reasons:?}");
}

/// Tars with one file whose header Go and the `tar` crate read differently, and the name that Go reads.
fn cases() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let file = |change: fn(&mut Block)| {
        let mut block = Block::new(b'0', b"real", 2);
        change(&mut block);
        block.with_data(b"hi")
    };
    let before = |kind: u8, name: &[u8], data: &[u8]| Block::new(kind, name, data.len()).with_data(data);
    let plain = || file(|_| {});
    let path = || before(b'x', b"x", &records(&[("path", b"harmless")]));
    vec![
        ("an empty long name", [before(b'L', b"L", b""), plain()].concat(), "real"),
        ("a long name of NUL", [before(b'L', b"L", b"\0name"), plain()].concat(), "real"),
        ("two long names", [before(b'L', b"L", b"first"), before(b'L', b"L", b"\0"), plain()].concat(), "real"),
        ("an empty long name and a path", [before(b'L', b"L", b"\0"), path(), plain()].concat(), "harmless"),
        ("a path before a global header", [path(), before(b'g', b"pax_global_header", b""), plain()].concat(), "real"),
        (
            "a long name before a global header",
            [before(b'L', b"L", b"harmless"), before(b'g', b"pax_global_header", b""), plain()].concat(),
            "real",
        ),
        (
            "another version of USTAR",
            file(|block| {
                block.put(257, b"ustar\0 0").put(345, b"etc");
            }),
            "etc/real",
        ),
        (
            "no version of USTAR",
            file(|block| {
                block.put(257, b"ustar\0\0\0").put(345, b"etc");
            }),
            "etc/real",
        ),
        (
            "a prefix in a GNU header",
            file(|block| {
                block.put(257, b"ustar  \0").put(345, b"etc");
            }),
            "etc/real",
        ),
        (
            "times in a GNU header",
            file(|block| {
                block.put(257, b"ustar  \0").put(345, b"00000000012\x0000000000012\0");
            }),
            "real",
        ),
        (
            "a broken magic of GNU",
            file(|block| {
                block.put(257, b"ustar 00").put(345, b"etc");
            }),
            "real",
        ),
        (
            "the trailer of STAR",
            file(|block| {
                block.put(257, b"ustar\x0000").put(345, b"etc").put(508, b"tar\0");
            }),
            "etc/real",
        ),
    ]
}

#[test]
fn names_are_those_that_go_reads() {
    for (what, bytes, name) in cases() {
        let lines = listing(&bytes).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(lines.len(), 1, "{what}: {lines:?}");
        assert!(lines[0].contains(&format!(" name:{} ", hex(name.as_bytes()))), "{what}: {lines:?}");
    }
}

#[test]
fn global_headers_that_engines_take_for_files_are_refused() {
    let file = Block::new(b'0', b"etc/passwd", 2).with_data(b"hi");
    for name in [&b"etc/.wh.passwd"[..], b"etc/passwd", b".wh..wh..opq", b"/tmp/GlobalHead.1.1", b""] {
        let tar = [file.clone(), Block::new(b'g', name, 0).with_data(b"")].concat();
        let error = listing(&tar).unwrap_err().to_string();
        assert!(error.contains("a global header whose name engines take for a file"), "{error}");
    }
    let path = records(&[("path", b".wh.etc")]);
    let tar = [file, Block::new(b'g', b"pax_global_header", path.len()).with_data(&path)].concat();
    assert!(listing(&tar).is_err());
}
