//! The owners of mounted files: those of this machine's store, as the engine shows them.
//!
//! ```text
//! store of root (multi-user Nix)     root; in rootless engines nobody, because no user of the container is that user
//! store of a user (single-user Nix)  the user's ID; in the user's own rootless engine root
//! dockerd with --userns-remap        nobody
//! ```
//!
//! Mounts with mapped owners would hide the difference, but the kernel refuses them to rootless engines, docker has no option
//! for them, and podman passes its own (`idmap=uids=…`) to crun alone, as root (containers/crun#1632).

use std::os::unix::fs::MetadataExt;

use rustix::process::geteuid;

use super::engine::Users;
use crate::closure::StorePath;

/// How the owners of `mounts` differ from root, which is their owner in the loaded image; `None` if they do not.
pub fn difference(mounts: &[StorePath], users: Users) -> Option<String> {
    let owner = mounts.first()?.as_path().symlink_metadata().ok()?.uid();
    let user = geteuid();
    describe(owner, users, (!user.is_root()).then(|| user.as_raw()))
}

/// `user` is who runs a rootless engine.
fn describe(owner: u32, users: Users, user: Option<u32>) -> Option<String> {
    let who = match (users, owner) {
        (Users::Rootless, owner) if Some(owner) == user => return None,
        (Users::Rootless | Users::Subordinate, _) => "nobody".to_owned(),
        (Users::Same, 0) => return None,
        (Users::Same, owner) => format!("user {owner}"),
    };
    Some(format!("mounted files belong to {who} in the container; --load has the owners of the image"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_that_differ_from_the_image_are_described() {
        for (owner, users, user, expected) in [
            (0, Users::Same, None, None),
            (0, Users::Rootless, Some(1000), Some("nobody")),
            (0, Users::Rootless, None, Some("nobody")),
            (1000, Users::Same, None, Some("user 1000")),
            (1000, Users::Rootless, Some(1000), None),
            (1000, Users::Rootless, Some(1001), Some("nobody")),
            (0, Users::Subordinate, None, Some("nobody")),
            (1000, Users::Subordinate, Some(1000), Some("nobody")),
        ] {
            let found = describe(owner, users, user);
            let text = expected.map(|who| {
                format!("mounted files belong to {who} in the container; --load has the owners of the image")
            });
            assert_eq!(found, text, "{owner} {users:?} {user:?}");
        }
    }
}
