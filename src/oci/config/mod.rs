//! The [image configuration](https://github.com/opencontainers/image-spec/blob/main/config.md):
//! the program to run, its environment, and the layers of its file system.
//!
//! The types of the crate oci-spec are not used, because it keeps labels in hash maps,
//! whose order (and with it the digest of the image) differs from run to run.

mod checks;
mod inherit;

use std::collections::{BTreeMap, BTreeSet};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, IntoDeserializer},
};
use serde_json::{Map, Value};

use super::{Digest, Platform, Timestamp, wording};

pub use checks::ignored_keys;

/// The default `PATH` of a container whose image has none (moby, oci/defaults.go; containers/common, pkg/config).
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The config blob: an image's platform, execution parameters, layers and history.
///
/// [Example](crate#recipe).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// The creation time of the image.
    #[serde(default, deserialize_with = "optional_time", skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// The author of the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// `GOARCH` of the programs inside.
    #[serde(default)]
    pub architecture: String,
    /// `GOOS` of the programs inside.
    #[serde(default)]
    pub os: String,
    /// The variant of the architecture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Execution parameters.
    #[serde(default, deserialize_with = "Config::deserialize_lenient")]
    pub config: Config,
    /// The digests of the uncompressed layers.
    pub rootfs: RootFs,
    /// The history of each layer.
    #[serde(default, deserialize_with = "null_elements", skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
    /// Fields that strata does not know. They are kept.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl ImageConfig {
    /// Returns the platform of the image.
    pub fn platform(&self) -> Platform {
        Platform { os: self.os.clone(), ..Platform::linux(&self.architecture, self.variant.as_deref()) }
    }
}

/// The uncompressed layers, base first.
///
/// [Example](crate#recipe).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The digest of the uncompressed tar of each layer. `null` is read as an empty list.
    #[serde(deserialize_with = "null_as_default")]
    pub diff_ids: Vec<Digest>,
}

/// A build step, most of which made a layer.
///
/// [Example](crate#recipe).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The time of the step.
    #[serde(default, deserialize_with = "optional_time", skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// The command of the step.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub created_by: String,
    /// The author of the step.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// A comment.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// Whether the step made no layer.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

/// `{}`, the value of every key in the specification's sets. As in Go, `null` is read as `{}` too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct EmptyObject {}

impl<'de> Deserialize<'de> for EmptyObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::<Map<String, Value>>::deserialize(deserializer).map(|_| Self {})
    }
}

/// Execution parameters: the properties of the specification, then the four that
/// docker adds and other runtimes ignore or understand.
///
/// [Example](crate#recipe).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Config {
    /// `user[:group]`, by name or number.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// `port[/protocol]`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<String, EmptyObject>,
    /// `NAME=value`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// The program, and arguments that come before `cmd`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// Default arguments, or the program and its arguments if `entrypoint` is empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    /// Directories for data of a container, which engines keep in volumes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, EmptyObject>,
    /// The directory in which the program starts.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The signal that stops the program, `SIGTERM` by default.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    /// A deprecated field, which is kept from base images.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub args_escaped: bool,
    /// docker: the health check of the program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Value>,
    /// docker: commands that run in builds of images based on this one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
    /// docker: the shell for the shell form of commands.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shell: Vec<String>,
    /// docker: seconds between the stop signal and the kill.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<u64>,
    /// All other keys, for example docker's `Hostname`, `Memory` and `Tty`.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// Every key of [`Config`], in lower case.
const KEYS: [&str; 14] = [
    "argsescaped",
    "cmd",
    "entrypoint",
    "env",
    "exposedports",
    "healthcheck",
    "labels",
    "onbuild",
    "shell",
    "stopsignal",
    "stoptimeout",
    "user",
    "volumes",
    "workingdir",
];

impl<'de> Deserialize<'de> for Config {
    /// Deserializes a configuration that a user wrote. As in Go, the case of keys does not matter, and null is the same as
    /// no value. Unknown keys are kept, except those that look like a misspelt known key, which are errors.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let map = Option::<Map<String, Value>>::deserialize(deserializer)?;
        Self::from_map(map.unwrap_or_default(), |key| match find_misspelt(key, &KEYS) {
            None => Ok(true),
            Some(known) => Err(D::Error::custom(format_args!(
                "config.{key} is unknown; did you mean {known}? Case does not matter"
            ))),
        })
    }
}

impl Config {
    /// As in images from other tools: unknown keys are ignored, and null in a list or a map is an empty string, as for Go.
    fn deserialize_lenient<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut map = Option::<Map<String, Value>>::deserialize(deserializer)?.unwrap_or_default();
        for (key, value) in &mut map {
            match (key.to_ascii_lowercase().as_str(), value) {
                ("env" | "entrypoint" | "cmd" | "onbuild" | "shell", Value::Array(words)) => {
                    words.iter_mut().filter(|word| word.is_null()).for_each(|word| *word = "".into());
                }
                ("labels", Value::Object(labels)) => {
                    labels.values_mut().filter(|label| label.is_null()).for_each(|label| *label = "".into());
                }
                _ => {}
            }
        }
        Self::from_map(map, |_| Ok(false))
    }

    /// Reads the keys of a configuration. `keeps` returns whether an unknown key is kept.
    fn from_map<E: Error>(map: Map<String, Value>, keeps: impl Fn(&str) -> Result<bool, E>) -> Result<Self, E> {
        fn field<T: serde::de::DeserializeOwned, E: Error>(key: &str, value: Value) -> Result<T, E> {
            serde_path_to_error::deserialize(value.into_deserializer()).map_err(|error| {
                let place = match error.path().to_string().as_str() {
                    "." => format!("config.{key}"),
                    path if path.starts_with('[') => format!("config.{key}{path}"),
                    path => format!("config.{key}.{path}"),
                };
                E::custom(format_args!("{place} {}", wording::type_error(&error.into_inner().to_string())))
            })
        }

        let mut config = Self::default();
        let mut seen = BTreeSet::new();
        for (key, value) in map {
            let lower = key.to_ascii_lowercase();
            if !seen.insert(lower.clone()) {
                return Err(E::custom(format_args!("config.{key} is given twice, differing only in case")));
            }
            let is_null = value.is_null();
            match lower.as_str() {
                _ if is_null && KEYS.contains(&lower.as_str()) => {}
                "user" => config.user = field(&key, value)?,
                "exposedports" => config.exposed_ports = field(&key, value)?,
                "env" => config.env = field(&key, value)?,
                "entrypoint" => config.entrypoint = field(&key, one_or_many(value))?,
                "cmd" => config.cmd = field(&key, one_or_many(value))?,
                "volumes" => config.volumes = field(&key, value)?,
                "workingdir" => config.working_dir = field(&key, value)?,
                "labels" => config.labels = field(&key, value)?,
                "stopsignal" => config.stop_signal = field(&key, value)?,
                "argsescaped" => config.args_escaped = field(&key, value)?,
                "healthcheck" => config.healthcheck = Some(value),
                "onbuild" => config.on_build = field(&key, value)?,
                "shell" => config.shell = field(&key, value)?,
                "stoptimeout" => config.stop_timeout = Some(field(&key, value)?),
                _ if keeps(&key)? && !is_null => drop(config.other.insert(key, value)),
                _ => {}
            }
        }
        Ok(config)
    }
}

/// Turns a single string into a list of one string, as docker's `strslice` does.
fn one_or_many(value: Value) -> Value {
    if value.is_string() { Value::Array(vec![value]) } else { value }
}

/// Returns the known key of which `key` is probably a misspelling.
pub fn find_misspelt(key: &str, known: &[&'static str]) -> Option<&'static str> {
    let lower = key.to_ascii_lowercase();
    let near = |known: &&&str| strsim::osa_distance(&lower, &known.to_ascii_lowercase()) <= (known.len() / 4).max(1);
    known.iter().find(near).copied()
}

/// Deserializes null as the default value, as Go's JSON does.
pub(super) fn null_as_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads null as an empty list, and null in a list as an empty value, as Go's JSON does.
pub(super) fn null_elements<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let list = Option::<Vec<Option<T>>>::deserialize(deserializer)?.unwrap_or_default();
    Ok(list.into_iter().map(Option::unwrap_or_default).collect())
}

/// Reads null as an empty map, and null in a map as an empty string, as Go's JSON does.
pub(super) fn null_values<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let map = Option::<BTreeMap<String, Option<String>>>::deserialize(deserializer)?.unwrap_or_default();
    Ok(map.into_iter().map(|(key, value)| (key, value.unwrap_or_default())).collect())
}

/// Deserializes a time; null and `""` are no time.
fn optional_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    match Option::<String>::deserialize(deserializer)? {
        Some(text) if !text.is_empty() => text.parse().map(Some).map_err(D::Error::custom),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn case_of_keys_does_not_matter() {
        let config = parse(r#"{"entrypoint":["/a"],"ENV":["A=1"],"exposedPorts":{"80/tcp":{}}}"#).unwrap();
        let json = String::from_utf8(crate::oci::json::to_vec(&config)).unwrap();
        assert_eq!(json, r#"{"ExposedPorts":{"80/tcp":{}},"Env":["A=1"],"Entrypoint":["/a"]}"#);
    }

    #[test]
    fn strings_become_lists_and_unknown_keys_are_kept() {
        let config = parse(r#"{"Tty":true,"Cmd":"/bin/sh","Memory":1073741824,"Image":null}"#).unwrap();
        let json = String::from_utf8(crate::oci::json::to_vec(&config)).unwrap();
        assert_eq!(json, r#"{"Cmd":["/bin/sh"],"Memory":1073741824,"Tty":true}"#);
    }

    #[test]
    fn null_is_read_as_the_default_value() {
        let text = r#"{"created":"","architecture":"amd64","os":"linux","author":null,"history":null,
            "config":{"ExposedPorts":{"80/tcp":null},"Volumes":{"/d":null}},"rootfs":{"type":"layers","diff_ids":null}}"#;
        let config: ImageConfig = serde_json::from_str(text).unwrap();
        assert!(config.created.is_none() && config.history.is_empty());
        assert!(config.config.exposed_ports.contains_key("80/tcp") && config.config.volumes.contains_key("/d"));
        let step = r#"{"created":null,"created_by":null,"author":null,"comment":null,"empty_layer":null}"#;
        assert_eq!(serde_json::from_str::<History>(step).unwrap(), History::default());
        let text = r#"{"history":[null],"rootfs":{"type":"layers","diff_ids":null},
            "config":{"Env":[null,"A=1"],"Cmd":[null],"Labels":{"a":null},"Shell":null}}"#;
        let config: ImageConfig = serde_json::from_str(text).unwrap();
        assert_eq!(config.history, [History::default()]);
        assert_eq!(
            (config.config.env, config.config.cmd),
            (vec![String::new(), "A=1".to_owned()], vec![String::new()])
        );
        assert_eq!(config.config.labels["a"], "");
        // In a configuration that a user wrote, it is a mistake.
        assert!(parse(r#"{"Env":[null]}"#).unwrap_err().contains("config.Env[0] must be a string, not null"));
    }

    #[test]
    fn errors_name_the_key() {
        for (text, needle) in [
            (r#"{"Entrypiont":["/a"]}"#, "config.Entrypiont is unknown; did you mean entrypoint?"),
            (r#"{"Env":{"A":"1"}}"#, "config.Env must be a list, not an attribute set"),
            (r#"{"ExposedPorts":["80"]}"#, "config.ExposedPorts must be an attribute set, not a list"),
            (r#"{"Env":["A=1",2]}"#, "config.Env[1] must be a string, not 2"),
            (r#"{"Volumes":{"/a":true}}"#, "config.Volumes./a must be an attribute set, not true"),
            (r#"{"StopTimeout":"10"}"#, "config.StopTimeout must be a number, not \"10\""),
            (r#"{"Labels":{"a":1.5}}"#, "config.Labels.a must be a string, not 1.5"),
            (r#"{"Cmd":[],"cmd":[]}"#, "is given twice"),
            (r#"[]"#, "invalid type: sequence"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(needle), "{text}: {error}");
        }
    }
}
