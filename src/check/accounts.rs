//! Accounts of an image: `/etc/passwd`, `/etc/group` and `/etc/shadow`.

use std::collections::BTreeMap;

/// The texts of `/etc/passwd` and `/etc/group`, read as runc and moby read them (opencontainers/runc, libcontainer/user/user.go,
/// `GetExecUser`): a name is looked up, a number needs no entry, and a field that is missing or not a number is 0.
#[derive(Debug, Default)]
pub struct Accounts {
    pub passwd: String,
    pub group: String,
}

impl Accounts {
    /// Returns the fields of the account of a user, by name or number.
    pub fn account(&self, user: &str) -> Option<Vec<&str>> {
        find(&self.passwd, user)
    }

    /// Returns the number of a group, by name or number. Returns `None` for a name that no group has.
    pub fn group_id(&self, group: &str) -> Option<i64> {
        id(&self.group, group)
    }

    /// Returns the number of a user, by name or number. Returns `None` for a name that no account has. Without a name it is root.
    pub fn user_id(&self, user: &str) -> Option<i64> {
        // Engines know root without an account.
        id(&self.passwd, user).or_else(|| ["", "root"].contains(&user).then_some(0))
    }

    /// Returns the groups of a user, `USER[:GROUP]`: the group, or else those of the account. Without an account it is root's.
    pub fn group_ids(&self, user: &str) -> Vec<i64> {
        if let Some((_, group)) = user.split_once(':').filter(|(_, group)| !group.is_empty()) {
            return self.group_id(group).into_iter().collect();
        }
        let user = user.split(':').next().unwrap_or_default();
        let Some(account) = self.account(user) else { return vec![0] };
        let is_member =
            |fields: &Vec<&str>| fields.get(3).is_some_and(|list| list.split(',').any(|one| one == account[0]));
        let more = lines(&self.group).filter(is_member).map(|fields| number(&fields, 2));
        std::iter::once(number(&account, 3)).chain(more).collect()
    }
}

fn lines(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().map(|line| line.trim().split(':').collect())
}

/// Returns a numeric field, or 0.
pub fn number(fields: &[&str], at: usize) -> i64 {
    fields.get(at).and_then(|field| field.parse().ok()).unwrap_or(0)
}

/// Returns the first line with a name or number.
fn find<'a>(text: &'a str, name: &str) -> Option<Vec<&'a str>> {
    let id = name.parse().ok();
    lines(text).filter(|fields| !fields[0].is_empty()).find(|fields| fields[0] == name || id == Some(number(fields, 2)))
}

fn id(text: &str, name: &str) -> Option<i64> {
    find(text, name).map(|fields| number(&fields, 2)).or_else(|| name.parse().ok())
}

/// The fields of each account; lines that are empty or comments have none.
fn entries(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split(':').collect())
}

/// Returns the accounts without a password: the second field of `/etc/shadow` is empty (shadow(5)).
pub fn without_password(shadow: &str) -> Vec<String> {
    let accounts = entries(shadow).filter(|fields| fields.get(1).is_some_and(|password| password.is_empty()));
    accounts.map(|fields| fields[0].to_owned()).collect()
}

/// Returns the numbers that several accounts of `/etc/passwd` or `/etc/group` have, with their names.
pub fn duplicates(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for fields in entries(text) {
        if let Some(number) = fields.get(2).filter(|number| !number.is_empty()) {
            names.entry((*number).to_owned()).or_default().push(fields[0].to_owned());
        }
    }
    names.retain(|_, names| names.len() > 1);
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_are_those_of_runc() {
        let accounts = Accounts {
            passwd: "web:x:33:34::/:\nodd:x:abc:5::/:\nshort\n".to_owned(),
            group: "www:x:34:\ndata:x:50:other,web\nodd:x:x:web\n".to_owned(),
        };
        for (user, id) in [("web", 33), ("33", 33), ("odd", 0), ("short", 0), ("", 0), ("root", 0), ("-0", 0), ("7", 7)]
        {
            assert_eq!(accounts.user_id(user), Some(id), "{user}");
        }
        assert_eq!(accounts.user_id("nobody"), None);
        assert_eq!(accounts.group_ids("web"), [34, 50, 0]);
        assert_eq!(accounts.group_ids("33"), [34, 50, 0]);
        assert_eq!(accounts.group_ids("web:data"), [50]);
        assert_eq!(accounts.group_ids("web:7"), [7]);
        assert_eq!(accounts.group_ids("7"), [0]);
        assert!(accounts.group_ids("web:none").is_empty());
    }

    #[test]
    fn accounts_without_passwords_and_with_equal_numbers_are_found() {
        let shadow = "root::19000::::::\ndaemon:*:19000::::::\n# comment\nweb:!:::::::\nbroken\n";
        assert_eq!(without_password(shadow), ["root"]);
        let passwd = "root:x:0:0::/:/bin/sh\ntoor:x:0:0::/:/bin/sh\nweb:x:33:33::/:\nbroken\n";
        assert_eq!(duplicates(passwd), BTreeMap::from([("0".to_owned(), vec!["root".to_owned(), "toor".to_owned()])]));
    }
}
