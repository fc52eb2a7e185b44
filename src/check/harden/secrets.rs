//! Secrets in files and variables: by known formats, and by the entropy of values whose names mean a secret.
//!
//! ```text
//! formats   AKIA…, ghp_…, -----BEGIN … PRIVATE KEY-----     every file of every layer, and the configuration
//! values    api_key = "aZ3…"                                files of settings outside of packages: .env, .ini, .json, …
//! variables DB_PASSWORD=…                                   the configuration
//! ```
//!
//! The formats are those of gitleaks (config/gitleaks.toml), which scans source code. Its general rule for values finds too much in
//! libraries, so that packages in the store are searched for formats only.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read},
    sync::LazyLock,
};

use regex::bytes::{Regex, RegexBuilder};

/// Bytes that are searched at once.
const WINDOW: usize = 256 * 1024;
/// Bytes of a match, at most: the end of a window that is searched again with the next one.
const OVERLAP: usize = 512;
/// The maximum number of matches of one file. The rest of the file is not searched.
const LISTED: usize = 20;
/// Bits per character that a value of the general rule has at least (gitleaks, `generic-api-key`).
const ENTROPY: f64 = 3.5;

/// Secrets with a format of their own: name, expression, least entropy. The expressions match at most [`OVERLAP`] bytes.
const FORMATS: [(&str, &str, f64); 22] = [
    ("a private key", r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----[A-Za-z0-9+/=:,\s\\-]{64}", 0.0),
    ("an access key of AWS", r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b", 3.0),
    ("a personal token of GitHub", r"\bgh[pousr]_[0-9a-zA-Z]{36}\b", 3.0),
    ("a fine-grained token of GitHub", r"\bgithub_pat_[0-9a-zA-Z_]{82}\b", 3.0),
    ("a token of GitLab", r"\bglpat-[0-9a-zA-Z_-]{20}\b", 3.0),
    ("a bot token of Slack", r"\bxoxb-[0-9]{10,13}-[0-9]{10,13}[a-zA-Z0-9-]{1,60}", 3.0),
    ("a user token of Slack", r"\bxox[pe](?:-[0-9]{10,13}){3}-[a-zA-Z0-9-]{28,34}", 2.0),
    ("a webhook of Slack", r"hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9+/]{43,56}", 3.0),
    ("a key of Stripe", r"\b[sr]k_(?:live|prod)_[a-zA-Z0-9]{10,99}\b", 3.0),
    ("an API key of Google", r"\bAIza[0-9a-zA-Z_-]{35}\b", 4.0),
    ("a token of npm", r"\bnpm_[0-9a-zA-Z]{36}\b", 3.0),
    ("a token of PyPI", r"\bpypi-AgEIcHlwaS5vcmc[0-9a-zA-Z_-]{50,300}", 3.0),
    ("a token of RubyGems", r"\brubygems_[a-f0-9]{48}\b", 2.0),
    ("a token of Hugging Face", r"\bhf_[a-zA-Z]{34}\b", 3.0),
    ("a token of DigitalOcean", r"\bdop_v1_[a-f0-9]{64}\b", 3.0),
    ("an API key of Anthropic", r"\bsk-ant-api03-[a-zA-Z0-9_-]{93}AA\b", 3.0),
    ("an API key of OpenAI", r"\bsk-(?:proj-|svcacct-|admin-)?[A-Za-z0-9_-]{20,74}T3BlbkFJ[A-Za-z0-9_-]{20,74}", 3.0),
    ("an API token of SendGrid", r"\bSG\.[a-zA-Z0-9_-]{22}\.[a-zA-Z0-9_-]{43}\b", 3.0),
    ("a token of Vault", r"\bhvs\.[0-9a-zA-Z_-]{90,120}\b", 3.5),
    ("a key of age", r"\bAGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}\b", 3.0),
    ("a password of a registry", r#""auth"\s*:\s*"[A-Za-z0-9+/]{12,200}={0,2}""#, 3.0),
    // Signing keys of binary caches: 64 bytes in base 64. Public keys have 32.
    ("a signing key of Nix", r"\b[0-9a-zA-Z._-]{1,60}:[A-Za-z0-9+/]{86}==", 4.0),
];

/// The general rule: a name that means a secret, and a value that looks random.
const VALUE: &str = r#"(?i)\b[a-z0-9_.-]{0,50}(?:api[_.-]?key|access[_.-]?key|auth[_.-]?token|credential|passwd|password|private[_.-]?key|secret|token)[a-z0-9_.-]{0,20}["']?[ \t]{0,3}(?:=|:|=>|:=)[ \t"']{0,5}([a-z0-9+/=_.!@#$%^&*-]{10,150})["'\s;,]"#;

/// Ends and names of files of settings.
const SETTINGS: [&str; 20] = [
    ".cfg",
    ".conf",
    ".config",
    ".credentials",
    ".env",
    ".htpasswd",
    ".ini",
    ".json",
    ".netrc",
    ".npmrc",
    ".pgpass",
    ".properties",
    ".pypirc",
    ".secret",
    ".toml",
    ".txt",
    ".xml",
    ".yaml",
    ".yml",
    "credentials",
];

/// Words in names of variables that mean a secret (dockle, pkg/assessor/manifest/manifest.go, `suspiciousEnvKey`).
const WORDS: [&str; 7] = ["PASS", "PASSWD", "PASSWORD", "SECRET", "KEY", "ACCESS", "TOKEN"];
/// Names that have such a word and no secret (`acceptanceEnvKey` there).
const ACCEPTED: [&str; 2] = ["GPG_KEY", "GPG_KEYS"];

fn compiled(text: &str) -> Regex {
    RegexBuilder::new(text).unicode(false).build().expect("the expressions are constants that a test compiles")
}

static ANY: LazyLock<Regex> = LazyLock::new(|| compiled(&FORMATS.map(|(_, text, _)| format!("(?:{text})")).join("|")));
static EACH: LazyLock<Vec<Regex>> = LazyLock::new(|| FORMATS.iter().map(|(_, text, _)| compiled(text)).collect());
static VALUES: LazyLock<Regex> = LazyLock::new(|| compiled(VALUE));

/// A secret in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Secret {
    /// The offset in the file.
    pub offset: u64,
    /// The kind of secret.
    pub what: String,
}

/// Whether a file has settings of the image and not the contents of a package: the general rule is for them.
pub fn is_settings(path: &[u8], size: u64) -> bool {
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    // A store path that is a file was written by an expression, or copied from its sources.
    let in_package = path.strip_prefix(b"nix/store/").is_some_and(|rest| rest.contains(&b'/'));
    let is_named = SETTINGS.iter().any(|end| name.ends_with(end.as_bytes())) || name.starts_with(b".env");
    // Longer files are data.
    size < WINDOW as u64 && !in_package && is_named
}

/// Searches a file to its end.
///
/// # Errors
///
/// Those of `data`.
pub fn search(data: &mut dyn Read, is_settings: bool) -> io::Result<Vec<Secret>> {
    let mut found = BTreeSet::new();
    let mut window = Vec::with_capacity(WINDOW);
    let mut start = 0_u64;
    loop {
        let kept = window.len();
        data.take((WINDOW - kept) as u64).read_to_end(&mut window)?;
        let is_end = window.len() < WINDOW;
        find_formats(&window, start, &mut found);
        if is_end || found.len() >= LISTED {
            break;
        }
        let done = window.len() - OVERLAP;
        window.drain(..done);
        start += done as u64;
    }
    // Files of settings are kept whole only if they fit into one window and are text.
    if is_settings && start == 0 && !window.contains(&0) {
        find_values(&window, &mut found);
    }
    Ok(found.into_iter().take(LISTED).collect())
}

fn find_formats(text: &[u8], start: u64, found: &mut BTreeSet<Secret>) {
    for hit in ANY.find_iter(text) {
        if found.len() >= LISTED {
            break;
        }
        // The byte after the match is the context of `\b`. Without the limit, each expression would search the rest of the
        // window for each match.
        let end = text.len().min(hit.end() + 1);
        let format = EACH
            .iter()
            .position(|format| format.find_at(&text[..end], hit.start()).is_some_and(|one| one.range() == hit.range()));
        let Some((what, _, least)) = format.map(|at| FORMATS[at]) else { continue };
        if entropy(hit.as_bytes()) >= least && !is_example(hit.as_bytes()) {
            found.insert(Secret { offset: start + hit.start() as u64, what: what.to_owned() });
        }
    }
}

fn find_values(text: &[u8], found: &mut BTreeSet<Secret>) {
    for groups in VALUES.captures_iter(text) {
        if found.len() >= LISTED {
            break;
        }
        let Some(value) = groups.get(1) else { continue };
        if !is_random(value.as_bytes()) || found.iter().any(|known| known.offset.abs_diff(value.start() as u64) < 64) {
            continue;
        }
        found.insert(Secret {
            offset: value.start() as u64,
            what: "a value that looks random, for a name that means a secret".to_owned(),
        });
    }
}

/// Whether the value of the general rule looks random: letters and digits, of a high entropy, and not a path or an example.
fn is_random(value: &[u8]) -> bool {
    let has = |test: fn(&u8) -> bool| value.iter().any(test);
    has(u8::is_ascii_digit)
        && has(u8::is_ascii_alphabetic)
        && !value.starts_with(b"/")
        && entropy(value) >= ENTROPY
        && !is_example(value)
}

/// Whether documentation has the value: AWS's own example ends so, and others have the word.
fn is_example(value: &[u8]) -> bool {
    let lower = value.to_ascii_lowercase();
    [&b"example"[..], b"changeme", b"xxxxxxxx", b"00000000", b"12345678"]
        .iter()
        .any(|word| memchr::memmem::find(&lower, word).is_some())
}

/// Shannon's entropy in bits per character (gitleaks, detect/utils.go, `shannonEntropy`).
fn entropy(value: &[u8]) -> f64 {
    let mut counts: BTreeMap<u8, usize> = BTreeMap::new();
    value.iter().for_each(|byte| *counts.entry(*byte).or_default() += 1);
    let part = |count: usize| count as f64 / value.len() as f64;
    counts.values().map(|&count| -part(count) * part(count).log2()).sum()
}

/// The reason that a variable or a label may have a secret as its value.
pub fn in_variable(name: &str, value: &str) -> Option<String> {
    let mut found = BTreeSet::new();
    find_formats(value.as_bytes(), 0, &mut found);
    if let Some(secret) = found.into_iter().next() {
        return Some(format!("it has {}", secret.what));
    }
    if has_password(value) {
        return Some("it has a URL with a password".to_owned());
    }
    let upper = name.to_ascii_uppercase();
    let means_secret = WORDS.iter().any(|word| upper.contains(word)) && !ACCEPTED.contains(&upper.as_str());
    // The path of a file with the secret is the right way to pass it.
    let is_value = !value.is_empty() && !value.starts_with('/') && !["true", "false", "0", "1"].contains(&value);
    (means_secret && is_value).then(|| "its name means a secret".to_owned())
}

/// Whether the value is a URL such as `postgres://user:password@host`.
fn has_password(value: &str) -> bool {
    let Some((_, rest)) = value.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let user = authority.rsplit_once('@').map(|(user, _)| user);
    user.and_then(|user| user.split_once(':'))
        .is_some_and(|(_, password)| !password.is_empty() && !password.starts_with('$'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, is_settings: bool) -> Vec<(u64, String)> {
        search(&mut text.as_bytes(), is_settings)
            .unwrap()
            .into_iter()
            .map(|Secret { offset, what }| (offset, what))
            .collect()
    }

    /// A value that no scanner of this repository takes for a secret, since it is put together here.
    fn token(start: &str, length: usize) -> String {
        let digits = "q7Zx2Lm9Kd4Rt8Wb3Yc6Vn5Hj1PsFgTaE0Uo";
        start.chars().chain(digits.chars().cycle().take(length)).collect()
    }

    #[test]
    fn known_formats_are_found_with_their_offset() {
        for (text, what) in [
            (token("ghp_", 36), "a personal token of GitHub"),
            (token("glpat-", 20), "a token of GitLab"),
            (token("npm_", 36), "a token of npm"),
            (token("pypi-AgEIcHlwaS5vcmc", 60), "a token of PyPI"),
            (format!("AKIA{}", "Q7ZX2LM3KD4RT5WB"), "an access key of AWS"),
            (format!("cache-1:{}==", token("", 86)), "a signing key of Nix"),
            (format!("-----BEGIN EC PRIVATE {}\n{}\n", "KEY-----", token("", 64)), "a private key"),
        ] {
            assert_eq!(found(&format!("12345 {text} rest"), false), [(6, what.to_owned())], "{text}");
        }
    }

    #[test]
    fn examples_public_keys_and_headers_without_a_key_are_not_secrets() {
        for text in [
            "AKIAIOSFODNN7EXAMPLE".to_owned(),
            format!("-----BEGIN RSA PRIVATE {}\n...\n", "KEY-----"),
            format!("cache.nixos.org-1:{}=", token("", 43)),
            format!("ghp_{}", "a".repeat(36)),
            token("xghp_", 36),
        ] {
            assert_eq!(found(&text, false), [], "{text}");
        }
    }

    #[test]
    fn matches_across_windows_are_found_once() {
        let secret = token("ghp_", 36);
        for at in [WINDOW - OVERLAP - 1, WINDOW - 20, WINDOW, 2 * WINDOW - OVERLAP - 10] {
            let text = format!("{}{secret}{}", " ".repeat(at), " ".repeat(WINDOW));
            assert_eq!(found(&text, false), [(at as u64, "a personal token of GitHub".to_owned())], "{at}");
        }
    }

    #[test]
    fn files_full_of_secrets_end_after_the_listed_ones() {
        let secret = token("ghp_", 36);
        // The reader has no end.
        let secrets = format!("{secret} ").repeat(LISTED + 10);
        let mut endless = secrets.as_bytes().chain(io::repeat(b' '));
        assert_eq!(search(&mut endless, false).unwrap().len(), LISTED);
        let values: String =
            (0..2 * LISTED).map(|_| format!("api_key = \"{}\"\n{}\n", token("", 24), " ".repeat(80))).collect();
        assert_eq!(found(&values, true).len(), LISTED);
    }

    #[test]
    fn every_format_is_recognised_at_the_position_of_its_match() {
        // The last formats of the list match at positions where the first ones would search on.
        let texts = [
            (format!("hvs.{}", token("", 100)), "a token of Vault"),
            (format!("SG.{}.{}", token("", 22), token("", 43)), "an API token of SendGrid"),
            (format!("cache-1:{}==", token("", 86)), "a signing key of Nix"),
        ];
        let all: Vec<String> = texts.iter().map(|(text, _)| text.clone()).collect();
        let kinds: Vec<String> = found(&all.join(" "), false).into_iter().map(|(_, what)| what).collect();
        assert_eq!(kinds, texts.map(|(_, what)| what));
    }

    #[test]
    fn values_of_settings_need_entropy() {
        let random = token("", 24);
        assert_eq!(found(&format!("api_key = \"{random}\"\n"), true).len(), 1);
        assert_eq!(found(&format!("api_key = \"{random}\"\n"), false), []);
        for text in [
            "password = correcthorsebattery\n".to_owned(),
            "token = aaaaaaaaaaaaaa1\n".to_owned(),
            "secret = /run/secrets/a1b2c3d4e5f6\n".to_owned(),
            format!("colour = {random}\n"),
        ] {
            assert_eq!(found(&text, true), [], "{text}");
        }
        assert!(is_settings(b"etc/app.env", 10) && is_settings(b"nix/store/abc-app.json", 10));
        assert!(!is_settings(b"nix/store/abc-app/etc/app.json", 10) && !is_settings(b"etc/app.json", WINDOW as u64));
    }

    #[test]
    fn variables_are_judged_by_name_and_value() {
        for (name, value, expected) in [
            ("DB_PASSWORD", "x", true),
            ("ApiToken", "x", true),
            ("DB_PASSWORD_FILE", "/run/secrets/db", false),
            ("GPG_KEY", "abc", false),
            ("TOKEN", "", false),
            ("PATH", "/bin", false),
            ("DATABASE", "postgres://app:secret@db/app", true),
            ("DATABASE", "postgres://app:$PASS@db/app", false),
            ("DATABASE", "postgres://app@db:5432/app", false),
            ("OTHER", &token("ghp_", 36), true),
        ] {
            assert_eq!(in_variable(name, value).is_some(), expected, "{name}={value}");
        }
    }
}
