//! A configuration on top of that of a base image, as a Dockerfile's instructions change what `FROM` gave.
//!
//! ```text
//! Env                           merged by name
//! Labels, Volumes, ExposedPorts added to
//! Entrypoint                    replaced; without an own Cmd, the base's Cmd goes: it was for the base's entrypoint
//! OnBuild                       not passed on: its commands are for the build that uses the base
//! everything else               replaced
//! null, [ ], { }, ""            removes what the base has
//! ```
//!
//! (buildkit: frontend/dockerfile/dockerfile2llb/convert.go: dispatchEntrypoint, dispatchLabel, dispatchVolume,
//! dispatchExpose, and `d.image.Config.OnBuild = nil`)

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::Config;

impl Config {
    /// The result of `own` on top of `base`.
    ///
    /// # Errors
    ///
    /// Those of deserializing.
    pub fn over(base: &Self, own: Map<String, Value>) -> Result<Self, serde_json::Error> {
        let given: BTreeSet<String> = own.keys().map(|key| key.to_ascii_lowercase()).collect();
        let cleared: BTreeSet<String> =
            own.iter().filter(|(key, value)| clears(key, value)).map(|(key, _)| key.to_ascii_lowercase()).collect();
        let own: Self = serde_json::from_value(Value::Object(own))?;
        let mut base = base.clone();
        base.on_build.clear();
        if given.contains("entrypoint") {
            base.cmd.clear();
            base.args_escaped = false;
        }
        let inherited = serde_json::to_value(&base)?.as_object().cloned().unwrap_or_default();
        let kept = inherited.into_iter().filter(|(key, _)| !cleared.contains(&key.to_ascii_lowercase()));
        let mut merged: Map<String, Value> = kept.collect();
        let own = serde_json::to_value(&own)?;
        for (key, value) in own.as_object().cloned().unwrap_or_default() {
            merge(&mut merged, key, value)?;
        }
        serde_json::from_value(Value::Object(merged))
    }
}

/// Whether a value removes what the base has.
fn clears(key: &str, value: &Value) -> bool {
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
        (Some(Value::Object(mut base)), Value::Object(own))
            if ["Labels", "Volumes", "ExposedPorts"].contains(&&*key) =>
        {
            base.extend(own);
            Value::Object(base)
        }
        (Some(base), own) if key == "Env" => {
            let [base, own] = [serde_json::from_value(base)?, serde_json::from_value(own)?];
            serde_json::to_value(merge_env(base, own))?
        }
        (_, own) => own,
    };
    merged.insert(key, value);
    Ok(())
}

/// `NAME=value` lists merged by name: the last one wins, at the first one's place.
fn merge_env(base: Vec<String>, own: Vec<String>) -> Vec<String> {
    let name = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
    let mut merged: Vec<String> = Vec::with_capacity(base.len() + own.len());
    for variable in base.into_iter().chain(own) {
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

    /// The result of `own` on `base`, as JSON.
    fn over(base: &str, own: &str) -> String {
        let base: Config = serde_json::from_str(base).unwrap();
        let merged = Config::over(&base, serde_json::from_str(own).unwrap()).unwrap();
        String::from_utf8(crate::oci::json::to_vec(&merged)).unwrap()
    }

    #[test]
    fn keys_that_are_not_given_are_inherited() {
        let base = r#"{"User":"me","Env":["PATH=/bin","A=1"],"Cmd":["sh"],"Labels":{"a":"b"}}"#;
        assert_eq!(over(base, "{}"), base);
        let own = r#"{"env":["A=2","B=3"],"entrypoint":["/x"],"Cmd":null}"#;
        let expected = r#"{"User":"me","Env":["PATH=/bin","A=2","B=3"],"Entrypoint":["/x"],"Labels":{"a":"b"}}"#;
        assert_eq!(over(base, own), expected);
        let misspelt = serde_json::from_str(r#"{"Envs":null}"#).unwrap();
        assert!(Config::over(&Config::default(), misspelt).is_err());
    }

    #[test]
    fn an_own_entrypoint_resets_the_command_of_the_base() {
        let base = r#"{"Entrypoint":["/docker-entrypoint.sh"],"Cmd":["nginx"]}"#;
        assert_eq!(over(base, r#"{"Entrypoint":["/x"]}"#), r#"{"Entrypoint":["/x"]}"#);
        assert_eq!(over(base, r#"{"Entrypoint":["/x"],"Cmd":["y"]}"#), r#"{"Entrypoint":["/x"],"Cmd":["y"]}"#);
        assert_eq!(over(base, r#"{"Cmd":["y"]}"#), r#"{"Entrypoint":["/docker-entrypoint.sh"],"Cmd":["y"]}"#);
        for removed in [r#"{"Entrypoint":null}"#, r#"{"entrypoint":[]}"#] {
            assert_eq!(over(base, removed), "{}");
        }
    }

    #[test]
    fn labels_volumes_and_ports_are_added_to_those_of_the_base() {
        let base = r#"{"ExposedPorts":{"80/tcp":{}},"Volumes":{"/a":{}},"Labels":{"a":"1","b":"1"}}"#;
        let own = r#"{"ExposedPorts":{"443/tcp":{}},"Volumes":{"/b":{}},"Labels":{"b":"2"}}"#;
        let both = concat!(
            r#"{"ExposedPorts":{"443/tcp":{},"80/tcp":{}},"Volumes":{"/a":{},"/b":{}},"#,
            r#""Labels":{"a":"1","b":"2"}}"#
        );
        assert_eq!(over(base, own), both);
        assert_eq!(over(base, r#"{"ExposedPorts":null,"Volumes":{},"Labels":null}"#), "{}");
    }

    #[test]
    fn commands_for_builds_on_the_base_are_not_passed_on() {
        assert_eq!(over(r#"{"OnBuild":["RUN make"]}"#, "{}"), "{}");
        assert_eq!(over(r#"{"OnBuild":["RUN make"]}"#, r#"{"OnBuild":["RUN x"]}"#), r#"{"OnBuild":["RUN x"]}"#);
    }
}
