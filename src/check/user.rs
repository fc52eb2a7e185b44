//! The user of a container: `user[:group]`, by name or number, according to the files of the image. A missing group is that of
//! the user's account.

use anyhow::{Context, Result};

use super::{
    accounts::{Accounts, number},
    files::ImageFiles,
};

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
        let [passwd, group] = ["/etc/passwd", "/etc/group"].map(|path| files.text(path).unwrap_or_default());
        Self::parse(text, &Accounts { passwd, group }).with_context(|| format!("user {text}"))
    }

    fn parse(text: &str, accounts: &Accounts) -> Result<Self> {
        let (name, group) = text.split_once(':').unwrap_or((text, ""));
        let name = if name.is_empty() { "0" } else { name };
        let account = accounts.account(name);
        let uid = account.as_ref().map(|fields| number(fields, 2)).or_else(|| name.parse().ok());
        let uid = uid.with_context(|| format!("/etc/passwd of the image has no user {name}"))?;
        let gid = if group.is_empty() {
            account.as_ref().map_or(0, |fields| number(fields, 3))
        } else {
            accounts.group_id(group).with_context(|| format!("/etc/group of the image has no group {group}"))?
        };
        let home = account.as_ref().and_then(|fields| fields.get(5).copied()).filter(|home| !home.is_empty());
        let in_range =
            |id: i64| u32::try_from(id).with_context(|| format!("{id} is not the number of a user or group"));
        Ok(Self { uid: in_range(uid)?, gid: in_range(gid)?, home: home.unwrap_or("/").to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_number() {
        let accounts = Accounts {
            passwd: "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/var/www:\n\nbroken\nodd:x:-7::/:\n".to_owned(),
            group: "root:x:0:\nweb:x:34:\nlog:x:4:web\n".to_owned(),
        };
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
            ("odd", None),
            ("4294967296", None),
            ("web:none", None),
        ] {
            let user = User::parse(text, &accounts).ok();
            let found = user.as_ref().map(|user| (user.uid, user.gid, user.home.as_str()));
            assert_eq!(found, expected, "{text}");
        }
        assert_eq!(User::parse("", &Accounts::default()).unwrap(), User { uid: 0, gid: 0, home: "/".to_owned() });
    }
}
