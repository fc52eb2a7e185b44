//! Limits on what one image's package databases and file lists may cost, whatever its layers hold.

use std::io::{self, Read};

/// Bytes of one database; rpm's largest have 200 MB.
const DATABASE_LIMIT: u64 = 256 * 1024 * 1024;
/// Bytes of all databases together; each layer that installs a package has one.
const BYTES_LIMIT: u64 = 2 * 1024 * 1024 * 1024;
/// Packages and store paths together; the largest distributions' complete installations have less.
const PACKAGES_LIMIT: usize = 100_000;

/// What is left for one image.
#[derive(Debug)]
pub struct Budget {
    bytes: u64,
    packages: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { bytes: BYTES_LIMIT, packages: PACKAGES_LIMIT }
    }
}

impl Budget {
    /// Takes a package or store path that is kept.
    pub fn take_package(&mut self) -> io::Result<()> {
        self.packages = self.packages.checked_sub(1).ok_or_else(|| too_many("the image"))?;
        Ok(())
    }

    /// A reader of a database, which ends with an error at the limit.
    pub fn reader<'a>(&'a mut self, inner: &'a mut dyn Read) -> DatabaseReader<'a> {
        DatabaseReader { left: DATABASE_LIMIT, budget: self, inner }
    }
}

/// Errors if one database has too many packages; they are kept until it is read to its end.
pub fn check_count(packages: usize) -> io::Result<()> {
    if packages > PACKAGES_LIMIT { Err(too_many("a package database")) } else { Ok(()) }
}

fn too_many(what: &str) -> io::Error {
    exceeded(format!("{what} has more than {PACKAGES_LIMIT} packages and store paths, which is the limit"))
}

fn exceeded(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, message)
}

/// A database that is read within a budget.
pub struct DatabaseReader<'a> {
    left: u64,
    budget: &'a mut Budget,
    inner: &'a mut dyn Read,
}

impl Read for DatabaseReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let take = |left: u64, what: &str, limit: u64| {
            let error = || exceeded(format!("{what} more than {limit} bytes, which is the limit"));
            left.checked_sub(read as u64).ok_or_else(error)
        };
        self.left = take(self.left, "a package database has", DATABASE_LIMIT)?;
        self.budget.bytes = take(self.budget.bytes, "the image's package databases have", BYTES_LIMIT)?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_database_and_all_together_are_limited() {
        let mut budget = Budget::default();
        let copy = |budget: &mut Budget, size: u64| {
            io::copy(&mut budget.reader(&mut io::repeat(b'x').take(size)), &mut io::sink())
        };
        let error = copy(&mut budget, DATABASE_LIMIT + 1).unwrap_err();
        assert!(error.to_string().starts_with("a package database has more than"), "{error}");
        budget.bytes = 2 * DATABASE_LIMIT;
        for _ in 0..2 {
            copy(&mut budget, DATABASE_LIMIT).unwrap();
        }
        let error = copy(&mut budget, 1).unwrap_err();
        assert!(error.to_string().starts_with("the image's package databases have more than"), "{error}");
    }
}
