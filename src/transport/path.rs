//! Images in files and directories: `oci:`, `oci-archive:`, `docker-archive:`, `dir:` and paths. Their contents
//! determine how they are opened. The path `-` is the standard input.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{ReadOptions, ReadTransport, recognise, suggest, write::some_path};
use crate::image::{Choice, OpenError, Opened};

/// A path, and the choice of an image in it.
#[derive(Debug)]
struct PathSource {
    path: PathBuf,
    choice: Choice,
    /// The index of an image, which may have no name.
    number: Option<usize>,
}

impl PathSource {
    /// Returns the whole text after the transport, if it is the path of a file or a directory.
    fn whole(&self) -> Option<String> {
        let Choice { name, tag, .. } = &self.choice;
        let parts: Vec<&str> = name.iter().chain(tag).map(String::as_str).collect();
        let whole = format!("{}:{}", self.path.display(), parts.join(":"));
        (!parts.is_empty() && PathBuf::from(&whole).exists()).then_some(whole)
    }
}

/// Returns the source for a path.
pub(crate) fn plain(path: &str) -> Arc<dyn ReadTransport> {
    Arc::new(PathSource { path: path.into(), choice: Choice::default(), number: None })
}

/// Parses `PATH[:[NAME:]TAG]`, or `PATH:@NUMBER`, which counts from 0 (containers/image, docker/archive/transport.go
/// and oci/internal).
pub(super) fn parse_named(rest: &str) -> Result<Arc<dyn ReadTransport>, String> {
    let (path, name) = rest.split_once(':').unwrap_or((rest, ""));
    let name = Some(name).filter(|name| !name.is_empty());
    if let Some(number) = name.and_then(|name| name.strip_prefix('@')) {
        let number = number.parse().map_err(|_| format!("@{number}: not the number of an image; the first is @0"))?;
        return Ok(Arc::new(PathSource { path: some_path(path)?, choice: Choice::default(), number: Some(number) }));
    }
    let (name, tag) = match name.and_then(|name| name.rsplit_once(':')) {
        Some((name, tag)) => (Some(name.to_owned()), Some(tag.to_owned())),
        None => (None, name.map(str::to_owned)),
    };
    Ok(Arc::new(PathSource { path: some_path(path)?, choice: Choice { name, tag, ..Choice::default() }, number: None }))
}

/// Parses a path that may contain colons.
pub(super) fn parse_plain(rest: &str) -> Result<Arc<dyn ReadTransport>, String> {
    Ok(Arc::new(PathSource { path: some_path(rest)?, choice: Choice::default(), number: None }))
}

impl ReadTransport for PathSource {
    fn file(&self) -> Option<&Path> {
        Some(&self.path)
    }

    fn open(&self, access: &ReadOptions) -> Result<Opened, OpenError> {
        let text = self.path.to_string_lossy();
        // Users often forget the transport before a reference.
        let is_reference = !self.path.exists() && text.contains('/') && !text.starts_with(['/', '.']);
        let is_stdin = self.path.as_os_str() == "-";
        let opened = if is_stdin { recognise::open_stdin() } else { recognise::open(&self.path) };
        match opened {
            Err(error) if !self.path.exists() && self.whole().is_some() => {
                let path = self.whole().unwrap_or_default();
                Err(OpenError::Colon { path, source: Box::new(error) })
            }
            Err(error) if !self.path.exists() && suggest::source(&text).is_some() => {
                let hint = suggest::source(&text).unwrap_or_default();
                Err(OpenError::Hint { hint, source: Box::new(error) })
            }
            Err(error) if is_reference => {
                Err(OpenError::NoTransport { text: text.into_owned(), source: Box::new(error) })
            }
            Ok(Opened::Found(found)) => {
                let Choice { name, tag, .. } = &self.choice;
                if let Some(number) = self.number {
                    return found.numbered(number).map(Opened::Found);
                }
                found.named(name.as_deref(), tag.as_deref()).map(Opened::Found)
            }
            Ok(Opened::Recipe(mut image)) => {
                image.provider = access.provider.clone();
                Ok(Opened::Recipe(image))
            }
            Ok(Opened::Index(mut index)) => {
                index.set_provider(access.provider.as_ref());
                Ok(Opened::Index(index))
            }
            Err(error) => Err(error),
        }
    }
}
