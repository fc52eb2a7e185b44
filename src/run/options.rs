//! The options of `docker run` and `podman run` that are passed on.
//!
//! An engine takes the first word that is no option for the image. A command without `--` before it would therefore run
//! another image, and is refused.

use std::ffi::{OsStr, OsString};

use anyhow::{Result, bail};

/// Long options that take no value (docker/cli, cli/command/container/run.go and opts.go; podman, cmd/podman/common/create.go
/// and cmd/podman/containers/run.go). Every other takes one, after a `=` or as the next word.
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
/// Short options that take no value.
const SHORT_WITHOUT_VALUE: &str = "ditPq";

/// Checks that `options` are options and their values alone.
///
/// # Errors
///
/// If one of them is neither.
pub fn check(options: &[OsString]) -> Result<()> {
    let mut takes_value = false;
    for option in options {
        let text = option.to_string_lossy();
        if text.len() > 1 && text.starts_with('-') {
            takes_value = expects_value(&text);
        } else if takes_value {
            takes_value = false;
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

/// Whether one of `options` is `--NAME`, with a value or without.
pub fn has(options: &[OsString], name: &str) -> bool {
    let is_it = |option: &OsStr| {
        let text = option.to_string_lossy();
        let long = text.strip_prefix("--").unwrap_or_default();
        long.split('=').next() == Some(name)
    };
    options.iter().any(|option| is_it(option))
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
        for line in ["sh", "-it sh", "--rm sh", "--name=x sh", "-p80:80 sh", "-e A=b sh", "-e A=b sh -c x", "-"] {
            let error = checked(line).unwrap_err().to_string();
            assert!(error.contains("write -- before the command"), "{line}: {error}");
        }
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
    fn options_are_found_with_values_and_without() {
        let options = ["--rm=false", "--network", "none"].map(OsString::from);
        assert!(has(&options, "rm") && has(&options, "network"));
        assert!(!has(&options, "none") && !has(&options, "r"));
    }
}
