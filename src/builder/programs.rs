//! Programs for darwin, which no Linux container can run.
//!
//! Evaluation refuses packages whose system is known. It does not know what a string was made of: `"${package}"`, a script
//! or a layer. Derivations therefore look at the programs that an image starts, `bin` and `sbin` of the packages that it is made
//! of and the programs that `config` names, through links and up to the interpreter of a script.

use std::{
    fs::{self, File},
    io::Read,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};

use crate::closure::StorePath;

/// Mach-O of 32 and 64 bits, little-endian, and files for several architectures. (Apple: mach-o/loader.h, fat.h)
const MAGIC: [[u8; 4]; 3] = [[0xce, 0xfa, 0xed, 0xfe], [0xcf, 0xfa, 0xed, 0xfe], [0xca, 0xfe, 0xba, 0xbe]];
/// The bytes of a script's first line that are read, those that Linux reads (BINPRM_BUF_SIZE).
const FIRST_LINE: u64 = 256;

/// Refuses packages with programs for darwin.
pub fn check_packages(packages: &[StorePath]) -> Result<()> {
    packages.iter().try_for_each(|package| check_root(package.as_path()))
}

/// The directories that are searched for programs.
const DIRECTORIES: [&str; 2] = ["bin", "sbin"];

/// Refuses a directory with programs for darwin in `bin` or `sbin`.
pub fn check_root(root: &Path) -> Result<()> {
    DIRECTORIES.iter().try_for_each(|directory| check_directory(&root.join(directory)))
}

/// Refuses a file or a directory that is put at `destination` in the image.
pub fn check_placed(source: &Path, destination: &Path) -> Result<()> {
    let is_searched = |path: Option<&Path>| {
        path.and_then(Path::file_name).is_some_and(|name| DIRECTORIES.iter().any(|directory| name == *directory))
    };
    if is_searched(destination.parent()) {
        check_program(source)?;
    }
    if is_searched(Some(destination)) {
        check_directory(source)?;
    }
    check_root(source)
}

fn check_directory(directory: &Path) -> Result<()> {
    // Most packages lack one of the two.
    let Ok(entries) = fs::read_dir(directory) else { return Ok(()) };
    entries.flatten().try_for_each(|entry| check_program(&entry.path()))
}

/// Refuses a program for darwin, and a script whose interpreter is one. Files that do not exist are no programs.
pub fn check_program(path: &Path) -> Result<()> {
    let start = read_start(path);
    let interpreter = find_interpreter(&start).map(|interpreter| (read_start(&interpreter), interpreter));
    let found = interpreter.iter().map(|(start, path)| (&start[..], path.as_path()));
    for (start, found) in found.chain([(&start[..], path)]) {
        // Java's class files begin as Mach-O files for several architectures do.
        if MAGIC.iter().any(|magic| start.starts_with(magic)) && found.extension() != Some("class".as_ref()) {
            bail!(
                "{} is a program for darwin, which no Linux container can run; take it from a Linux package set, such as \
                 pkgs.pkgsLinux, or put it into another directory than bin if the image only distributes it",
                found.display()
            );
        }
    }
    Ok(())
}

/// Returns the first bytes of a file, none if it cannot be read.
fn read_start(path: &Path) -> Vec<u8> {
    let mut start = Vec::new();
    // A pipe would never end.
    let is_file = fs::metadata(path).is_ok_and(|file| file.is_file());
    if is_file && let Ok(file) = File::open(path) {
        let _ = file.take(FIRST_LINE).read_to_end(&mut start);
    }
    start
}

/// Returns the interpreter in the first line of a script.
fn find_interpreter(start: &[u8]) -> Option<PathBuf> {
    let line = start.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?.trim_ascii_start();
    let path = line.split(u8::is_ascii_whitespace).next()?;
    path.starts_with(b"/").then(|| PathBuf::from(std::ffi::OsStr::from_bytes(path)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const PROGRAM: [u8; 5] = [0xcf, 0xfa, 0xed, 0xfe, 0];

    #[test]
    fn programs_for_darwin_are_found_through_links_and_interpreters() {
        let directory = tempfile::tempdir().unwrap();
        let mac = directory.path().join("mac");
        fs::write(&mac, PROGRAM).unwrap();
        let make = |name: &str, write: &dyn Fn(&Path)| {
            let root = directory.path().join(name);
            fs::create_dir_all(root.join("bin")).unwrap();
            write(&root.join("bin/program"));
            check_root(&root).map_err(|error| error.to_string())
        };
        let script = |first: String| move |path: &Path| fs::write(path, first.as_bytes()).unwrap();
        let refused = format!("{} is a program for darwin", mac.display());
        let linked = make("link", &|path| symlink(&mac, path).unwrap()).unwrap_err();
        assert!(linked.contains("link/bin/program is a program for darwin"), "{linked}");
        for first in [format!("#!{}\n", mac.display()), format!("#! {} -e\necho\n", mac.display())] {
            let message = make("script", &script(first.clone())).unwrap_err();
            assert!(message.starts_with(&refused), "{first}: {message}");
        }
        for first in [String::new(), "#!".to_owned(), "#!relative\n".to_owned(), format!("#!{}\n", "/x".repeat(500))] {
            make("other", &script(first)).unwrap();
        }
        make("dangling", &|path| symlink("/does/not/exist", path).unwrap()).unwrap();
        make("directory", &|path| fs::create_dir(path).unwrap()).unwrap();
        check_root(&mac).unwrap();
        for destination in ["/bin/mac", "/usr/sbin/mac"] {
            check_placed(&mac, Path::new(destination)).unwrap_err();
        }
        check_placed(&mac, Path::new("/share/mac")).unwrap();
        check_placed(&directory.path().join("link/bin"), Path::new("/usr/bin")).unwrap_err();
        check_placed(&directory.path().join("link"), Path::new("/")).unwrap_err();
    }

    #[test]
    fn files_of_java_and_files_outside_of_bin_are_accepted() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::create_dir_all(root.join("share")).unwrap();
        fs::write(root.join("bin/Main.class"), [0xca, 0xfe, 0xba, 0xbe]).unwrap();
        fs::write(root.join("share/tool"), PROGRAM).unwrap();
        check_root(root).unwrap();
    }
}
