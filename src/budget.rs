//! Limits on untrusted input: registries, images, layers, databases and caches determine how much they send, and how
//! much memory it takes after decompressing and parsing.
//!
//! Each reader of such input takes the bytes that it reads or keeps from a [`Budget`]. All limits are in this file, so
//! that their sum is visible. Input that is only streamed takes no bytes, but its parts are counted.

use std::{
    io::{self, Read},
    process::{Command, Output, Stdio},
    thread,
};

/// The limits of one kind of input.
#[derive(Debug)]
pub struct Limits {
    /// The name of the input, which is the subject of an error.
    pub input: &'static str,
    /// The maximum number of bytes that are read or kept.
    pub bytes: u64,
    /// The maximum number of parts. Each part takes memory in addition to its bytes.
    pub parts: u64,
    /// The name of the parts in errors.
    pub part: &'static str,
}

const MIB: u64 = 1 << 20;

/// A manifest, an index, a config, or another document. Registries refuse manifests of more than 4 MiB too.
pub const DOCUMENT: Limits = Limits { input: "the document", bytes: 4 * MIB, parts: 1, part: "documents" };
/// The file `version` of a `dir:` directory.
pub const VERSION: Limits = Limits { input: "the file", bytes: 1024, parts: 1, part: "documents" };
/// The error message of another program or server. A longer message is truncated.
pub const MESSAGE: Limits = Limits { input: "the message", bytes: 16 * 1024, parts: 1, part: "messages" };
/// The output of an engine's client: names of images, and their layers.
pub const ENGINE_OUTPUT: Limits = Limits { input: "its output", bytes: 64 * MIB, parts: 1, part: "outputs" };
/// The responses of a docker daemon to one request: the list of images, and then each image. Parts are images.
#[cfg(feature = "net")]
pub const DAEMON: Limits =
    Limits { input: "the answer of the daemon", bytes: 64 * MIB, parts: 100_000, part: "images" };
/// The output of a credential helper. Tokens have a few kilobytes.
#[cfg(feature = "net")]
pub const CREDENTIALS: Limits = Limits { input: "the answer", bytes: MIB, parts: 1, part: "answers" };
/// The output of git: names of branches and tags, or of the files of a project.
pub const GIT_OUTPUT: Limits = Limits { input: "the output of git", bytes: 256 * MIB, parts: 1, part: "outputs" };
/// All manifests, indexes and configs that one command keeps; parts are those of one reference.
pub const GRAPH: Limits = Limits { input: "the image", bytes: 256 * MIB, parts: 1000, part: "manifests and indexes" };
/// The list of an image's referrers on all pages. Images usually have tens.
#[cfg(feature = "net")]
pub const REFERRERS: Limits =
    Limits { input: "the list of referrers", bytes: 64 * MIB, parts: 10_000, part: "entries" };
/// The tags of a repository on all pages. Repositories of continuous integration have tens of thousands.
#[cfg(feature = "net")]
pub const TAGS: Limits = Limits { input: "the list of tags", bytes: 64 * MIB, parts: 1_000_000, part: "tags" };
/// The output of a command of Nix: names of packages, and a derivation for each system.
pub const NIX_OUTPUT: Limits = Limits { input: "the output of Nix", bytes: 64 * MIB, parts: 1, part: "outputs" };
/// A key in a file.
pub const KEY: Limits = Limits { input: "the key", bytes: 64 * 1024, parts: 1, part: "files" };
/// The output of a signing program. Post-quantum signatures have 50 kB.
#[cfg(feature = "program")]
pub const SIGNATURE: Limits = Limits { input: "the signature", bytes: 256 * 1024, parts: 1, part: "signatures" };
/// A recipe (image.json): 5,000 store paths make 1 MiB.
pub const RECIPE: Limits = Limits { input: "the recipe", bytes: 256 * MIB, parts: 1, part: "documents" };
/// The compiled regular expressions of a recipe: 8,000 small ones, or 500 of 256 KiB.
pub const PATTERNS: Limits =
    Limits { input: "the set of regular expressions", bytes: 128 * MIB, parts: 20_000, part: "expressions" };
/// The documents of an archive that are kept in memory. Others are read again.
pub const ARCHIVE_DOCUMENTS: Limits =
    Limits { input: "the archive", bytes: 32 * MIB, parts: 100_000, part: "documents" };
/// The names of an archive's entries and links.
pub const ARCHIVE_NAMES: Limits = Limits { input: "the archive", bytes: 64 * MIB, parts: 100_000, part: "entries" };
/// The names of one layer that are kept. A million files take a tenth of it, with [`NAME_OVERHEAD`] for each.
pub const LAYER: Limits = Limits { input: "the layer", bytes: 1024 * MIB, parts: 4_000_000, part: "entries" };
/// The names and targets of one layer's links, which names of later entries may contain.
pub const LINKS: Limits = Limits { input: "the set of links", bytes: 256 * MIB, parts: 4_000_000, part: "links" };
/// The directories and links of a base image in all its layers.
#[cfg(feature = "program")]
pub const BASE_TREE: Limits =
    Limits { input: "the base image", bytes: 1024 * MIB, parts: 4_000_000, part: "directories and links" };
/// The files of an image that hardening checks keep: links, accounts, and those with findings.
#[cfg(feature = "program")]
pub const HARDENING: Limits = Limits { input: "the image", bytes: 512 * MIB, parts: 4_000_000, part: "files to check" };
/// The files of an image that `explain --start` reads from layers.
pub const MERGED: Limits = Limits { input: "the image", bytes: 1024 * MIB, parts: 4_000_000, part: "files" };
/// The PAX records of one entry of a tar, or its long name. This is Go's limit (archive/tar, maxSpecialFileSize).
pub const EXTENSION: Limits = Limits { input: "the extended header", bytes: MIB, parts: 1, part: "headers" };
/// A file with holes after unpacking. Parts are those with data.
pub const SPARSE_FILE: Limits =
    Limits { input: "the sparse file", bytes: 1024 * MIB, parts: 100_000, part: "parts without holes" };
/// The extended attributes of one tar. They compress well. Real layers have a capability or a label of 50 bytes for a
/// few files.
pub const XATTRS: Limits =
    Limits { input: "the set of extended attributes", bytes: 64 * MIB, parts: 4_000_000, part: "entries" };
/// A NAR, which is only streamed.
pub const NAR: Limits = Limits { input: "the NAR", bytes: u64::MAX, parts: 10_000_000, part: "files" };
/// A narinfo. One with 5,000 references has 300 KiB.
#[cfg(feature = "net")]
pub const NARINFO: Limits = Limits { input: "the narinfo", bytes: 4 * MIB, parts: 1, part: "documents" };
/// The decompressed table of contents of a zstd:chunked layer. An entry takes at least ten times its text in memory.
pub const TOC: Limits = Limits { input: "it", bytes: 144 * MIB, parts: 1_000_000, part: "entries" };
/// `/etc/passwd` or `/etc/group` of a layer. Longer ones are not read.
#[cfg(feature = "program")]
pub const ACCOUNTS: Limits = Limits { input: "the account file", bytes: MIB, parts: 1, part: "files" };
/// An os-release file. Real ones have a few hundred bytes.
pub const OS_RELEASE: Limits = Limits { input: "os-release", bytes: 64 * 1024, parts: 1, part: "files" };
/// The part of a zstd:chunked layer after the last chunk: the table of contents and the data of tar-split, for each of
/// which readers have a limit of 144 MiB.
pub const CHUNKED_END: Limits = Limits { input: "the end of the layer", bytes: 288 * MIB, parts: 1, part: "ends" };
/// An archive in a temporary file: from a pipe, a docker daemon or the client of an engine.
pub const SPOOLED: Limits = Limits { input: "the archive", bytes: 256 * 1024 * MIB, parts: 1, part: "archives" };
/// The unpacked files of all layers of an image.
pub const UNPACKED: Limits =
    Limits { input: "the unpacked image", bytes: 256 * 1024 * MIB, parts: 16_000_000, part: "files" };
/// The free space that temporary files leave on their file system, in bytes. On a small file system it is a twentieth
/// of its size.
pub const FREE_SPACE: u64 = 256 * MIB;
/// Memory for decompressing xz, in KiB: xz -9 needs 64 MiB.
pub const XZ_MEMORY: u32 = 128 * 1024;
/// SQLite's memory in this process, in bytes.
pub const SQLITE_HEAP: i64 = 256 * 1024 * 1024;
/// The maximum length of a value in SQLite, in bytes. The largest package headers of rpm have a few megabytes.
pub const SQLITE_VALUE: i32 = 32 * 1024 * 1024;
/// A package or Nix database in a layer. The largest ones of rpm have 200 MB.
pub const DATABASE: Limits =
    Limits { input: "the database", bytes: 256 * MIB, parts: 100_000, part: "packages and store paths" };
/// All package databases of one image. Each layer that installs a package has one.
pub const DATABASES: Limits = Limits {
    input: "the set of package databases",
    bytes: 2048 * MIB,
    parts: 100_000,
    part: "packages and store paths",
};
/// The packages in all databases of one image. Each database lists those of the layers below again.
pub const LISTED: Limits = Limits {
    input: "the set of package databases",
    bytes: 64 * MIB,
    parts: 10_000_000,
    part: "packages, counted in each of them",
};
/// The paths and references of a Nix database that are kept, with [`NAME_OVERHEAD`] for each.
#[cfg(feature = "program")]
pub const REFERENCES: Limits = Limits { input: "the database", bytes: 512 * MIB, parts: 2_000_000, part: "references" };

/// A file of an image whose contents are tested.
#[cfg(feature = "program")]
pub const TESTED_FILE: Limits = Limits { input: "the file", bytes: 256 * MIB, parts: 1, part: "files" };
/// Each stream of a command in a container. The start is kept.
#[cfg(feature = "program")]
pub const CONTAINER_OUTPUT: Limits = Limits { input: "the output", bytes: 64 * MIB, parts: 1, part: "streams" };
/// A line of a service's output. A longer line is split.
#[cfg(feature = "program")]
pub const OUTPUT_LINE: Limits = Limits { input: "the line", bytes: 64 * 1024, parts: 1, part: "lines" };
/// A test file, with the values that its aliases stand for.
#[cfg(feature = "program")]
pub const STRUCTURE_TEST: Limits = Limits { input: "the file", bytes: 4 * MIB, parts: 100_000, part: "values" };

/// Bytes that a kept name takes besides its own: the string and the nodes of maps that hold it.
pub const NAME_OVERHEAD: usize = 64;

/// The remaining budget for reading one input.
#[derive(Clone, Debug)]
pub struct Budget {
    limits: &'static Limits,
    bytes: u64,
    parts: u64,
}

/// Input that exceeds its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{input} has more than {limit} {unit}, which is the limit")]
pub struct ExceededError {
    input: &'static str,
    limit: u64,
    unit: &'static str,
}

impl ExceededError {
    /// The exceeded limit that `error` is about, if it is.
    pub fn cause(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref::<Self>().copied()
    }
}

impl From<ExceededError> for io::Error {
    fn from(error: ExceededError) -> Self {
        Self::new(io::ErrorKind::FileTooLarge, error)
    }
}

type Result<T> = std::result::Result<T, ExceededError>;

impl Budget {
    /// All that `limits` allow.
    pub fn new(limits: &'static Limits) -> Self {
        Self { limits, bytes: limits.bytes, parts: limits.parts }
    }

    /// Takes a part with this many bytes.
    pub fn take(&mut self, bytes: usize) -> Result<()> {
        self.take_parts(1)?;
        self.take_bytes(bytes as u64)
    }

    /// Takes bytes.
    pub fn take_bytes(&mut self, bytes: u64) -> Result<()> {
        let error = ExceededError { input: self.limits.input, limit: self.limits.bytes, unit: "bytes" };
        self.bytes = self.bytes.checked_sub(bytes).ok_or(error)?;
        Ok(())
    }

    /// Takes parts.
    pub fn take_parts(&mut self, parts: u64) -> Result<()> {
        let error = ExceededError { input: self.limits.input, limit: self.limits.parts, unit: self.limits.part };
        self.parts = self.parts.checked_sub(parts).ok_or(error)?;
        Ok(())
    }

    /// Takes a part with this many bytes if there is room for it; whether there was.
    pub fn take_if_room(&mut self, bytes: u64) -> bool {
        let has_room = bytes <= self.bytes && self.parts > 0;
        if has_room {
            (self.bytes, self.parts) = (self.bytes - bytes, self.parts - 1);
        }
        has_room
    }

    /// Begins another input of the same kind, which shares the bytes and has parts of its own.
    pub fn renew_parts(&mut self) -> &mut Self {
        self.parts = self.limits.parts;
        self
    }

    /// A reader that takes what it gives, and fails at the limit, where [`Read::take`] would end without an error.
    pub fn reader<R: Read>(&mut self, inner: R) -> BudgetReader<'_, R> {
        BudgetReader { inner, budget: self }
    }

    /// Appends the start of `inner` that there is room for to `bytes`: of a message, which is cut.
    ///
    /// # Errors
    ///
    /// If it cannot be read; `bytes` has what was read before.
    pub fn read_start(&mut self, inner: impl Read, bytes: &mut Vec<u8>) -> io::Result<()> {
        let before = bytes.len();
        let result = inner.take(self.bytes).read_to_end(bytes);
        self.bytes -= (bytes.len() - before) as u64;
        result.map(drop)
    }

    /// Reads `inner` to its end.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or has more bytes than are left.
    pub fn read(&mut self, inner: impl Read) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.reader(inner).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// Reads a process's standard error to its end. The start is kept.
pub fn read_message(mut stderr: impl Read) -> Vec<u8> {
    let mut message = Vec::new();
    drop(Budget::new(&MESSAGE).read_start(&mut stderr, &mut message));
    // A process whose pipe is closed would fail for that reason.
    drop(io::copy(&mut stderr, &mut io::sink()));
    message
}

/// Runs a command to its end, as [`Command::output`] does, with a standard output within `limits`. Of a standard error that is
/// piped, the start is kept.
///
/// # Errors
///
/// If the command cannot be started, or exceeds the limits; it is killed then.
pub fn output(command: &mut Command, limits: &'static Limits) -> io::Result<Output> {
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let message = thread::spawn(move || stderr.map(read_message).unwrap_or_default());
    let stdout = stdout.map_or_else(|| Ok(Vec::new()), |stdout| Budget::new(limits).read(stdout));
    if stdout.is_err() {
        child.kill()?;
    }
    let status = child.wait()?;
    // Processes that a killed one has started may keep its standard error open.
    let stdout = stdout?;
    Ok(Output { status, stdout, stderr: message.join().unwrap_or_default() })
}

/// A reader within a budget.
#[derive(Debug)]
pub struct BudgetReader<'a, R> {
    inner: R,
    budget: &'a mut Budget,
}

impl<R: Read> Read for BudgetReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.budget.take_bytes(read as u64)?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Limits = Limits { input: "the text", bytes: 10, parts: 2, part: "lines" };

    #[test]
    fn bytes_and_parts_are_limited() {
        let mut budget = Budget::new(&SMALL);
        budget.take(4).unwrap();
        assert!(budget.take_if_room(6) && !budget.take_if_room(0));
        assert_eq!(budget.take(0).unwrap_err().to_string(), "the text has more than 2 lines, which is the limit");
        let error = budget.renew_parts().take(1).unwrap_err();
        assert_eq!(error.to_string(), "the text has more than 10 bytes, which is the limit");
    }

    #[test]
    fn output_of_commands_is_limited() {
        let run = |script: &str| {
            let mut command = Command::new("sh");
            output(command.args(["-c", script]).stdin(Stdio::null()).stderr(Stdio::piped()), &SMALL)
        };
        let whole = run("printf 0123456789; printf no >&2; exit 3").unwrap();
        assert_eq!((whole.stdout.as_slice(), whole.stderr.as_slice()), (&b"0123456789"[..], &b"no"[..]));
        assert_eq!(whole.status.code(), Some(3));
        assert_eq!(run("sleep 20 & yes 0123456789").unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        let noisy = run("head -c 1000000 /dev/zero >&2").unwrap();
        assert_eq!((noisy.stderr.len() as u64, noisy.status.success()), (MESSAGE.bytes, true));
    }

    #[test]
    fn readers_fail_at_the_limit_and_never_end_early() {
        assert_eq!(Budget::new(&SMALL).read(&b"0123456789"[..]).unwrap(), b"0123456789");
        let error = Budget::new(&SMALL).read(&b"0123456789a"[..]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        let mut total = Budget::new(&SMALL);
        for _ in 0..2 {
            Budget::new(&SMALL).read(total.reader(&b"01234"[..])).unwrap();
        }
        assert!(Budget::new(&SMALL).read(total.reader(&b"0"[..])).is_err());
    }
}
