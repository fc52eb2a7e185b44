//! The location of images according to containers' registries.conf, version 2
//! ([containers-registries.conf(5)](https://github.com/containers/image/blob/main/docs/containers-registries.conf.5.md)).
//!
//! ```toml
//! [[registry]]
//! prefix = "example.com/team"
//! location = "internal.example.net/bar"    # replaces the prefix in reads; pushes go to the given reference
//! insecure = true                          # HTTP, or certificates without a trusted CA
//! blocked = true
//! [[registry.mirror]]                      # asked first, in order
//! location = "mirror.example.net/team"
//! ```
//!
//! The files are `$CONTAINERS_REGISTRIES_CONF`, else the user's file, else that of the machine, and then those of
//! `registries.conf.d`.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{RegistryError, Result, canonical_host};
use crate::oci::Reference;

/// The location of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryEndpoint {
    pub host: String,
    pub repository: String,
    pub insecure: bool,
}

impl RepositoryEndpoint {
    /// Returns the host that serves the repository. docker.io's registry has another name.
    pub fn server(&self) -> &str {
        if self.host == "docker.io" { "registry-1.docker.io" } else { &self.host }
    }
}

/// The tables of all files, each with its file.
#[derive(Debug, Default)]
pub struct RegistriesConf {
    registries: Vec<(RegistryEntry, PathBuf)>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct File {
    registry: Vec<RegistryEntry>,
    /// Lists of hosts, in files of version 1.
    registries: Old,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Old {
    insecure: StringList,
    block: StringList,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct StringList {
    registries: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct RegistryEntry {
    prefix: String,
    location: String,
    insecure: bool,
    blocked: bool,
    mirror_by_digest_only: bool,
    mirror: Vec<Mirror>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Mirror {
    location: String,
    insecure: bool,
    /// `all`, `digest-only` or `tag-only`
    pull_from_mirror: String,
}

impl RegistriesConf {
    /// Reads the configuration of the user.
    pub fn from_files() -> Result<Self> {
        let home = env::var_os("HOME").map(PathBuf::from);
        let user = home.as_ref().map(|home| home.join(".config/containers"));
        let named = env::var_os("CONTAINERS_REGISTRIES_CONF").filter(|path| !path.is_empty()).map(PathBuf::from);
        let main =
            named.or_else(|| user.as_ref().map(|folder| folder.join("registries.conf")).filter(|path| path.exists()));
        let main = main.unwrap_or_else(|| "/etc/containers/registries.conf".into());
        let mut config = Self::default();
        config.add(&main)?;
        for folder in [Some("/etc/containers".into()), user].into_iter().flatten() {
            for path in drop_ins(&folder.join("registries.conf.d")) {
                config.add(&path)?;
            }
        }
        Ok(config)
    }

    fn add(&mut self, path: &Path) -> Result<()> {
        match fs::read_to_string(path) {
            Ok(text) => self.parse(&text, path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(RegistryError::File { path: path.to_owned(), why: error.to_string() }),
        }
    }

    /// Adds the tables of one file. `path` is used in errors.
    ///
    /// # Errors
    ///
    /// [`RegistryError::File`] if `text` is not TOML, or a table has neither prefix nor location.
    pub fn parse(&mut self, text: &str, path: &Path) -> Result<()> {
        let unusable = |why: String| RegistryError::File { path: path.to_owned(), why };
        let File { registry, registries } =
            toml::from_str(text).map_err(|error| unusable(error.message().to_owned()))?;
        let old = |location: &String, insecure: bool| RegistryEntry {
            location: location.clone(),
            insecure,
            blocked: !insecure,
            ..RegistryEntry::default()
        };
        let insecure = registries.insecure.registries.iter().map(|host| old(host, true));
        let blocked = registries.block.registries.iter().map(|host| old(host, false));
        for mut table in registry.into_iter().chain(insecure).chain(blocked) {
            if table.prefix.is_empty() {
                table.prefix.clone_from(&table.location);
            }
            if table.prefix.is_empty() {
                return Err(unusable("a [[registry]] has neither prefix nor location".to_owned()));
            }
            table.prefix = canonical_name(&table.prefix);
            // A later file replaces the whole table.
            self.registries.retain(|(other, _)| other.prefix != table.prefix);
            self.registries.push((table, path.to_owned()));
        }
        Ok(())
    }

    /// Whether a table for the whole host accepts any certificate.
    pub fn is_insecure(&self, host: &str) -> bool {
        let host = canonical_host(host);
        let tables = self.registries.iter().filter(|(table, _)| strip_name_prefix(&host, &table.prefix) == Some(""));
        tables.max_by_key(|(table, _)| table.prefix.len()).is_some_and(|(table, _)| table.insecure)
    }

    /// Returns the locations for reading `reference` in order, or the location for writing.
    pub fn places(&self, reference: &Reference, read_only: bool) -> Result<Vec<RepositoryEndpoint>> {
        let name = canonical_name(&format!("{}/{}", reference.host, reference.repository));
        let place = |insecure| RepositoryEndpoint {
            host: reference.host.clone(),
            repository: reference.repository.clone(),
            insecure,
        };
        let fitting = self.registries.iter().filter(|(table, _)| strip_name_prefix(&name, &table.prefix).is_some());
        let Some((table, file)) = fitting.max_by_key(|(table, _)| table.prefix.len()) else {
            return Ok(vec![place(false)]);
        };
        if table.blocked {
            return Err(RegistryError::Blocked { name, file: file.clone() });
        }
        if !read_only {
            return Ok(vec![place(table.insecure)]);
        }
        let moved = |location: &str, insecure: bool| {
            let whole = format!("{location}{}", strip_name_prefix(&name, &table.prefix).unwrap_or_default());
            let (host, repository) = whole.split_once('/').filter(|(host, _)| !host.is_empty())?;
            Some(RepositoryEndpoint { host: host.to_owned(), repository: repository.to_owned(), insecure })
        };
        let is_digest = reference.digest.is_some();
        let applies = |mirror: &&Mirror| match mirror.pull_from_mirror.as_str() {
            "digest-only" => is_digest,
            "tag-only" => !is_digest,
            _ => is_digest || !table.mirror_by_digest_only,
        };
        let mirrors = table.mirror.iter().filter(applies).filter_map(|mirror| moved(&mirror.location, mirror.insecure));
        let location = if table.location.is_empty() { &table.prefix } else { &table.location };
        let itself = if location.starts_with("*.") { None } else { moved(location, table.insecure) };
        Ok(mirrors.chain([itself.unwrap_or_else(|| place(table.insecure))]).collect())
    }
}

/// Returns a name or prefix with the canonical name of its host: `registry-1.docker.io/x` is `docker.io/x`, and blocked
/// with it.
fn canonical_name(name: &str) -> String {
    let (host, path) = name.split_at(name.find('/').unwrap_or(name.len()));
    format!("{}{path}", canonical_host(host))
}

/// Returns the rest of `name` after a prefix: nothing, or text that begins with a slash. `*.example.com` stands for any
/// host below it.
fn strip_name_prefix<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    let rest = match prefix.strip_prefix('*') {
        Some(suffix) => {
            let host = name.split('/').next()?;
            host.strip_suffix(suffix).filter(|below| !below.is_empty())?;
            &name[host.len()..]
        }
        None => name.strip_prefix(prefix)?,
    };
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

fn drop_ins(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
    paths.sort_unstable();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Result<RegistriesConf> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("registries.conf");
        fs::write(&path, text).unwrap();
        let mut config = RegistriesConf::default();
        config.add(&path)?;
        Ok(config)
    }

    fn places(config: &RegistriesConf, reference: &str, read_only: bool) -> Vec<String> {
        let places = config.places(&reference.parse().unwrap(), read_only).unwrap();
        let shown = |place: RepositoryEndpoint| {
            format!("{}/{}{}", place.host, place.repository, if place.insecure { " insecure" } else { "" })
        };
        places.into_iter().map(shown).collect()
    }

    #[test]
    fn the_example_of_the_manual_is_read_so() {
        // containers-registries.conf.5.md, EXAMPLE
        let config = config(
            r#"unqualified-search-registries = ["example.com"]
            [[registry]]
            prefix = "example.com/foo"
            insecure = false
            blocked = false
            location = "internal-registry-for-example.com/bar"
            [[registry.mirror]]
            location = "example-mirror-0.local/mirror-for-foo"
            [[registry.mirror]]
            location = "example-mirror-1.local/mirrors/foo"
            insecure = true"#,
        )
        .unwrap();
        let read = [
            "example-mirror-0.local/mirror-for-foo/image",
            "example-mirror-1.local/mirrors/foo/image insecure",
            "internal-registry-for-example.com/bar/image",
        ];
        assert_eq!(places(&config, "example.com/foo/image:latest", true), read);
        assert_eq!(places(&config, "example.com/foo/image:latest", false), ["example.com/foo/image"]);
        assert_eq!(places(&config, "example.com/food/image", true), ["example.com/food/image"]);
    }

    #[test]
    fn the_longest_prefix_counts() {
        let config = config(
            r#"
            [[registry]]
            location = "docker.io"
            [[registry.mirror]]
            location = "mirror.local:5000"
            [[registry]]
            location = "docker.io/library/secret"
            blocked = true
            [[registry]]
            location = "reg.local"
            insecure = true
            mirror-by-digest-only = true
            [[registry.mirror]]
            location = "cache.local"
            [[registry]]
            prefix = "*.wild.example"
            insecure = true"#,
        )
        .unwrap();
        assert_eq!(places(&config, "hello", true), ["mirror.local:5000/library/hello", "docker.io/library/hello"]);
        let blocked = config.places(&"secret".parse().unwrap(), true).unwrap_err().to_string();
        assert!(blocked.ends_with("registries.conf blocks docker.io/library/secret"), "{blocked}");
        assert_eq!(places(&config, "reg.local/x:t", true), ["reg.local/x insecure"]);
        let digest = crate::oci::Digest::sha256(b"");
        let by_digest = ["cache.local/x", "reg.local/x insecure"];
        assert_eq!(places(&config, &format!("reg.local/x@{digest}"), true), by_digest);
        assert_eq!(places(&config, "a.wild.example/x", true), ["a.wild.example/x insecure"]);
    }

    #[test]
    fn blocked_names_are_blocked_in_every_spelling() {
        let names = [
            "secret",
            "docker.io/secret",
            "index.docker.io/library/secret",
            "registry-1.docker.io/library/secret",
            "docker.io:443/library/secret",
            "registry-1.docker.io:443/library/secret",
        ];
        for host in ["docker.io", "index.docker.io", "registry-1.docker.io", "Docker.io", "docker.io:443"] {
            let config = config(&format!("[[registry]]\nlocation = '{host}/library/secret'\nblocked = true")).unwrap();
            for name in names {
                for read_only in [true, false] {
                    assert!(config.places(&name.parse().unwrap(), read_only).is_err(), "{name} {host}");
                }
            }
            assert!(config.places(&"docker.io/library/secrets".parse().unwrap(), true).is_ok());
        }
        let config = config("[[registry]]\nlocation = 'reg.example:443'\nblocked = true").unwrap();
        for name in ["reg.example/x", "reg.example:443/x"] {
            assert!(config.places(&name.parse().unwrap(), true).is_err(), "{name}");
        }
        assert!(config.places(&"reg.example:5000/x".parse().unwrap(), true).is_ok());
    }

    #[test]
    fn version_1_and_malformed_files() {
        let old =
            config("[registries.insecure]\nregistries = ['a.local']\n[registries.block]\nregistries = ['b.local']")
                .unwrap();
        assert_eq!(places(&old, "a.local/x", false), ["a.local/x insecure"]);
        assert!(old.places(&"b.local/x".parse().unwrap(), true).is_err());
        let error = config("[[registry]\n").unwrap_err().to_string();
        assert!(error.contains("registries.conf"), "{error}");
    }
}
