//! Checks of a configuration that a user wrote: values with which no container starts, and keys that engines ignore.

use serde_json::{Map, Value};

use super::Config;

/// Keys of Dockerfiles, compose files and Kubernetes, in lower case, with the corresponding key of image configurations.
const FOREIGN_KEYS: [(&str, &str); 15] = [
    ("workdir", "WorkingDir"),
    ("workingdirectory", "WorkingDir"),
    ("command", "Cmd"),
    ("args", "Cmd"),
    ("ports", "ExposedPorts"),
    ("port", "ExposedPorts"),
    ("expose", "ExposedPorts"),
    ("environment", "Env"),
    ("envvars", "Env"),
    ("mounts", "Volumes"),
    ("annotations", "Labels"),
    ("maintainer", "Labels.\"org.opencontainers.image.authors\""),
    ("author", "Labels.\"org.opencontainers.image.authors\""),
    ("run", "extraCommands, which is not part of config"),
    ("copy", "copyToRoot, which is not part of config"),
];
/// The shortest duration that docker accepts in a health check, in nanoseconds (moby, `MinimumDuration` in
/// api/types/container/config.go).
const MIN_DURATION: u64 = 1_000_000;

/// Returns a warning for each key that engines ignore.
#[must_use]
pub fn ignored_keys(config: &Map<String, Value>) -> Vec<String> {
    let foreign = |key: &str| FOREIGN_KEYS.iter().find(|(foreign, _)| key.eq_ignore_ascii_case(foreign));
    let warning = |key: &String| {
        let (_, replacement) = foreign(key)?;
        Some(format!("config.{key} is not a key of image configurations, and engines ignore it; use {replacement}"))
    };
    config.keys().filter_map(warning).collect()
}

impl Config {
    /// Checks the values.
    ///
    /// # Errors
    ///
    /// If no container can start with a value. The message names the key and the allowed values.
    pub fn check(&self) -> Result<(), String> {
        if !self.working_dir.is_empty() && !self.working_dir.starts_with('/') {
            return Err(format!("config.WorkingDir is {:?}; it must begin with /", self.working_dir));
        }
        if let Some(variable) = self.env.iter().find(|variable| variable.is_empty() || variable.starts_with('=')) {
            return Err(format!("config.Env has {variable:?}, a variable without a name; write NAME=value"));
        }
        if let Some(port) = self.exposed_ports.keys().find(|port| !is_port(port)) {
            return Err(format!(
                "config.ExposedPorts has {port:?}; write a number up to 65535, alone or with /tcp, /udp or /sctp, one \
                 entry for each port"
            ));
        }
        self.healthcheck.as_ref().map_or(Ok(()), check_health)
    }
}

/// Returns whether the text is `port[/protocol]` (image-spec: config.md).
fn is_port(text: &str) -> bool {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number && number.parse::<u16>().is_ok() && ["tcp", "udp", "sctp"].contains(&protocol)
}

/// Checks docker's HealthcheckConfig (moby: api/types/container, and daemon/container.go for the shortest durations).
fn check_health(health: &Value) -> Result<(), String> {
    let name = |key: &str| format!("config.Healthcheck.{key}");
    let fields = health.as_object().ok_or("config.Healthcheck must be an attribute set, with Test and Interval")?;
    for (key, value) in fields {
        let lower = key.to_ascii_lowercase();
        match lower.as_str() {
            _ if value.is_null() => {}
            "test" => check_test(&name(key), value)?,
            "interval" | "timeout" | "startperiod" | "startinterval" => match value.as_u64() {
                Some(duration) if duration == 0 || duration >= MIN_DURATION => {}
                _ => {
                    return Err(format!(
                        "{} is {value}; it must be a number of nanoseconds, 1000000 (a millisecond) or more: 30 s are \
                         30000000000",
                        name(key)
                    ));
                }
            },
            "retries" if value.as_u64().is_some() => {}
            "retries" => return Err(format!("{} is {value}; it must be a number", name(key))),
            _ => {
                return Err(format!(
                    "{} is unknown; it has Test, Interval, Timeout, StartPeriod, StartInterval and Retries",
                    name(key)
                ));
            }
        }
    }
    Ok(())
}

fn check_test(name: &str, test: &Value) -> Result<(), String> {
    let words: Option<Vec<&str>> = test.as_array().and_then(|list| list.iter().map(Value::as_str).collect());
    match words.as_deref() {
        Some([] | ["NONE"]) => Ok(()),
        Some(["CMD" | "CMD-SHELL", _, ..]) => Ok(()),
        _ => Err(format!(
            "{name} is {test}; write [ \"CMD\" program argument … ], [ \"CMD-SHELL\" command ] or [ \"NONE\" ]"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<(), String> {
        serde_json::from_str::<Config>(text).unwrap().check()
    }

    #[test]
    fn values_that_prevent_containers_from_starting_are_refused() {
        for (text, needle) in [
            (r#"{"WorkingDir":"srv"}"#, "config.WorkingDir is \"srv\"; it must begin with /"),
            (r#"{"Env":["A=1",""]}"#, "a variable without a name"),
            (r#"{"Env":["=x"]}"#, "config.Env has \"=x\""),
            (r#"{"ExposedPorts":{"65536/tcp":{}}}"#, "config.ExposedPorts has \"65536/tcp\""),
            (r#"{"ExposedPorts":{"http":{}}}"#, "\"http\""),
            (r#"{"ExposedPorts":{"80/http":{}}}"#, "\"80/http\""),
            (r#"{"ExposedPorts":{"8000-8010/tcp":{}}}"#, "one entry for each port"),
            (r#"{"ExposedPorts":{"+80":{}}}"#, "\"+80\""),
            (r#"{"Healthcheck":"curl"}"#, "config.Healthcheck must be an attribute set"),
            (r#"{"Healthcheck":{"Test":"curl"}}"#, "config.Healthcheck.Test is \"curl\"; write [ \"CMD\""),
            (r#"{"Healthcheck":{"Test":["curl","x"]}}"#, "config.Healthcheck.Test"),
            (
                r#"{"Healthcheck":{"Interval":"30s"}}"#,
                "config.Healthcheck.Interval is \"30s\"; it must be a number of nano",
            ),
            (r#"{"Healthcheck":{"Interval":30}}"#, "30 s are 30000000000"),
            (r#"{"Healthcheck":{"Retries":"3"}}"#, "config.Healthcheck.Retries is \"3\"; it must be a number"),
            (r#"{"Healthcheck":{"Command":["x"]}}"#, "config.Healthcheck.Command is unknown"),
        ] {
            let error = check(text).unwrap_err();
            assert!(error.contains(needle), "{text}: {error}");
        }
        for text in [
            r#"{"WorkingDir":"/srv","Env":["A=1","B=","C"],"ExposedPorts":{"80":{},"53/udp":{},"65535/sctp":null}}"#,
            r#"{"Healthcheck":{"Test":["CMD","curl"],"Interval":30000000000,"Timeout":null,"Retries":3}}"#,
            r#"{"Healthcheck":{"Test":["NONE"]}}"#,
            r#"{"Healthcheck":null}"#,
        ] {
            check(text).unwrap();
        }
    }

    #[test]
    fn keys_of_dockerfiles_cause_warnings() {
        let config = serde_json::from_str(r#"{"Workdir":"/x","COMMAND":["x"],"Cmd":[],"Tty":true}"#).unwrap();
        let warnings = ignored_keys(&config);
        assert_eq!(warnings.len(), 2);
        assert!(warnings.iter().any(|text| text.contains("config.Workdir") && text.ends_with("use WorkingDir")));
        assert!(warnings.iter().any(|text| text.contains("config.COMMAND") && text.ends_with("use Cmd")));
    }
}
