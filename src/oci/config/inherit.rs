//! A configuration on top of the configuration of a base image, by the rules of Dockerfiles: the instructions of a Dockerfile
//! change the configuration of the image that `FROM` names.
//!
//! ```text
//! Env                           merged by name
//! Labels, Volumes, ExposedPorts merged by key
//! Entrypoint                    replaced; also removes the Cmd of the base, which has arguments for the base's entrypoint
//! OnBuild                       not inherited: its commands are for the build that uses the base
//! all other keys                replaced
//! null, [ ], { }, ""            removes the value of the base
//! ```
//!
//! (buildkit: frontend/dockerfile/dockerfile2llb/convert.go: dispatchEntrypoint, dispatchLabel, dispatchVolume,
//! dispatchExpose, and `d.image.Config.OnBuild = nil`)

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::Config;

impl Config {
    /// Returns the configuration that results from `changes` on top of `base`.
    ///
    /// # Errors
    ///
    /// If `changes` has unknown keys or values of a wrong type.
    pub fn over(base: &Self, changes: Map<String, Value>) -> Result<Self, serde_json::Error> {
        let changed_keys: BTreeSet<String> = changes.keys().map(|key| key.to_ascii_lowercase()).collect();
        let cleared_keys: BTreeSet<String> = changes
            .iter()
            .filter(|(key, value)| is_clear(key, value))
            .map(|(key, _)| key.to_ascii_lowercase())
            .collect();
        let changes: Self = serde_json::from_value(Value::Object(changes))?;
        let mut base = base.clone();
        base.on_build.clear();
        if changed_keys.contains("entrypoint") {
            base.cmd.clear();
            base.args_escaped = false;
        }
        let inherited = serde_json::to_value(&base)?.as_object().cloned().unwrap_or_default();
        let kept = inherited.into_iter().filter(|(key, _)| !cleared_keys.contains(&key.to_ascii_lowercase()));
        let mut merged: Map<String, Value> = kept.collect();
        let changes = serde_json::to_value(&changes)?;
        for (key, value) in changes.as_object().cloned().unwrap_or_default() {
            merge(&mut merged, key, value)?;
        }
        serde_json::from_value(Value::Object(merged))
    }
}

/// Returns whether a value removes the value of the base.
fn is_clear(key: &str, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty() && !key.eq_ignore_ascii_case("env"),
        Value::Object(object) => object.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

fn merge(merged: &mut Map<String, Value>, key: String, value: Value) -> Result<(), serde_json::Error> {
    let value = match (merged.remove(&key), value) {
        (Some(Value::Object(mut base)), Value::Object(changes))
            if ["Labels", "Volumes", "ExposedPorts"].contains(&&*key) =>
        {
            base.extend(changes);
            Value::Object(base)
        }
        (Some(base), changes) if key == "Env" => {
            let [base, changes] = [serde_json::from_value(base)?, serde_json::from_value(changes)?];
            serde_json::to_value(merge_env(base, changes))?
        }
        (_, value) => value,
    };
    merged.insert(key, value);
    Ok(())
}

/// Merges lists of `NAME=value` by name. The last value of a name wins, at the position of the first one.
fn merge_env(base: Vec<String>, changes: Vec<String>) -> Vec<String> {
    let name = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
    let mut merged: Vec<String> = Vec::with_capacity(base.len() + changes.len());
    for variable in base.into_iter().chain(changes) {
        match merged.iter().position(|other| name(other) == name(&variable)) {
            Some(at) => merged[at] = variable,
            None => merged.push(variable),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the result of `changes` on top of `base`, as JSON.
    fn over(base: &str, changes: &str) -> String {
        let base: Config = serde_json::from_str(base).unwrap();
        let merged = Config::over(&base, serde_json::from_str(changes).unwrap()).unwrap();
        String::from_utf8(crate::oci::json::to_vec(&merged)).unwrap()
    }

    #[test]
    fn unchanged_keys_are_inherited() {
        let base = r#"{"User":"me","Env":["PATH=/bin","A=1"],"Cmd":["sh"],"Labels":{"a":"b"}}"#;
        assert_eq!(over(base, "{}"), base);
        let changes = r#"{"env":["A=2","B=3"],"entrypoint":["/x"],"Cmd":null}"#;
        let expected = r#"{"User":"me","Env":["PATH=/bin","A=2","B=3"],"Entrypoint":["/x"],"Labels":{"a":"b"}}"#;
        assert_eq!(over(base, changes), expected);
        let misspelt = serde_json::from_str(r#"{"Envs":null}"#).unwrap();
        assert!(Config::over(&Config::default(), misspelt).is_err());
    }

    #[test]
    fn a_new_entrypoint_removes_the_command_of_the_base() {
        let base = r#"{"Entrypoint":["/docker-entrypoint.sh"],"Cmd":["nginx"]}"#;
        assert_eq!(over(base, r#"{"Entrypoint":["/x"]}"#), r#"{"Entrypoint":["/x"]}"#);
        assert_eq!(over(base, r#"{"Entrypoint":["/x"],"Cmd":["y"]}"#), r#"{"Entrypoint":["/x"],"Cmd":["y"]}"#);
        assert_eq!(over(base, r#"{"Cmd":["y"]}"#), r#"{"Entrypoint":["/docker-entrypoint.sh"],"Cmd":["y"]}"#);
        for removed in [r#"{"Entrypoint":null}"#, r#"{"entrypoint":[]}"#] {
            assert_eq!(over(base, removed), "{}");
        }
    }

    #[test]
    fn labels_volumes_and_ports_are_merged_with_the_base() {
        let base = r#"{"ExposedPorts":{"80/tcp":{}},"Volumes":{"/a":{}},"Labels":{"a":"1","b":"1"}}"#;
        let changes = r#"{"ExposedPorts":{"443/tcp":{}},"Volumes":{"/b":{}},"Labels":{"b":"2"}}"#;
        let merged = concat!(
            r#"{"ExposedPorts":{"443/tcp":{},"80/tcp":{}},"Volumes":{"/a":{},"/b":{}},"#,
            r#""Labels":{"a":"1","b":"2"}}"#
        );
        assert_eq!(over(base, changes), merged);
        assert_eq!(over(base, r#"{"ExposedPorts":null,"Volumes":{},"Labels":null}"#), "{}");
    }

    #[test]
    fn on_build_commands_of_the_base_are_not_inherited() {
        assert_eq!(over(r#"{"OnBuild":["RUN make"]}"#, "{}"), "{}");
        assert_eq!(over(r#"{"OnBuild":["RUN make"]}"#, r#"{"OnBuild":["RUN x"]}"#), r#"{"OnBuild":["RUN x"]}"#);
    }
}
