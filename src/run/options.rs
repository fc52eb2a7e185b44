//! The options of `docker run` and `podman run` that are passed on.
//!
//! An engine takes the first word that is not an option for the image. A command without `--` before it would therefore
//! run another image, and is refused.

use std::ffi::{OsStr, OsString};

use anyhow::{Result, bail};

use super::relay::Published;

/// Long options without a value (docker/cli, cli/command/container/run.go and opts.go; podman,
/// cmd/podman/common/create.go and cmd/podman/containers/run.go). Every other option has a value, after a `=` or as the
/// next word.
const WITHOUT_VALUE: [&str; 24] = [
    "detach",
    "disable-content-trust",
    "env-host",
    "help",
    "http-proxy",
    "init",
    "interactive",
    "no-healthcheck",
    "no-hostname",
    "no-hosts",
    "oom-kill-disable",
    "passwd",
    "privileged",
    "publish-all",
    "quiet",
    "read-only",
    "read-only-tmpfs",
    "replace",
    "rm",
    "rmi",
    "sig-proxy",
    "tls-verify",
    "tty",
    "use-api-socket",
];
/// Short options without a value.
const SHORT_WITHOUT_VALUE: &str = "ditPq";

/// Checks that `options` contains only options and their values.
///
/// # Errors
///
/// If another word is among them.
pub fn check(options: &[OsString]) -> Result<()> {
    let mut takes_value = false;
    for option in options {
        let text = option.to_string_lossy();
        // The word after such an option is its value, also if it begins with a hyphen (pflag, flag.go, `parseLongArg`).
        if takes_value {
            takes_value = false;
        } else if text.len() > 1 && text.starts_with('-') {
            takes_value = expects_value(&text);
        } else {
            bail!("{text}: not an option of the engine; write -- before the command and its arguments");
        }
    }
    Ok(())
}

/// Whether the value of an option is the next word.
fn expects_value(option: &str) -> bool {
    match option.strip_prefix("--") {
        Some(long) => !long.contains('=') && !WITHOUT_VALUE.contains(&long) && long != "unsetenv-all",
        None => {
            let mut letters = option[1..].chars().skip_while(|letter| SHORT_WITHOUT_VALUE.contains(*letter));
            letters.next().is_some() && letters.next().is_none()
        }
    }
}

/// Whether one of `options` is `--NAME`, with or without a value.
pub fn has_option(options: &[OsString], name: &str) -> bool {
    let is_it = |option: &OsStr| {
        let text = option.to_string_lossy();
        let long = text.strip_prefix("--").unwrap_or_default();
        long.split('=').next() == Some(name)
    };
    options.iter().any(|option| is_it(option))
}

/// Whether the engine may start the container again after its end: `--restart` with another value than `no`.
pub fn restarts(options: &[OsString]) -> bool {
    let (mut restarts, mut words) = (false, options.iter());
    while let Some(word) = words.next() {
        let text = word.to_string_lossy();
        let next = if text.starts_with('-') && expects_value(&text) { words.next() } else { None };
        let value = match text.strip_prefix("--restart") {
            Some("") => next.map(|value| value.to_string_lossy().into_owned()),
            Some(value) => value.strip_prefix('=').map(str::to_owned),
            None => None,
        };
        restarts = value.map_or(restarts, |value| !matches!(value.as_str(), "no" | ""));
    }
    restarts
}

/// Whether the client may end before the container: `--detach`, or `-d` alone or among other letters.
pub fn detaches(options: &[OsString]) -> bool {
    options.iter().any(|option| {
        let text = option.to_string_lossy();
        match text.strip_prefix('-') {
            Some(long) if long.starts_with('-') => {
                long == "-detach" || (long.starts_with("-detach=") && !matches!(&long[8..], "false" | "0" | "f" | "F"))
            }
            Some(letters) => {
                letters.chars().take_while(|letter| SHORT_WITHOUT_VALUE.contains(*letter)).any(|l| l == 'd')
            }
            None => false,
        }
    })
}

/// Long options that two concurrent containers cannot share, or that change how a container ends.
const REFUSED_WITH_WATCH: [&str; 13] = [
    "attach",
    "cidfile",
    "detach",
    "interactive",
    "ip",
    "ip6",
    "mac-address",
    "name",
    "pod",
    "replace",
    "restart",
    "rm",
    "tty",
];

/// Checks that `options` can be used for an old and a new container at the same time.
///
/// # Errors
///
/// If one of them cannot.
pub fn check_watch(options: &[OsString]) -> Result<()> {
    let letters = options.iter().filter_map(|option| option.to_str()?.strip_prefix('-').map(str::to_owned));
    let short = letters.filter(|letters| !letters.starts_with('-')).find_map(|letters| {
        letters.chars().take_while(|letter| SHORT_WITHOUT_VALUE.contains(*letter)).find(|l| "dit".contains(*l))
    });
    let long = REFUSED_WITH_WATCH.into_iter().find(|name| has_option(options, name)).map(|name| format!("--{name}"));
    match long.or_else(|| short.map(|letter| format!("-{letter}"))) {
        Some(option) => bail!("{option}: --watch runs an old and a new container at the same time; omit it"),
        None => Ok(()),
    }
}

/// Splits the options into published ports of this machine and all others.
///
/// # Errors
///
/// If a published port is not a single TCP port.
pub fn take_published(options: &[OsString]) -> Result<(Vec<OsString>, Vec<Published>)> {
    let (mut rest, mut ports) = (Vec::new(), Vec::new());
    let mut words = options.iter();
    while let Some(word) = words.next() {
        let text = word.to_string_lossy();
        let Some((before, value)) = publish_value(&text) else {
            rest.push(word.clone());
            if text.starts_with('-') && expects_value(&text) {
                rest.extend(words.next().cloned());
            }
            continue;
        };
        let value = match value {
            Some(value) => value,
            None => words.next().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default(),
        };
        rest.extend((!before.is_empty()).then(|| OsString::from(format!("-{before}"))));
        let published = Published::parse(&value)?;
        rest.push("--publish".into());
        rest.push(published.as_ref().map_or(value, Published::relayed_value).into());
        ports.extend(published);
    }
    Ok((rest, ports))
}

/// For `--publish`, or `-p` among other letters, returns the letters before it, and the value if it is in this word.
fn publish_value(option: &str) -> Option<(&str, Option<String>)> {
    if let Some(long) = option.strip_prefix("--") {
        let value = long.strip_prefix("publish")?;
        return (value.is_empty() || value.starts_with('=')).then(|| ("", value.strip_prefix('=').map(str::to_owned)));
    }
    let letters = option.strip_prefix('-')?;
    let at = letters.find(|letter| !SHORT_WITHOUT_VALUE.contains(letter))?;
    let value = letters[at..].strip_prefix('p')?;
    let value = value.strip_prefix('=').unwrap_or(value);
    Some((&letters[..at], (!value.is_empty()).then(|| value.to_owned())))
}

/// Whether ports are published.
pub fn publishes(options: &[OsString]) -> bool {
    take_published(options).map_or(true, |(rest, _)| rest.iter().any(|option| option == "--publish"))
}

/// Whether the container uses the network of this machine.
pub fn is_in_host_network(options: &[OsString]) -> bool {
    let is_network = |option: &OsString| matches!(option.to_str(), Some("--network" | "--net"));
    let is_host = |word: &OsString| matches!(word.to_str(), Some("host"));
    options.iter().any(|option| matches!(option.to_str(), Some("--network=host" | "--net=host")))
        || options.windows(2).any(|pair| is_network(&pair[0]) && is_host(&pair[1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(line: &str) -> Result<()> {
        check(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn commands_are_not_taken_for_images() {
        for line in [
            "",
            "-it",
            "-itd --rm=false",
            "-p 80:80 -e A=b --name x",
            "-p80:80 -eA=b --name=x --read-only -v /a:/b",
            "-itp 80:80",
            "--memory-swap -1 -w /tmp",
            "--unknown value",
        ] {
            assert!(checked(line).is_ok(), "{line}");
        }
        for line in [
            "sh",
            "-it sh",
            "--rm sh",
            "--name=x sh",
            "-p80:80 sh",
            "-e A=b sh",
            "-e A=b sh -c x",
            "-",
            "--memory-swap -1 sh",
            "--cpus -x sh",
            "--env --rm sh",
        ] {
            let error = checked(line).unwrap_err().to_string();
            assert!(error.contains("write -- before the command"), "{line}: {error}");
        }
    }

    #[test]
    fn options_that_two_containers_cannot_share_are_refused() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        for (line, named) in [
            ("-it", "-i"),
            ("-e d -d", "-d"),
            ("-Pt", "-t"),
            ("--name x", "--name"),
            ("--rm=false", "--rm"),
            ("--restart always", "--restart"),
        ] {
            let error = check_watch(&words(line)).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{named}: --watch runs an old and a new container")), "{line}: {error}");
        }
        check_watch(&words("-p 80:80 -edit=1 --network none -P")).unwrap();
    }

    #[test]
    fn published_ports_are_taken() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        for (line, rest, hosts) in [
            ("-e A=b", "-e A=b", &[][..]),
            ("-p 80", "--publish 80", &[]),
            ("-p 8080:80 -q", "--publish 127.0.0.1::80 -q", &[8080]),
            ("-p8080:80", "--publish 127.0.0.1::80", &[8080]),
            ("-qp=8080:80", "-q --publish 127.0.0.1::80", &[8080]),
            ("--publish=1:2 --publish 3:4", "--publish 127.0.0.1::2 --publish 127.0.0.1::4", &[1, 3]),
            ("-e -p --publish-all", "-e -p --publish-all", &[]),
        ] {
            let (found, ports) = take_published(&words(line)).unwrap();
            assert_eq!(found, words(rest), "{line}");
            assert_eq!(ports.iter().map(|port| port.host).collect::<Vec<_>>(), hosts, "{line}");
        }
        assert!(take_published(&words("-p 1:2/udp")).is_err());
        assert!(is_in_host_network(&words("--net host")) && is_in_host_network(&words("--network=host")));
        assert!(!is_in_host_network(&words("--network none -h host")));
    }

    #[test]
    fn detached_containers_are_recognised() {
        for (option, expected) in [
            ("-d", true),
            ("-itd", true),
            ("--detach", true),
            ("--detach=true", true),
            ("--detach=false", false),
            ("--detach-keys=a", false),
            ("-edebug=1", false),
            ("-it", false),
            ("d", false),
        ] {
            assert_eq!(detaches(&[OsString::from(option)]), expected, "{option}");
        }
    }

    #[test]
    fn containers_that_are_started_again_are_recognised() {
        for (line, expected) in [
            ("--rm=false --restart always", true),
            ("--restart=on-failure:3", true),
            ("--restart no", false),
            ("--restart=always --restart=no", false),
            ("--name --restart=always", false),
            ("-it", false),
        ] {
            let words = line.split(' ').map(OsString::from).collect::<Vec<_>>();
            assert_eq!(restarts(&words), expected, "{line}");
        }
    }

    #[test]
    fn options_are_found_with_values_and_without() {
        let options = ["--rm=false", "--network", "none"].map(OsString::from);
        assert!(has_option(&options, "rm") && has_option(&options, "network"));
        assert!(!has_option(&options, "none") && !has_option(&options, "r"));
    }
}
