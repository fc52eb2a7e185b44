//! Checks of the configuration: user, health check, ports, volumes, variables, tag.

use super::{Check, Collected, scan::ScannedFiles, secrets};
use crate::{check::accounts, image::Image, oci::Config};

/// Directories of the kernel's file systems (dockle, pkg/assessor/manifest/manifest.go, `sensitiveDirs`).
const KERNEL: [&str; 3] = ["/dev", "/proc", "/sys"];

pub fn check(image: &Image, config: &Config, files: &ScannedFiles, found: &mut Collected) {
    user(config, files, found);
    if !has_health_check(config) {
        found.push(
            Check::Health,
            "config.Healthcheck",
            None,
            "the image has no health check".to_owned(),
            r#"config.Healthcheck = { Test = [ "CMD" "/path/of/program" ]; }"#.to_owned(),
        );
    }
    for port in config.exposed_ports.keys() {
        ports(port, found);
    }
    for volume in config.volumes.keys() {
        let path = format!("/{}", volume.trim_matches('/'));
        if KERNEL.iter().any(|kernel| path == *kernel || path.starts_with(&format!("{kernel}/"))) {
            found.push(
                Check::SensitiveVolume,
                format!("config.Volumes.{volume:?}"),
                None,
                "the volume hides a file system of the kernel".to_owned(),
                format!("remove config.Volumes.{volume:?}"),
            );
        }
    }
    variables(config, found);
    if image.reference.as_deref().is_some_and(|name| name.ends_with(":latest")) {
        found.push(
            Check::LatestTag,
            "tag",
            None,
            "the tag latest names another image after each push".to_owned(),
            r#"tag = "v1", or tag = null for the hash of the image"#.to_owned(),
        );
    }
}

fn user(config: &Config, files: &ScannedFiles, found: &mut Collected) {
    let user = config.user.as_str();
    let what = match files.accounts().user_id(user.split(':').next().unwrap_or_default()) {
        Some(0) if user.is_empty() => Some("no user is set, so that the program runs as root".to_owned()),
        Some(0) => Some(format!("the user {user} is root")),
        Some(_) => None,
        None => Some(format!("/etc/passwd has no account for the user {user}, which may be root elsewhere")),
    };
    if let Some(what) = what {
        found.push(Check::RootUser, "config.User", None, what, r#"config.User = "1000:1000""#.to_owned());
    }
    for (place, text) in [("/etc/passwd", files.text("etc/passwd")), ("/etc/group", files.text("etc/group"))] {
        let Some((layer, text)) = text else { continue };
        for (number, names) in accounts::duplicates(&text) {
            let (what, fix) = (
                format!("{} have the number {number}", names.join(" and ")),
                format!("give each a number of its own in {place}"),
            );
            found.push(Check::DuplicateId, place, Some(layer), what, fix);
        }
    }
    if let Some((layer, text)) = files.text("etc/shadow") {
        for name in accounts::without_password(&text) {
            let (what, fix) = (format!("{name} has no password"), format!("write {name}:!: in /etc/shadow"));
            found.push(Check::EmptyPassword, "/etc/shadow", Some(layer), what, fix);
        }
    }
}

/// Docker's `NONE` disables a health check.
fn has_health_check(config: &Config) -> bool {
    let test = config.healthcheck.as_ref().and_then(|check| check.get("Test").or_else(|| check.get("test")));
    test.and_then(|test| test.get(0)).is_some_and(|first| first != "NONE")
}

fn ports(port: &str, found: &mut Collected) {
    let (numbers, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
    let first = numbers.split('-').next().and_then(|number| number.parse::<u16>().ok());
    if first.is_some_and(|number| number < 1024) {
        found.push(
            Check::PrivilegedPort,
            format!("config.ExposedPorts.{port:?}"),
            None,
            "ports below 1024 need the capability NET_BIND_SERVICE".to_owned(),
            format!("config.ExposedPorts.\"8080/{protocol}\" = {{ }}, with the program listening there"),
        );
    }
}

fn variables(config: &Config, found: &mut Collected) {
    let fix = |what: &str| {
        format!("remove {what}; pass the secret at run time, as a file or with --env-file, and replace it")
    };
    for variable in &config.env {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        if let Some(what) = secrets::in_variable(name, value) {
            found.push(Check::Secret, format!("config.Env: {name}"), None, what, fix("the variable"));
        }
    }
    for (name, value) in &config.labels {
        if let Some(what) = secrets::in_variable("", value) {
            found.push(Check::Secret, format!("config.Labels.{name:?}"), None, what, fix("the label"));
        }
    }
    for (key, arguments) in [("Entrypoint", &config.entrypoint), ("Cmd", &config.cmd)] {
        for argument in arguments {
            if let Some(what) = secrets::in_variable("", argument) {
                found.push(Check::Secret, format!("config.{key}"), None, what, fix("the argument"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn findings(config: serde_json::Value) -> Vec<(Check, String)> {
        let config: Config = serde_json::from_value(config).unwrap();
        let mut found = Collected::default();
        let files = ScannedFiles::default();
        user(&config, &files, &mut found);
        config.exposed_ports.keys().for_each(|port| ports(port, &mut found));
        variables(&config, &mut found);
        found.findings.into_iter().map(|finding| (finding.check, finding.place)).collect()
    }

    #[test]
    fn root_and_unknown_users_are_found() {
        for (user, expected) in
            [("", true), ("0", true), ("0:0", true), ("root", true), (":5", true), ("1000", false), ("web", true)]
        {
            assert_eq!(!findings(json!({ "User": user })).is_empty(), expected, "{user}");
        }
    }

    #[test]
    fn ports_and_variables_are_checked() {
        let config = json!({
            "User": "1", "ExposedPorts": { "80": {}, "443/udp": {}, "8080/tcp": {}, "1000-2000": {}, "x": {} },
            "Env": ["API_TOKEN=abc", "PATH=/bin"], "Labels": { "url": "https://me:word@host" },
        });
        let places: Vec<String> = findings(config).into_iter().map(|(_, place)| place).collect();
        let expected = [
            r#"config.ExposedPorts."1000-2000""#,
            r#"config.ExposedPorts."443/udp""#,
            r#"config.ExposedPorts."80""#,
            "config.Env: API_TOKEN",
            r#"config.Labels."url""#,
        ];
        assert_eq!(places, expected);
    }

    #[test]
    fn a_health_check_of_none_is_no_health_check() {
        for (value, expected) in [
            (json!({ "Test": ["CMD", "/bin/probe"] }), true),
            (json!({ "Test": ["NONE"] }), false),
            (json!({ "Test": [] }), false),
            (json!({}), false),
        ] {
            let config = Config { healthcheck: Some(value), ..Config::default() };
            assert_eq!(has_health_check(&config), expected, "{config:?}");
        }
    }
}
