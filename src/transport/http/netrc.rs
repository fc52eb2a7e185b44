//! `.netrc`, in the format of curl and Nix:
//!
//! ```text
//! machine cache.example.com login me password secret
//! default login anyone password none
//! macdef init        skipped, up to the next empty line
//! ```

use std::{fmt, fs, io, path::Path};

use data_encoding::BASE64;

use super::Origin;

/// The passwords of hosts in a netrc file.
#[derive(Clone, Default)]
pub struct Netrc {
    machines: Vec<Machine>,
}

#[derive(Clone, Default)]
struct Machine {
    /// `None` stands for `default`.
    host: Option<String>,
    login: String,
    password: String,
}

impl fmt::Debug for Netrc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Netrc({} machines)", self.machines.len())
    }
}

impl Netrc {
    /// Reads a file. A missing file is empty.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        match fs::read_to_string(path) {
            Ok(text) => Ok(Self::parse(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Parses the text of a file. Unknown words are skipped.
    pub fn parse(text: &str) -> Self {
        let mut machines: Vec<Machine> = Vec::new();
        let mut in_macro = false;
        for line in text.lines() {
            if in_macro {
                in_macro = !line.trim().is_empty();
                continue;
            }
            let mut words = line.split_whitespace();
            while let Some(word) = words.next() {
                match word {
                    "machine" => machines.push(Machine { host: words.next().map(str::to_owned), ..Machine::default() }),
                    "default" => machines.push(Machine::default()),
                    "macdef" => {
                        in_macro = true;
                        break;
                    }
                    "login" | "password" | "account" => {
                        let value = words.next().unwrap_or_default().to_owned();
                        match machines.last_mut() {
                            Some(machine) if word == "login" => machine.login = value,
                            Some(machine) if word == "password" => machine.password = value,
                            _ => {}
                        }
                    }
                    word if word.starts_with('#') => break,
                    _ => {}
                }
            }
        }
        Self { machines }
    }

    /// Returns the `Authorization` header for the host of `origin`.
    pub fn authorization(&self, origin: &Origin) -> Option<String> {
        let is_for_host =
            |machine: &&Machine| machine.host.as_ref().is_none_or(|host| host.eq_ignore_ascii_case(origin.host()));
        let Machine { login, password, .. } = self.machines.iter().find(is_for_host)?;
        Some(format!("Basic {}", BASE64.encode(format!("{login}:{password}").as_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_netrc_entry_of_a_host_is_used() {
        let text = "# comment\nmachine a.example login me\n  password one\nmacdef init\n machine b.example\n\n\
                    machine b.example login you password two account x\ndefault login any password none";
        let netrc = Netrc::parse(text);
        let basic = |host: &str| {
            let header = netrc.authorization(&Origin::from_url(&format!("https://{host}:444/")).unwrap()).unwrap();
            String::from_utf8(BASE64.decode(header.strip_prefix("Basic ").unwrap().as_bytes()).unwrap()).unwrap()
        };
        assert_eq!(basic("a.example"), "me:one");
        assert_eq!(basic("B.example"), "you:two");
        assert_eq!(basic("c.example"), "any:none");
        assert!(!format!("{netrc:?}").contains("one"));
        assert!(Netrc::parse("machine a").authorization(&Origin::from_url("https://b/").unwrap()).is_none());
    }
}
