//! Opens a path. Its contents are recognised once, and determine which transport reads it.
//!
//! ```text
//! directory with oci-layout ──▶ layout     file or stream of a tar, or compressed ──▶ archive
//!           with manifest.json ▶ dir                      of {                    ──▶ recipe
//!           with image.json ──▶ recipe                    of #!, strata's stream  ──▶ its recipe
//! ```

use std::{
    fs::File,
    io::{self, IsTerminal, Read, Seek},
    path::Path,
};

use super::{archive, dir, layout, scripts};
use crate::{
    files,
    image::{OpenError, Opened, recipe::RecipeFile},
    layer::DetectedCompression,
};

/// The number of bytes at the start of a file that are used to recognise it.
const START: u64 = 512;
/// The number of bytes at the start of a script in which the image of a stream is searched.
const SCRIPT: u64 = 8 * 1024;

/// Opens an image of any kind.
///
/// [Example](crate#transport).
///
/// # Errors
///
/// [`OpenError`], which names the file, and the part of the file.
pub fn open(path: &Path) -> Result<Opened, OpenError> {
    match PathKind::recognise(path)? {
        PathKind::Program(file) => {
            let image = scripts::image_of(path, &read_script(file).map_err(OpenError::io("reading", path))?)?;
            PathKind::recognise(&image)?.open(&image)
        }
        content => content.open(path),
    }
}

/// Opens an archive or recipe from the standard input.
///
/// # Errors
///
/// Those of [`open`], and an error if the standard input is a terminal.
pub(crate) fn open_stdin() -> Result<Opened, OpenError> {
    let name = Path::new("the standard input");
    let stdin = io::stdin().lock();
    if stdin.is_terminal() {
        let terminal = io::Error::other("it is a terminal; pipe an archive or an image.json into it");
        return Err(OpenError::io("reading", name)(terminal));
    }
    PathKind::recognise_stream(stdin).map_err(OpenError::io("reading", name))?.open(name)
}

/// The kind of a path.
enum PathKind<'a> {
    Layout,
    Dir,
    Recipe(File),
    RecipeDirectory,
    Archive(File),
    /// A pipe or a device, which is read only once.
    RecipeStream(Box<dyn Read + 'a>),
    ArchiveStream(Box<dyn Read + 'a>),
    Program(File),
    OtherDirectory,
    Unknown,
}

/// The kind of a file according to its first bytes.
enum Start {
    Recipe,
    Archive,
    Program,
    Unknown,
}

impl Start {
    fn detect(bytes: &[u8]) -> Self {
        let is_tar = bytes.get(257..262) == Some(b"ustar");
        if bytes.trim_ascii_start().starts_with(b"{") {
            Self::Recipe
        } else if is_tar || DetectedCompression::detect(bytes) != DetectedCompression::Plain {
            Self::Archive
        } else if bytes.starts_with(b"#!") {
            Self::Program
        } else {
            Self::Unknown
        }
    }
}

impl<'a> PathKind<'a> {
    fn recognise(path: &Path) -> Result<Self, OpenError> {
        let file = File::open(path).map_err(OpenError::io("opening", path))?;
        let kind = file.metadata().map_err(OpenError::io("opening", path))?.file_type();
        if kind.is_dir() {
            return Ok(Self::recognise_directory(path));
        }
        let recognised = if kind.is_file() { Self::recognise_file(file) } else { Self::recognise_stream(file) };
        recognised.map_err(OpenError::io("reading", path))
    }

    fn recognise_directory(path: &Path) -> Self {
        let has = |name| path.join(name).exists();
        if has("oci-layout") {
            Self::Layout
        } else if has("manifest.json") {
            Self::Dir
        } else if has("image.json") {
            Self::RecipeDirectory
        } else {
            Self::OtherDirectory
        }
    }

    fn recognise_file(mut file: File) -> io::Result<Self> {
        let start = read_start(&mut file)?;
        file.rewind()?;
        Ok(match Start::detect(&start) {
            Start::Recipe => Self::Recipe(file),
            Start::Archive => Self::Archive(file),
            Start::Program => Self::Program(file),
            Start::Unknown => Self::Unknown,
        })
    }

    fn recognise_stream(mut stream: impl Read + 'a) -> io::Result<Self> {
        let start = read_start(&mut stream)?;
        let kind = Start::detect(&start);
        let stream = Box::new(io::Cursor::new(start).chain(stream));
        Ok(match kind {
            Start::Recipe => Self::RecipeStream(stream),
            Start::Archive => Self::ArchiveStream(stream),
            Start::Program | Start::Unknown => Self::Unknown,
        })
    }

    fn open(self, path: &Path) -> Result<Opened, OpenError> {
        match self {
            Self::Layout => layout::read::open(path).map(Opened::Found),
            Self::Dir => dir::read::open(path).map(Opened::Found),
            Self::Archive(file) => archive::read::open(file, path).map(Opened::Found),
            Self::ArchiveStream(stream) => archive::read::open_stream(stream, path).map(Opened::Found),
            Self::Recipe(file) => Ok(RecipeFile::open(file, path)?.into()),
            Self::RecipeDirectory => {
                let recipe = path.join("image.json");
                // Opening a pipe in place of the recipe must not wait for its other end.
                let file = files::open_plain(&recipe).map_err(OpenError::io("opening", &recipe))?;
                Ok(RecipeFile::open(file, &recipe)?.into())
            }
            Self::RecipeStream(stream) => Ok(RecipeFile::read(stream, path)?.into()),
            Self::OtherDirectory => Err(scripts::directory(path)),
            Self::Program(_) | Self::Unknown => Err(OpenError::Unknown(path.to_owned())),
        }
    }
}

fn read_start(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    reader.take(START).read_to_end(&mut start)?;
    Ok(start)
}

fn read_script(file: File) -> io::Result<String> {
    let mut start = Vec::new();
    file.take(SCRIPT).read_to_end(&mut start)?;
    Ok(String::from_utf8_lossy(&start).into_owned())
}
