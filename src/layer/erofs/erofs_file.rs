//! The file of an image.

use std::{
    cell::OnceCell,
    fs::File,
    io::{self, Write},
};

/// An empty file for an image. It records its own errors, which callers cannot tell from those of the layer otherwise.
#[derive(Debug)]
pub struct ErofsFile<'a> {
    file: &'a File,
    failure: OnceCell<io::Error>,
}

impl<'a> ErofsFile<'a> {
    /// Wraps an empty file that is open for writing.
    pub fn new(file: &'a File) -> Self {
        Self { file, failure: OnceCell::new() }
    }

    /// Returns the first error of the file.
    pub fn into_failure(self) -> Option<io::Error> {
        self.failure.into_inner()
    }

    pub(super) fn file(&self) -> &'a File {
        self.file
    }

    /// Records the error of an operation on the file.
    pub(super) fn checked<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result
            && error.kind() != io::ErrorKind::Interrupted
        {
            let described = || io::Error::new(error.kind(), error.to_string());
            let copy = error.raw_os_error().map_or_else(described, io::Error::from_raw_os_error);
            // Later errors are consequences of the first one.
            let _ = self.failure.set(copy);
        }
        result
    }

    /// Records the error of an operation on the file and on another one, if it can only be an error of the file.
    pub(super) fn checked_space<T>(&self, result: io::Result<T>) -> io::Result<T> {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        let is_of_file = |error: &io::Error| match error.kind() {
            StorageFull => true,
            // An error without a number is a limit of the layer.
            QuotaExceeded | FileTooLarge => error.raw_os_error().is_some(),
            _ => false,
        };
        if result.as_ref().is_err_and(is_of_file) { self.checked(result) } else { result }
    }
}

impl Write for &ErofsFile<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut file = self.file;
        self.checked(file.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
