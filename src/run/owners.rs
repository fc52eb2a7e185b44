//! The owners of mounted files: those in this machine's store, as visible in the container.
//!
//! ```text
//! store of root (multi-user Nix)     root; in rootless engines nobody, since no user of the container is that user
//! store of a user (single-user Nix)  the user's ID; in the user's own rootless engine root
//! dockerd with --userns-remap        nobody
//! ```
//!
//! Mounts with mapped owners would avoid the difference, but the kernel refuses them to rootless engines, docker has no
//! option for them, and podman passes its own (`idmap=uids=…`) only to crun, as root (containers/crun#1632).

use std::os::unix::fs::MetadataExt;

use rustix::process::geteuid;

use super::engine::UserMapping;
use crate::closure::StorePath;

/// Returns how the owners of `mounts` differ from root, which is their owner in the loaded image, or `None` if they do
/// not.
pub fn difference(mounts: &[StorePath], users: UserMapping) -> Option<String> {
    let owner = mounts.first()?.as_path().symlink_metadata().ok()?.uid();
    let user = geteuid();
    describe(owner, users, (!user.is_root()).then(|| user.as_raw()))
}

/// Describes the difference for a file of `owner`. `user` is the user of a rootless engine.
fn describe(owner: u32, users: UserMapping, user: Option<u32>) -> Option<String> {
    let visible_owner = match (users, owner) {
        (UserMapping::Rootless, owner) if Some(owner) == user => return None,
        (UserMapping::Rootless | UserMapping::Subordinate, _) => "nobody".to_owned(),
        (UserMapping::Same, 0) => return None,
        (UserMapping::Same, owner) => format!("user {owner}"),
    };
    Some(format!("mounted files belong to {visible_owner} in the container; --load has the owners of the image"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_that_differ_from_the_image_are_described() {
        for (owner, users, user, expected) in [
            (0, UserMapping::Same, None, None),
            (0, UserMapping::Rootless, Some(1000), Some("nobody")),
            (0, UserMapping::Rootless, None, Some("nobody")),
            (1000, UserMapping::Same, None, Some("user 1000")),
            (1000, UserMapping::Rootless, Some(1000), None),
            (1000, UserMapping::Rootless, Some(1001), Some("nobody")),
            (0, UserMapping::Subordinate, None, Some("nobody")),
            (1000, UserMapping::Subordinate, Some(1000), Some("nobody")),
        ] {
            let found = describe(owner, users, user);
            let text = expected.map(|visible_owner| {
                format!("mounted files belong to {visible_owner} in the container; --load has the owners of the image")
            });
            assert_eq!(found, text, "{owner} {users:?} {user:?}");
        }
    }
}
