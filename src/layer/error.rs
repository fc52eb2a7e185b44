//! What can go wrong between a store path and its bytes.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Why a layer could not be made.
///
/// [Example](crate#layer).
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The file system refused.
    #[error("{act} {}", path.display())]
    Io {
        /// What was tried, `reading` for example.
        act: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// The layer's bytes could not be written on.
    #[error("writing the layer")]
    Write(#[source] io::Error),
    /// A file's size changed while it was read.
    #[error(
        "reading {}: it ended after {read} of {expected} bytes; \
         something changes it while the layer is made (try `nix-store --verify --check-contents`)",
        path.display()
    )]
    Changed {
        /// The file.
        path: PathBuf,
        /// Its size when it was opened, in bytes.
        expected: u64,
        /// How much of it there was, in bytes.
        read: u64,
    },
    /// No tar can hold this.
    #[error("{} is neither a file, a directory nor a symlink; a layer cannot hold it", .0.display())]
    Kind(PathBuf),
    /// A NAR could not be had, or is none.
    #[error("reading the NAR of {}", path.display())]
    Nar {
        /// The store path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A NAR is read once, in order: its files cannot be mixed with others.
    #[error("{} is read from a NAR, so its files cannot be moved in the image", .0.display())]
    PackedAndMoved(PathBuf),
    /// Two sources want the same place in the image.
    #[error(
        "two sources want {place} in the image and differ ({why}):\n  {first}\n  {second}\n{remedy}",
        place = place.display(), first = first.display(), second = second.display(), remedy = remedy(place)
    )]
    Clash {
        /// The path in the image.
        place: PathBuf,
        /// How they differ.
        why: &'static str,
        /// The source that came first.
        first: PathBuf,
        /// The source that came second.
        second: PathBuf,
    },
    /// A rewrite gives a path that is not absolute or not plain.
    #[error(
        "{} would be put at {destination:?}; a destination is absolute, without `.` and `..` \
         (write /{destination} or leave it empty for /)",
        path.display()
    )]
    Destination {
        /// The source.
        path: PathBuf,
        /// Where the rewrite puts it.
        destination: String,
    },
    /// Engines would delete a file of a lower layer.
    #[error(
        "{} would be {name} in the image: a name that begins with .wh. deletes the file of that name from lower layers \
         instead of arriving; leave the file out, or rename it",
        path.display()
    )]
    Whiteout {
        /// The source.
        path: PathBuf,
        /// Its path in the image.
        name: String,
    },
    /// A file would become the root directory.
    #[error(
        "{} is not a directory, so its contents cannot be put at the root of the image; \
         put it in a directory first, with symlinkJoin or writeTextDir for example",
        .0.display()
    )]
    RootFile(PathBuf),
    /// An option's regular expression does not parse.
    #[error("regular expression {pattern:?}")]
    Regex {
        /// The expression.
        pattern: String,
        /// What is wrong with it.
        source: Box<regex::Error>,
    },
    /// An option's mode is not an octal number.
    #[error("mode {0:?} in perms is not octal; write it like 0755")]
    Mode(String),
}

/// A result with a [`LayerError`].
pub type Result<T> = std::result::Result<T, LayerError>;

impl LayerError {
    /// For `map_err`: names the act and the path.
    pub(super) fn io(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { act, path, source }
    }
}

/// Files that packages carry for Nix or for one package manager, and that
/// have no use at `/`.
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
