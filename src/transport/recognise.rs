//! Recognises the content of a path: a recipe, an OCI layout, skopeo's `dir:`, an archive, or a stream of strata.

use std::{
    fs::{self, File},
    io::{self, IsTerminal, Read},
    path::Path,
};

use super::{archive, dir, layout, scripts};
use crate::{
    files,
    image::{OpenError, Opened, recipe::RecipeFile},
    layer::DetectedCompression,
};

/// Bytes of a program's beginning that may say which image it streams.
const SCRIPT: u64 = 8 * 1024;

/// The kind of a file, by its first bytes.
enum Kind {
    Recipe,
    Archive,
    Program,
    Unknown,
}

impl Kind {
    fn from_start(start: &[u8]) -> Self {
        let is_tar = start.get(257..262) == Some(b"ustar");
        if start.trim_ascii_start().starts_with(b"{") {
            Self::Recipe
        } else if is_tar || DetectedCompression::of(start) != DetectedCompression::Plain {
            Self::Archive
        } else if start.starts_with(b"#!") {
            Self::Program
        } else {
            Self::Unknown
        }
    }
}

/// Opens an image of any kind.
///
/// [Example](crate#transport).
///
/// # Errors
///
/// [`OpenError`], which names the file, and the part of it.
pub fn open(path: &Path) -> Result<Opened, OpenError> {
    let (mut start, mut file) = match begin(path)? {
        Begun::Whole(opened) => return Ok(opened),
        Begun::File(start, file) => (start, file),
    };
    if !matches!(Kind::from_start(&start), Kind::Program) {
        return open_file(path, start, file);
    }
    let fail = |source| OpenError::Io { act: "reading".to_owned(), path: path.to_owned(), source };
    (&mut file).take(SCRIPT).read_to_end(&mut start).map_err(fail)?;
    let image = scripts::image_of(path, &String::from_utf8_lossy(&start))?;
    match begin(&image)? {
        Begun::Whole(opened) => Ok(opened),
        Begun::File(start, file) => open_file(&image, start, file),
    }
}

/// Opens the archive or recipe that the standard input is.
///
/// # Errors
///
/// As [`open`], and when the standard input is a terminal.
pub(crate) fn open_stdin() -> Result<Opened, OpenError> {
    let name = Path::new("the standard input");
    let fail = |source| OpenError::Io { act: "reading".to_owned(), path: name.to_owned(), source };
    let stdin = io::stdin().lock();
    if stdin.is_terminal() {
        return Err(fail(io::Error::other("it is a terminal; pipe an archive or an image.json into it")));
    }
    let mut stdin = stdin;
    let mut start = Vec::new();
    (&mut stdin).take(512).read_to_end(&mut start).map_err(fail)?;
    open_stream(name, start, stdin)
}

enum Begun {
    Whole(Opened),
    /// A file, and its first bytes.
    File(Vec<u8>, File),
}

fn begin(path: &Path) -> Result<Begun, OpenError> {
    let fail = |source| OpenError::Io { act: "opening".to_owned(), path: path.to_owned(), source };
    if fs::metadata(path).map_err(fail)?.is_dir() {
        return open_directory(path).map(Begun::Whole);
    }
    let mut file = File::open(path).map_err(fail)?;
    let mut start = Vec::new();
    (&mut file).take(512).read_to_end(&mut start).map_err(fail)?;
    Ok(Begun::File(start, file))
}

fn open_directory(path: &Path) -> Result<Opened, OpenError> {
    if path.join("oci-layout").exists() {
        layout::read::open(path).map(Opened::Found)
    } else if path.join("manifest.json").exists() {
        dir::read::open(path).map(Opened::Found)
    } else if path.join("image.json").exists() {
        let recipe = path.join("image.json");
        // A pipe in its place must not wait for its other end.
        files::open_plain(&recipe).map_err(|source| OpenError::Io {
            act: "opening".to_owned(),
            path: path.to_owned(),
            source,
        })?;
        Ok(RecipeFile::open(&recipe)?.into())
    } else {
        Err(scripts::directory(path))
    }
}

fn open_file(path: &Path, start: Vec<u8>, file: File) -> Result<Opened, OpenError> {
    // A pipe is read once.
    if files::is_stream(path) {
        return open_stream(path, start, file);
    }
    match Kind::from_start(&start) {
        Kind::Recipe => Ok(RecipeFile::open(path)?.into()),
        Kind::Archive => archive::read::open(path).map(Opened::Found),
        Kind::Program | Kind::Unknown => Err(OpenError::Unknown(path.to_owned())),
    }
}

fn open_stream(path: &Path, start: Vec<u8>, rest: impl Read) -> Result<Opened, OpenError> {
    let kind = Kind::from_start(&start);
    let all = io::Cursor::new(start).chain(rest);
    match kind {
        Kind::Recipe => Ok(RecipeFile::read(all, path)?.into()),
        Kind::Archive => archive::read::open_stream(all, path).map(Opened::Found),
        Kind::Program | Kind::Unknown => Err(OpenError::Unknown(path.to_owned())),
    }
}
