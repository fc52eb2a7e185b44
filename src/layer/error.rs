//! Errors of making the bytes of store paths.

use std::{
    io,
    path::{Path, PathBuf},
};

/// The error of making a layer.
///
/// [Example](crate#layer).
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// An input or output error.
    #[error("{act} {}", path.display())]
    Io {
        /// The operation, for example `reading`.
        act: &'static str,
        /// The path of the file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The output could not be written.
    #[error("writing the layer")]
    Write(#[source] io::Error),
    /// A file's size changed while it was read.
    #[error(
        "reading {}: it ended after {read} of {expected} bytes; \
         something changes it while the layer is made (try `nix-store --verify --check-contents`)",
        path.display()
    )]
    Changed {
        /// The path of the file.
        path: PathBuf,
        /// The size in bytes when the file was opened.
        expected: u64,
        /// The number of bytes that could be read.
        read: u64,
    },
    /// A file of a type that tars do not support.
    #[error("{} is neither a file, a directory nor a symlink; a layer cannot hold it", .0.display())]
    Kind(PathBuf),
    /// A NAR that could not be opened or is malformed.
    #[error("reading the NAR of {}", path.display())]
    Nar {
        /// The path of the file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A moved path whose files are in a NAR. A NAR is read once, in order, and cannot be merged with other files.
    #[error("{} is read from a NAR, so its files cannot be moved in the image", .0.display())]
    PackedAndMoved(PathBuf),
    /// Two sources with different files for one path in the image.
    #[error(
        "two sources want {place} in the image and differ ({why}):\n  {first}\n  {second}\n{remedy}",
        place = place.display(), first = first.display(), second = second.display(), remedy = remedy(place)
    )]
    Clash {
        /// The path in the image.
        place: PathBuf,
        /// The difference.
        why: &'static str,
        /// The path of the first source.
        first: PathBuf,
        /// The path of the second source.
        second: PathBuf,
    },
    /// A rewrite whose result is not absolute or not normalized.
    #[error(
        "{} would be put at {destination:?}; a destination is absolute, without `.` and `..` \
         (write /{destination} or leave it empty for /)",
        path.display()
    )]
    Destination {
        /// The path of the file.
        path: PathBuf,
        /// The result of the rewrite.
        destination: String,
    },
    /// A name that engines take for a whiteout.
    #[error(
        "{} would be {name} in the image: a name that begins with .wh. deletes the file of that name from lower layers \
         instead of arriving; leave the file out, or rename it",
        path.display()
    )]
    Whiteout {
        /// The path of the file.
        path: PathBuf,
        /// The name of the document, blob or file.
        name: String,
    },
    /// A file that would become the root directory.
    #[error(
        "{} is not a directory, so its contents cannot be put at the root of the image; \
         put it in a directory first, with symlinkJoin or writeTextDir for example",
        .0.display()
    )]
    RootFile(PathBuf),
    /// An invalid regular expression of an option.
    #[error("regular expression {pattern:?}")]
    Regex {
        /// The expression.
        pattern: String,
        /// The error of the system.
        source: Box<regex::Error>,
    },
    /// The regular expressions of a recipe exceed the limits of strata.
    #[error("compiling the regular expressions of the recipe")]
    Patterns(#[source] io::Error),
    /// A mode of an option that is not an octal number.
    #[error("mode {0:?} in perms is not octal; write it like 0755")]
    Mode(String),
}

pub type Result<T> = std::result::Result<T, LayerError>;

impl LayerError {
    /// Returns a function for `map_err` that adds the operation and the path.
    pub(super) fn io(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { act, path, source }
    }
}

/// Files of packages that only Nix or a package manager needs, and that are useless at `/`.
const UNWANTED: [&str; 4] = ["/nix-support", "/share/info/dir", "/share/mime/mime.cache", "/lib/perllocal.pod"];

fn remedy(place: &Path) -> String {
    let text = place.to_string_lossy();
    let unwanted = UNWANTED.iter().find(|path| text.starts_with(**path));
    let hint = match unwanted {
        Some(path) => format!("{path} describes the package and is not needed in an image; leave it out"),
        None => "keep one of them".to_owned(),
    };
    format!("{hint}: join the packages with buildEnv and its pathsToLink (only /bin, for example) or ignoreCollisions")
}
