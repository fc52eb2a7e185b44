//! The user of a container: `user[:group]`, by name or number, according to the files of the image.
//!
//! The rules are those of runc and moby (opencontainers/runc, libcontainer/user/user.go, `GetExecUser`): a name is
//! looked up in `/etc/passwd` and `/etc/group`, a number needs no entry, and a missing group is that of the user's
//! entry.

use anyhow::{Context, Result, bail};

use super::files::ImageFiles;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    pub home: String,
}

impl User {
    /// Finds the user of a configuration. An empty text stands for root.
    ///
    /// # Errors
    ///
    /// If the image does not have the user or group.
    pub fn find(text: &str, files: &ImageFiles) -> Result<Self> {
        let (passwd, groups) = (files.text("/etc/passwd"), files.text("/etc/group"));
        Self::parse(text, passwd.as_deref().unwrap_or_default(), groups.as_deref().unwrap_or_default())
            .with_context(|| format!("user {text}"))
    }

    fn parse(text: &str, passwd: &str, groups: &str) -> Result<Self> {
        let (name, group) = text.split_once(':').map_or((text, ""), |(name, group)| (name, group));
        let name = if name.is_empty() { "0" } else { name };
        let number: Option<u32> = name.parse().ok();
        let entry = entries(passwd).find(|entry| {
            let uid = entry.get(2).and_then(|uid| uid.parse::<u32>().ok());
            entry[0] == name || number.is_some() && uid == number
        });
        let field = |at: usize| entry.as_ref().and_then(|entry| entry.get(at).copied());
        let uid = match field(2).and_then(|uid| uid.parse().ok()).or(number) {
            Some(uid) => uid,
            None => bail!("/etc/passwd of the image has no user {name}"),
        };
        let gid = match (group, group.parse().ok()) {
            ("", _) => field(3).and_then(|gid| gid.parse().ok()).unwrap_or(0),
            (_, Some(gid)) => gid,
            (group, None) => {
                let entry = entries(groups).find(|entry| entry[0] == group);
                let gid = entry.and_then(|entry| entry.get(2).and_then(|gid| gid.parse().ok()));
                gid.with_context(|| format!("/etc/group of the image has no group {group}"))?
            }
        };
        let home = field(5).filter(|home| !home.is_empty()).unwrap_or("/").to_owned();
        Ok(Self { uid, gid, home })
    }
}

/// Returns the fields of each line.
fn entries(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().map(|line| line.trim().split(':').collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_number() {
        let passwd = "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/var/www:\n\nbroken\n";
        let groups = "root:x:0:\nweb:x:34:\nlog:x:4:web\n";
        for (text, expected) in [
            ("", Some((0, 0, "/root"))),
            ("root", Some((0, 0, "/root"))),
            ("web", Some((33, 34, "/var/www"))),
            ("33", Some((33, 34, "/var/www"))),
            ("web:log", Some((33, 4, "/var/www"))),
            ("web:0", Some((33, 0, "/var/www"))),
            ("1000", Some((1000, 0, "/"))),
            ("1000:1000", Some((1000, 1000, "/"))),
            (":log", Some((0, 4, "/root"))),
            ("nginx", None),
            ("web:none", None),
        ] {
            let user = User::parse(text, passwd, groups).ok();
            let found = user.as_ref().map(|user| (user.uid, user.gid, user.home.as_str()));
            assert_eq!(found, expected, "{text}");
        }
        assert_eq!(User::parse("", "", "").unwrap(), User { uid: 0, gid: 0, home: "/".to_owned() });
    }
}
