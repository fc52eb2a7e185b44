//! The checks, and the items of dockle and of the CIS Docker Benchmark that ask for the same.

use serde::{Serialize, Serializer};

/// A check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// The program runs as root.
    RootUser,
    /// The user can write to files that are in no volume.
    WritableRoot,
    /// A file has the setuid or setgid bit.
    Setuid,
    /// A file has capabilities.
    FileCapability,
    /// A file or directory is writable for every user.
    WorldWritable,
    /// A shell.
    Shell,
    /// A package manager.
    PackageManager,
    /// A secret.
    Secret,
    /// The configuration has no health check.
    Health,
    /// An exposed port needs a privilege.
    PrivilegedPort,
    /// A volume hides a file system of the kernel.
    SensitiveVolume,
    /// An account has no password.
    EmptyPassword,
    /// Two accounts have the same number.
    DuplicateId,
    /// The tag does not name a version.
    LatestTag,
    /// A file that is of use for development only.
    LeftoverFile,
}

/// Each check with its name, the items of dockle (CHECKPOINT.md) and those of the CIS Docker Benchmark 1.6 (section 4).
const ALL: [(Check, &str, &str, &str); 15] = [
    (Check::RootUser, "root-user", "CIS-DI-0001", "4.1"),
    (Check::WritableRoot, "writable-root", "", "5.13"),
    (Check::Setuid, "setuid", "CIS-DI-0008", "4.8"),
    (Check::FileCapability, "file-capability", "", "5.4"),
    (Check::WorldWritable, "world-writable", "", ""),
    (Check::Shell, "shell", "", "4.3"),
    (Check::PackageManager, "package-manager", "", "4.3"),
    (Check::Secret, "secret", "CIS-DI-0010", "4.10"),
    (Check::Health, "health-check", "CIS-DI-0006", "4.6"),
    (Check::PrivilegedPort, "privileged-port", "", "5.8"),
    (Check::SensitiveVolume, "sensitive-volume", "DKL-DI-0002", "5.6"),
    (Check::EmptyPassword, "empty-password", "DKL-LI-0001", ""),
    (Check::DuplicateId, "duplicate-id", "DKL-LI-0002", ""),
    (Check::LatestTag, "latest-tag", "DKL-DI-0006", ""),
    (Check::LeftoverFile, "leftover-file", "DKL-LI-0003", "4.3"),
];

impl Check {
    /// Returns all checks.
    pub fn all() -> impl Iterator<Item = Self> {
        ALL.iter().map(|(check, ..)| *check)
    }

    fn row(self) -> &'static (Self, &'static str, &'static str, &'static str) {
        ALL.iter().find(|(check, ..)| *check == self).unwrap_or(&ALL[0])
    }

    /// Returns the name, as messages and exceptions have it.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// Returns the item of dockle that asks for the same, if there is one.
    pub fn dockle(self) -> Option<&'static str> {
        Some(self.row().2).filter(|item| !item.is_empty())
    }

    /// Returns the item of the CIS Docker Benchmark 1.6 that asks for the same, if there is one.
    pub fn cis(self) -> Option<&'static str> {
        Some(self.row().3).filter(|item| !item.is_empty())
    }
}

impl Serialize for Check {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_has_a_row_and_a_name_of_its_own() {
        let mut names: Vec<&str> = Check::all().map(Check::name).collect();
        assert!(Check::all().all(|check| check.row().0 == check));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }
}
