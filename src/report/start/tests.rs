use std::io::Cursor;

use proptest::prelude::*;
use tar::EntryType;

use super::{elf::Elf, walk::DIRECTORIES, *};
use crate::{
    image::{Image, LayerBlob, Recipe},
    oci::{Descriptor, Digest, descriptor::media_type},
};

/// A file of an image: its path, and its contents or, if the path ends in `->`, the target of the link.
type Entry = (String, Vec<u8>);

fn entry(path: impl Into<String>, contents: impl Into<Vec<u8>>) -> Entry {
    (path.into(), contents.into())
}

/// Returns an ELF file of 64 bits with these entries of its dynamic section.
fn elf(interpreter: &str, dynamic: &[(u64, &str)]) -> Vec<u8> {
    let (headers, mut strings) = (64 + 3 * 56, vec![0]);
    let at = |strings: &mut Vec<u8>, text: &str| {
        let at = strings.len() as u64;
        strings.extend_from_slice(text.as_bytes());
        strings.push(0);
        at
    };
    let path = at(&mut strings, interpreter);
    let entries: Vec<(u64, u64)> = dynamic.iter().map(|(tag, text)| (*tag, at(&mut strings, text))).collect();
    strings.resize(strings.len().next_multiple_of(8), 0);
    let entries: Vec<(u64, u64)> = entries.into_iter().chain([(5, headers), (0, 0)]).collect();
    let end = headers + strings.len() as u64;
    let size = end + 16 * entries.len() as u64;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    // Type, machine, version, entry, program headers, section headers, flags, sizes and counts.
    file.extend([3_u16, 62].iter().flat_map(|field| field.to_le_bytes()));
    file.extend(1_u32.to_le_bytes());
    file.extend([0_u64, 64, 0].iter().flat_map(|field| field.to_le_bytes()));
    file.extend(0_u32.to_le_bytes());
    file.extend([64_u16, 56, 3, 64, 0, 0].iter().flat_map(|field| field.to_le_bytes()));
    let interpreter_size = if interpreter.is_empty() { 0 } else { interpreter.len() as u64 + 1 };
    let interpreter_kind = if interpreter.is_empty() { 4 } else { 3 };
    let dynamic_size = 16 * entries.len() as u64;
    for (kind, start, size) in
        [(interpreter_kind, headers + path, interpreter_size), (1_u32, 0, size), (2, end, dynamic_size)]
    {
        file.extend([kind, 4].iter().flat_map(|field| field.to_le_bytes()));
        file.extend([start, start, start, size, size, 8].iter().flat_map(|field| field.to_le_bytes()));
    }
    file.extend(strings);
    file.extend(entries.iter().flat_map(|(tag, value)| [tag.to_le_bytes(), value.to_le_bytes()].concat()));
    file
}

const NEEDED: u64 = 1;
const SONAME: u64 = 14;
const RPATH: u64 = 15;
const RUNPATH: u64 = 29;

/// Returns the store path of a package whose hash repeats a letter.
fn store(letter: char, rest: &str) -> String {
    format!("/nix/store/{}-{rest}", letter.to_string().repeat(32))
}

fn files(layers: &[Vec<Entry>]) -> MergedFiles {
    let mut image = Image::from_recipe(&Recipe::new(Config::default(), "amd64".to_owned(), None, Vec::new()));
    image.layers = layers.iter().map(|entries| layer(entries)).collect();
    MergedFiles::read(&image).unwrap()
}

fn layer(entries: &[Entry]) -> LayerBlob {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, contents) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        let path = path.trim_start_matches('/');
        match path.strip_suffix("->") {
            Some(path) => {
                header.set_entry_type(EntryType::Symlink);
                header.set_size(0);
                tar.append_link(&mut header, path, std::str::from_utf8(contents).unwrap()).unwrap();
            }
            None => {
                header.set_size(contents.len() as u64);
                tar.append_data(&mut header, path, contents.as_slice()).unwrap();
            }
        }
    }
    let tar = tar.into_inner().unwrap();
    let digest = Digest::sha256(&tar);
    let descriptor = Descriptor::new(media_type::LAYER_TAR, digest, tar.len() as u64);
    LayerBlob::new(descriptor, digest, move || Ok(Box::new(Cursor::new(tar.clone()))))
}

fn config(entrypoint: &[&str], env: &[&str]) -> Config {
    let words = |all: &[&str]| all.iter().map(|word| (*word).to_owned()).collect();
    Config { entrypoint: words(entrypoint), env: words(env), ..Config::default() }
}

/// Returns the names of the store paths, and the other paths, in order.
fn names(start: &Start) -> Vec<&str> {
    start.paths.iter().map(|path| path.path.get(44..).unwrap_or(&path.path)).collect()
}

#[test]
fn programs_scripts_and_libraries_are_followed_in_order() {
    let linker = store('a', "libc/lib/ld.so");
    let wrapper = format!(
        "#! {} -e\nPATH={}:$PATH\nexec {} \"$@\"\n",
        store('b', "sh/bin/sh"),
        store('c', "tools/bin"),
        store('d', "app/bin/app")
    );
    let script = format!("#!/usr/bin/env runner\nload {}\n", store('k', "data/file"));
    let libc = [(NEEDED, "libc.so")];
    let runpath = store('a', "libc/lib:$ORIGIN/../lib");
    let layers = [
        vec![
            entry(&linker, elf("", &[])),
            entry(store('a', "libc/lib/libc.so"), elf(&linker, &[(SONAME, "libc.so")])),
            entry(store('b', "sh/bin/sh"), elf(&linker, &[libc[0], (RUNPATH, &store('a', "libc/lib"))])),
            entry(store('c', "tools/bin/runner"), elf(&linker, &[libc[0], (NEEDED, "libx.so.1"), (RUNPATH, &runpath)])),
            entry(store('c', "tools/lib/libx.so.1->"), store('f', "x/lib/libx.so.1.2").into_bytes()),
            entry(store('f', "x/lib/libx.so.1.2"), elf("", &[libc[0], (NEEDED, "libgone.so"), (SONAME, "libx.so.1")])),
            entry(store('d', "app/bin/app"), script.into_bytes()),
            entry(store('k', "data/file"), vec![1; 1000]),
            entry(store('g', "unused/file"), vec![1; 5000]),
        ],
        vec![
            entry("/bin/start->", store('h', "wrapper/bin/start").into_bytes()),
            entry(store('h', "wrapper/bin/start"), wrapper.into_bytes()),
        ],
    ];
    let files = files(&layers);
    let start = Start::new(&config(&["start"], &["PATH=/bin", "DATA=/nowhere"]), &files, None).unwrap();
    assert_eq!(names(&start), ["wrapper", "sh", "libc", "app", "tools", "x", "data"]);
    assert_eq!(start.size - start.needed, 5000);
    assert_eq!(start.needed, start.opened);
    let data = start.paths.last().unwrap();
    assert_eq!((data.size, data.reason.why), (1000, Why::Named));
    assert_eq!(data.reason.by.as_deref(), Some(&*store('d', "app/bin/app")));
    let missing: Vec<&str> = start.missing.iter().map(|missing| missing.name.as_str()).collect();
    assert_eq!(missing, ["/usr/bin/env", "libgone.so"]);
    assert_eq!(start.store_paths().count(), 7);
}

#[test]
fn libraries_are_searched_as_by_the_dynamic_linker() {
    let linker = store('a', "libc/lib/ld.so");
    let empty = elf("", &[]);
    let path = |letter: char, name: &str| store(letter, &format!("{name}/lib"));
    let library = |letter: char, name: &str| format!("{}/lib{name}.so", path(letter, name));
    let needed = |name: &'static str| (NEEDED, name);
    // b has DT_RPATH, which its libraries use too; c has DT_RUNPATH, which they do not use, and which is after LD_LIBRARY_PATH.
    let rpath = [path('d', "one"), path('k', "two")].join(":");
    let other = {
        let mut other = empty.clone();
        other[18] = 183;
        other
    };
    let layers = [vec![
        entry(&linker, empty.clone()),
        entry(store('a', "libc/lib/libdefault.so"), empty.clone()),
        entry(store('b', "b/bin/b"), elf(&linker, &[needed("libone.so"), needed("libdefault.so"), (RPATH, &rpath)])),
        entry(store('c', "c/bin/c"), elf(&linker, &[needed("libone.so"), needed("libtwo.so"), (RUNPATH, &rpath)])),
        entry(library('d', "one"), elf("", &[needed("libtwo.so")])),
        entry(format!("{}/libtwo.so", path('d', "one")), other),
        entry(library('k', "two"), empty.clone()),
        entry(format!("{}/libtwo.so", path('f', "env")), empty.clone()),
    ]];
    let files = files(&layers);
    let paths = |program: &str, env: &[&str]| {
        let start =
            Start::new(&config(&[&store(program.chars().next().unwrap(), program)], env), &files, None).unwrap();
        (names(&start).join(" "), start.missing.len())
    };
    // A file for another processor is skipped.
    assert_eq!(paths("b/bin/b", &[]), ("b libc one two".to_owned(), 0));
    assert_eq!(paths("c/bin/c", &[]), ("c libc one two".to_owned(), 0));
    let environment = format!("LD_LIBRARY_PATH={}", path('f', "env"));
    assert_eq!(paths("b/bin/b", &[&environment]), ("b libc one two".to_owned(), 0));
    assert_eq!(paths("c/bin/c", &[&environment]), ("c libc one env".to_owned(), 0));
}

#[test]
fn loops_and_missing_programs_end() {
    let one = store('a', "one/bin/one");
    let two = store('b', "two/bin/two");
    let layers = [vec![
        entry(&one, format!("#!{two}\n{two}\n").into_bytes()),
        entry(&two, format!("#!{one}\n{one}\n").into_bytes()),
        entry("/loop->", b"/loop".to_vec()),
    ]];
    let files = files(&layers);
    let start = Start::new(&config(&[&one, "/loop", ".", ""], &[]), &files, None).unwrap();
    assert_eq!(names(&start), ["one", "two"]);
    let fails = |entrypoint: &[&str]| Start::new(&config(entrypoint, &[]), &files, None).unwrap_err().to_string();
    assert!(fails(&[]).starts_with("the configuration of the image names no program"));
    assert!(fails(&["/loop"]).starts_with("the image has no executable program \"/loop\""));
    assert!(fails(&["sh"]).starts_with("the image has no executable program \"sh\""));
}

/// As in Linux. A chain of interpreters would take memory of the stack for each.
#[test]
fn the_interpreter_of_an_interpreter_is_not_followed() {
    let names: Vec<String> = (0..5000).map(|number| store('b', &format!("n{number}/ld.so"))).collect();
    let entries: Vec<Entry> = names.windows(2).map(|pair| entry(&pair[0], elf(&pair[1], &[]))).collect();
    let start = Start::new(&config(&[&names[0]], &[]), &files(&[entries]), None).unwrap();
    assert_eq!(start.paths.len(), 2);
}

#[test]
fn files_of_later_layers_replace_those_of_lower_ones() {
    let program = |name: &str| format!("#!{}\n", store('a', name)).into_bytes();
    let base =
        vec![entry("/bin/x", program("old/bin/i")), entry(store('a', "old/bin/i"), vec![0]), entry("/bin/y", vec![0])];
    let files = files(&[
        base,
        vec![entry("/bin/x", program("new/i")), entry("/bin/.wh.y", Vec::new()), entry(store('a', "new/i"), vec![0])],
    ]);
    let start = Start::new(&config(&["x"], &[]), &files, None).unwrap();
    assert_eq!(names(&start), ["/bin/x", "new"]);
    assert!(Start::new(&config(&["y"], &[]), &files, None).is_err());
}

#[test]
fn the_number_of_files_is_limited() {
    let names = (0..FILES as u64 + 2).map(|number| format!("/data/{number}"));
    let names: Vec<String> =
        [store('a', "a/bin/a")].into_iter().chain(names.map(|name| store('b', &name[1..]))).collect();
    let next = |at: usize| names.get(at + 1).cloned().unwrap_or_default().into_bytes();
    let entries: Vec<Entry> = names.iter().enumerate().map(|(at, name)| entry(name, next(at))).collect();
    let error = Start::new(&config(&[&names[0]], &[]), &files(&[entries]), None).unwrap_err();
    assert!(matches!(error, StartError::TooMany), "{error}");
}

#[test]
fn the_searched_directories_of_texts_are_limited() {
    let text = |count: usize| {
        let names = (0..count).map(|number| store('d', &format!("n{number}/bin\n")));
        // Names that occur again count once.
        format!("#!/bin/sh\n{0}{0}", names.collect::<String>())
    };
    for (count, is_within) in [(DIRECTORIES, true), (DIRECTORIES + 1, false)] {
        let layers = [vec![entry("/bin/sh", elf("", &[])), entry("/bin/start", text(count))]];
        let start = Start::new(&config(&["start"], &["PATH=/bin"]), &files(&layers), None);
        assert_eq!(!matches!(start, Err(StartError::TooMany)), is_within, "{count} directories");
    }
}

proptest! {
    #[test]
    fn malformed_elf_files_are_refused(at in 0_usize..600, byte: u8, length in 0_usize..700) {
        let mut file = elf("/lib/ld.so", &[(NEEDED, "libc.so.6"), (RUNPATH, "/lib:$ORIGIN"), (SONAME, "x")]);
        let at = at % file.len();
        file[at] = byte;
        file.truncate(length.max(1));
        drop(Elf::read(Cursor::new(file)));
    }
}

#[test]
fn elf_files_are_read() {
    let file = elf("/lib/ld.so", &[(NEEDED, "libc.so.6"), (NEEDED, "libm.so.6"), (RUNPATH, "/lib"), (SONAME, "x")]);
    let expected = Elf {
        kind: (true, 62),
        interpreter: Some("/lib/ld.so".to_owned()),
        needed: vec!["libc.so.6".to_owned(), "libm.so.6".to_owned()],
        soname: Some("x".to_owned()),
        rpath: None,
        runpath: Some("/lib".to_owned()),
    };
    assert_eq!(Elf::read(Cursor::new(file)), Some(expected));
    assert_eq!(Elf::read(Cursor::new(b"#!/bin/sh\n")), None);
    // The program that runs this test.
    let this = Elf::read(std::fs::File::open("/proc/self/exe").unwrap()).unwrap();
    assert!(this.needed.iter().any(|name| name.starts_with("libc.")), "{this:?}");
}

/// Programs of nixpkgs have long lists of directories. Hostile ones name the same long string many times.
#[test]
fn the_strings_of_an_elf_file_are_bounded_together() {
    let runpath = "/nix/store/x/lib:".repeat(1000);
    let file = elf("", &[(RUNPATH, &runpath)]);
    assert_eq!(Elf::read(Cursor::new(file)).unwrap().runpath, Some(runpath));
    let long = "x".repeat(4095);
    let names = |count| elf("", &vec![(NEEDED, long.as_str()); count]);
    assert_eq!(Elf::read(Cursor::new(names(32))).unwrap().needed.len(), 32);
    assert_eq!(Elf::read(Cursor::new(names(33))), None);
}
