//! Accounts of an image: `/etc/passwd`, `/etc/group` and `/etc/shadow`.

use std::collections::BTreeMap;

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
    fn accounts_without_passwords_and_with_equal_numbers_are_found() {
        let shadow = "root::19000::::::\ndaemon:*:19000::::::\n# comment\nweb:!:::::::\nbroken\n";
        assert_eq!(without_password(shadow), ["root"]);
        let passwd = "root:x:0:0::/:/bin/sh\ntoor:x:0:0::/:/bin/sh\nweb:x:33:33::/:\nbroken\n";
        assert_eq!(duplicates(passwd), BTreeMap::from([("0".to_owned(), vec!["root".to_owned(), "toor".to_owned()])]));
    }
}
