//! Flags for the registry of one side of a copy, or of both, with skopeo's names and meaning (skopeo, cmd/skopeo/utils.go).

use std::{
    io::{IsTerminal, stdin},
    path::PathBuf,
};

use crate::transport::registry::{Credentials, HostOptions, Options};
use anyhow::{Context, Result, bail, ensure};
use clap::Args;

/// The flags for one side: the prefix of their names, the name of the side in help, and whether `-h` lists any of them.
macro_rules! side {
    ($name:ident, $prefix:literal, $about:literal, $heading:literal, $is_short:literal) => {
        /// Credentials and TLS settings for one side.
        #[derive(Clone, Debug, Default, Args)]
        #[command(next_help_heading = $heading)]
        pub struct $name {
            #[arg(hide_short_help = true, help = concat!("Credentials to log in ", $about, ". Other users can see arguments; prefer `strata login`"),
                id = concat!($prefix, "creds"), long = concat!($prefix, "creds"), value_name = "USER:PASSWORD")]
            creds: Option<String>,
            #[arg(hide_short_help = true, help = concat!("User to log in ", $about, "; needs --", $prefix, "password-stdin or --", $prefix, "password"),
                id = concat!($prefix, "username"), long = concat!($prefix, "username"), value_name = "USER",
                conflicts_with = concat!($prefix, "creds"))]
            username: Option<String>,
            #[arg(hide_short_help = true, help = concat!("Password of --", $prefix, "username. Other users can see arguments; prefer --", $prefix, "password-stdin"),
                id = concat!($prefix, "password"), long = concat!($prefix, "password"), value_name = "PASSWORD",
                requires = concat!($prefix, "username"))]
            password: Option<String>,
            #[arg(hide_short_help = true, help = concat!("Read the password of --", $prefix, "username from the first line of stdin"),
                id = concat!($prefix, "password-stdin"), long = concat!($prefix, "password-stdin"),
                requires = concat!($prefix, "username"), conflicts_with = concat!($prefix, "password"))]
            password_stdin: bool,
            #[arg(hide_short_help = true, help = concat!("Bearer token to send ", $about),
                id = concat!($prefix, "registry-token"), long = concat!($prefix, "registry-token"), value_name = "TOKEN",
                conflicts_with_all = [concat!($prefix, "creds"), concat!($prefix, "username")])]
            registry_token: Option<String>,
            #[arg(hide_short_help = true, help = concat!("Log in ", $about, " anonymously, ignoring stored credentials"),
                id = concat!($prefix, "no-creds"), long = concat!($prefix, "no-creds"),
                conflicts_with_all = [concat!($prefix, "creds"), concat!($prefix, "username"), concat!($prefix, "registry-token")])]
            no_creds: bool,
            #[arg(hide_short_help = true, help = concat!("Look here first for credentials ", $about),
                id = concat!($prefix, "authfile"), long = concat!($prefix, "authfile"), value_name = "FILE")]
            authfile: Option<PathBuf>,
            #[arg(hide_short_help = true, help = concat!("Directory of certificates (*.crt, *.cert, *.key) for connections ", $about),
                id = concat!($prefix, "cert-dir"), long = concat!($prefix, "cert-dir"), value_name = "DIR")]
            cert_dir: Option<PathBuf>,
            #[arg(hide_short_help = !$is_short, help = "Require TLS with a valid certificate",
                long_help = concat!("Require TLS with a valid certificate for connections ", $about, "; if false, fall back to unencrypted HTTP"),
                id = concat!($prefix, "tls-verify"), long = concat!($prefix, "tls-verify"), value_name = "BOOL",
                hide_possible_values = true, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
            tls_verify: Option<bool>,
        }

        impl $name {
            /// Omits flags for one registry, or those for all.
            pub fn omit(&mut self, for_host: bool, for_all: bool) {
                let given = std::mem::take(self);
                *self = match (for_host, for_all) {
                    (false, false) => given,
                    (true, false) => Self { no_creds: given.no_creds, authfile: given.authfile, ..Self::default() },
                    (false, true) => Self { no_creds: false, authfile: None, ..given },
                    (true, true) => Self::default(),
                };
            }

            pub fn side(&self) -> Side {
                let Self { creds, username, password, password_stdin, registry_token, no_creds, authfile, cert_dir, tls_verify } =
                    self.clone();
                Side { prefix: $prefix, creds, username, password, password_stdin, registry_token, no_creds, authfile, cert_dir, tls_verify }
            }
        }
    };
}

side!(BothSides, "", "to registries", "Registries", true);
side!(SourceSide, "src-", "to the source", "Registry of the source", false);
side!(DestinationSide, "dest-", "to the destination", "Registry of the destination", false);

/// The flags of one side.
#[derive(Clone)]
pub struct Side {
    prefix: &'static str,
    creds: Option<String>,
    username: Option<String>,
    password: Option<String>,
    password_stdin: bool,
    registry_token: Option<String>,
    no_creds: bool,
    authfile: Option<PathBuf>,
    cert_dir: Option<PathBuf>,
    tls_verify: Option<bool>,
}

/// A given flag for registries.
pub struct SideFlag {
    /// The flag as the user wrote it.
    pub flag: String,
    /// The prefix of its side: `src-`, `dest-`, or empty for both.
    pub side: &'static str,
    /// Whether it applies to one registry, like credentials and certificates. Otherwise it applies to all requests.
    pub is_for_host: bool,
}

impl Side {
    /// Returns the given flag with credentials.
    pub fn credentials_flag(&self) -> Option<String> {
        let given = [
            ("creds", self.creds.is_some()),
            ("username", self.username.is_some()),
            ("registry-token", self.registry_token.is_some()),
        ];
        given.into_iter().find_map(|(flag, is_given)| is_given.then(|| format!("--{}{flag}", self.prefix)))
    }

    pub fn given_flags(&self) -> Vec<SideFlag> {
        // The pattern has no `..`, so that the compiler reports a new flag without a rule.
        let Self {
            prefix,
            creds,
            username,
            password,
            password_stdin,
            registry_token,
            no_creds,
            authfile,
            cert_dir,
            tls_verify,
        } = self;
        let for_host = [
            ("creds", creds.is_some()),
            ("username", username.is_some()),
            ("password", password.is_some()),
            ("password-stdin", *password_stdin),
            ("registry-token", registry_token.is_some()),
            ("cert-dir", cert_dir.is_some()),
            ("tls-verify", tls_verify.is_some()),
        ];
        let for_all = [("no-creds", *no_creds), ("authfile", authfile.is_some())];
        let flag = |is_for_host| {
            move |(name, is_given): (&str, bool)| {
                is_given.then(|| SideFlag { flag: format!("--{prefix}{name}"), side: prefix, is_for_host })
            }
        };
        for_host.into_iter().filter_map(flag(true)).chain(for_all.into_iter().filter_map(flag(false))).collect()
    }

    pub fn gives_credentials(&self) -> bool {
        self.credentials_flag().is_some() || self.no_creds
    }

    /// Errors if there are credentials for an image that is not in a registry.
    pub fn check_host(&self, host: Option<&str>, what: &str) -> Result<()> {
        match self.credentials_flag() {
            Some(flag) if host.is_none() => bail!("{flag}: the {what} is not in a registry; omit it"),
            _ => Ok(()),
        }
    }

    /// Returns these flags, with those of `other` for flags that were not given. Credentials are not taken over.
    pub fn or(self, other: &Self) -> Self {
        Self {
            no_creds: self.no_creds || other.no_creds && !self.gives_credentials(),
            authfile: self.authfile.or_else(|| other.authfile.clone()),
            cert_dir: self.cert_dir.or_else(|| other.cert_dir.clone()),
            tls_verify: self.tls_verify.or(other.tls_verify),
            ..self
        }
    }

    pub fn read_credentials(&self) -> Result<Option<Credentials>> {
        Ok(match (&self.creds, &self.username, &self.registry_token) {
            (Some(text), ..) => Some(Credentials::parse(text).map_err(anyhow::Error::msg)?),
            (_, Some(user), _) => {
                let password = match &self.password {
                    Some(password) => password.clone(),
                    None => read_password(self.password_stdin)?,
                };
                Some(Credentials::with_password(user, &password).map_err(anyhow::Error::msg)?)
            }
            (.., Some(token)) => Some(Credentials::Token(token.clone())),
            _ => None,
        })
    }

    /// Returns the options that are independent of a host.
    pub fn options(&self, tries: u32) -> Options {
        Options { anonymous: self.no_creds, auth_file: self.authfile.clone(), tries: Some(tries), ..Options::default() }
    }

    pub fn for_host(&self, host: &str, credentials: Option<Credentials>) -> HostOptions {
        HostOptions::new(host).with(credentials, self.cert_dir.clone(), self.tls_verify.map(|verify| !verify))
    }
}

/// Reads the first line of stdin, which must not be a terminal: a password typed there would be visible.
pub fn read_password(asked_for: bool) -> Result<String> {
    if !asked_for {
        bail!("no password is given; pipe it into --password-stdin");
    }
    ensure!(!stdin().is_terminal(), "stdin is a terminal; pipe the password into --password-stdin");
    let mut line = String::new();
    stdin().read_line(&mut line).context("reading the password from stdin")?;
    let password = line.trim_end_matches(['\r', '\n']);
    ensure!(!password.is_empty(), "stdin contains no password");
    Ok(password.to_owned())
}
