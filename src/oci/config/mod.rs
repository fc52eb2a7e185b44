//! [Image configuration](https://github.com/opencontainers/image-spec/blob/main/config.md):
//! what runs, and which layers it runs on.
//!
//! Types are our own, not oci-spec's: that crate keeps labels in hash maps,
//! whose order (and so the image's digest) differs from run to run.

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

/// The config blob: an image's platform, execution parameters, layers and history.
///
/// [Example](crate#recipe).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// When the image was made.
    #[serde(default, deserialize_with = "no_time", skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// `GOARCH` of the programs inside.
    #[serde(default)]
    pub architecture: String,
    /// `GOOS` of the programs inside.
    #[serde(default)]
    pub os: String,
    /// The architecture's variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Execution parameters.
    #[serde(default, deserialize_with = "Config::of_others")]
    pub config: Config,
    /// The layers' content.
    pub rootfs: RootFs,
    /// How each layer came to be.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
    /// What strata does not know; it stays.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl ImageConfig {
    /// The machine the image is for.
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
    /// Digest of each layer's uncompressed tar; `null` stands for an empty list.
    #[serde(deserialize_with = "null_as_default")]
    pub diff_ids: Vec<Digest>,
}

/// What made a layer.
///
/// [Example](crate#recipe).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// When.
    #[serde(default, deserialize_with = "no_time", skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// By which command.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub created_by: String,
    /// By whom.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// Anything else.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// Whether this step made no layer.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

/// `{}`, the value of every member of the specification's sets. Null is one too, as for Go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct EmptyObject {}

impl<'de> Deserialize<'de> for EmptyObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::<Map<String, Value>>::deserialize(deserializer).map(|_| Self {})
    }
}

/// Execution parameters: the specification's properties, then the four that
/// docker adds and every runtime ignores or understands.
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
    /// The program and its first arguments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// Default arguments, or the program where there is no entrypoint.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    /// Directories that hold data of the container's own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, EmptyObject>,
    /// The directory the program starts in.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The signal that asks the program to stop, `SIGTERM` by default.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    /// Deprecated; kept from base images.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub args_escaped: bool,
    /// docker: how to ask whether the program is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Value>,
    /// docker: commands for images built on this one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
    /// docker: the shell of the shell form of commands.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shell: Vec<String>,
    /// docker: seconds between the stop signal and the kill.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<u64>,
    /// What else there is: docker's `Hostname`, `Memory`, `Tty` and the like.
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
    /// Keys are matched without regard to case, as Go's JSON does; null is unset. Others are kept as they are, but not
    /// those that look like a misspelt one.
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
    /// As in images from other tools: unknown keys are ignored.
    fn of_others<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let map = Option::<Map<String, Value>>::deserialize(deserializer)?;
        Self::from_map(map.unwrap_or_default(), |_| Ok(false))
    }

    /// `keeps` says whether an unknown key is kept.
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

/// A word of its own is a list of one, as in docker's `strslice`.
fn one_or_many(value: Value) -> Value {
    if value.is_string() { Value::Array(vec![value]) } else { value }
}

/// The known key that an unknown one was probably meant to be.
pub fn find_misspelt(key: &str, known: &[&'static str]) -> Option<&'static str> {
    let lower = key.to_ascii_lowercase();
    let near = |known: &&&str| strsim::osa_distance(&lower, &known.to_ascii_lowercase()) <= (known.len() / 4).max(1);
    known.iter().find(near).copied()
}

/// Reads null as nothing, as Go's JSON does.
pub(super) fn null_as_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads null and `""` as no time.
fn no_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
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
    fn keys_match_without_regard_to_case() {
        let config = parse(r#"{"entrypoint":["/a"],"ENV":["A=1"],"exposedPorts":{"80/tcp":{}}}"#).unwrap();
        let json = String::from_utf8(crate::oci::json::to_vec(&config)).unwrap();
        assert_eq!(json, r#"{"ExposedPorts":{"80/tcp":{}},"Env":["A=1"],"Entrypoint":["/a"]}"#);
    }

    #[test]
    fn a_word_is_a_list_of_one_and_unknown_keys_stay() {
        let config = parse(r#"{"Tty":true,"Cmd":"/bin/sh","Memory":1073741824,"Image":null}"#).unwrap();
        let json = String::from_utf8(crate::oci::json::to_vec(&config)).unwrap();
        assert_eq!(json, r#"{"Cmd":["/bin/sh"],"Memory":1073741824,"Tty":true}"#);
    }

    #[test]
    fn null_is_read_as_nothing() {
        let text = r#"{"created":"","architecture":"amd64","os":"linux","author":null,"history":null,
            "config":{"ExposedPorts":{"80/tcp":null},"Volumes":{"/d":null}},"rootfs":{"type":"layers","diff_ids":null}}"#;
        let config: ImageConfig = serde_json::from_str(text).unwrap();
        assert!(config.created.is_none() && config.history.is_empty());
        assert!(config.config.exposed_ports.contains_key("80/tcp") && config.config.volumes.contains_key("/d"));
        let step = r#"{"created":null,"created_by":null,"author":null,"comment":null,"empty_layer":null}"#;
        assert_eq!(serde_json::from_str::<History>(step).unwrap(), History::default());
    }

    #[test]
    fn mistakes_name_the_key() {
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
