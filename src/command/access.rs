//! Flags for access to registries and engines, with skopeo's names and meaning
//! (skopeo, cmd/skopeo/utils.go).

use std::{
    io::{IsTerminal, stdin},
    path::PathBuf,
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use strata::{
    engine,
    registry::{Credentials, Options},
    source,
};

use super::substituters::SubstituterArguments;

/// The flags for one side, with the prefix of their names and what help calls the side.
macro_rules! side {
    ($name:ident, $prefix:literal, $about:literal, $heading:literal) => {
        /// Credentials and trust for one side.
        #[derive(Clone, Debug, Default, Args)]
        #[command(next_help_heading = $heading)]
        pub struct $name {
            #[arg(help = concat!("Credentials to log in ", $about, ". Other users can see arguments; prefer `strata login`"),
                id = concat!($prefix, "creds"), long = concat!($prefix, "creds"), value_name = "USER:PASSWORD")]
            creds: Option<String>,
            #[arg(help = concat!("User to log in ", $about, "; needs --", $prefix, "password-stdin or --", $prefix, "password"),
                id = concat!($prefix, "username"), long = concat!($prefix, "username"), value_name = "USER",
                conflicts_with = concat!($prefix, "creds"))]
            username: Option<String>,
            #[arg(help = concat!("Password of --", $prefix, "username. Other users can see arguments; prefer --", $prefix, "password-stdin"),
                id = concat!($prefix, "password"), long = concat!($prefix, "password"), value_name = "PASSWORD",
                requires = concat!($prefix, "username"))]
            password: Option<String>,
            #[arg(help = concat!("Read the password of --", $prefix, "username from the first line of stdin"),
                id = concat!($prefix, "password-stdin"), long = concat!($prefix, "password-stdin"),
                requires = concat!($prefix, "username"), conflicts_with = concat!($prefix, "password"))]
            password_stdin: bool,
            #[arg(help = concat!("Bearer token to send ", $about),
                id = concat!($prefix, "registry-token"), long = concat!($prefix, "registry-token"), value_name = "TOKEN",
                conflicts_with_all = [concat!($prefix, "creds"), concat!($prefix, "username")])]
            registry_token: Option<String>,
            #[arg(help = concat!("Log in ", $about, " anonymously, ignoring stored credentials"),
                id = concat!($prefix, "no-creds"), long = concat!($prefix, "no-creds"),
                conflicts_with_all = [concat!($prefix, "creds"), concat!($prefix, "username"), concat!($prefix, "registry-token")])]
            no_creds: bool,
            #[arg(help = concat!("Look here first for credentials ", $about),
                id = concat!($prefix, "authfile"), long = concat!($prefix, "authfile"), value_name = "FILE")]
            authfile: Option<PathBuf>,
            #[arg(help = concat!("Directory of certificates (*.crt, *.cert, *.key) for connections ", $about),
                id = concat!($prefix, "cert-dir"), long = concat!($prefix, "cert-dir"), value_name = "DIR")]
            cert_dir: Option<PathBuf>,
            #[arg(help = concat!("Require TLS with a valid certificate for connections ", $about, "; if false, fall back to plain HTTP"),
                id = concat!($prefix, "tls-verify"), long = concat!($prefix, "tls-verify"), value_name = "BOOL",
                hide_possible_values = true, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
            tls_verify: Option<bool>,
        }

        impl $name {
            fn side(&self) -> Side {
                let Self { creds, username, password, password_stdin, registry_token, no_creds, authfile, cert_dir, tls_verify } =
                    self.clone();
                Side { creds, username, password, password_stdin, registry_token, no_creds, authfile, cert_dir, tls_verify }
            }
        }
    };
}

side!(BothSides, "", "to registries", "Registries");
side!(SourceSide, "src-", "to the source", "Registry of the source");
side!(DestinationSide, "dest-", "to the destination", "Registry of the destination");

/// What the flags of one side say.
struct Side {
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

/// Of a command that reads from one registry.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Registries")]
pub struct Access {
    #[command(flatten)]
    side: BothSides,
    /// How many times a request that failed temporarily is retried.
    #[arg(long, value_name = "N", default_value_t = 4)]
    retry_times: u32,
}

/// Of a copy: for the registry it reads from, the one it writes to, or both.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Engines")]
pub struct CopyAccess {
    /// Reach the engine through this command, such as 'ssh HOST docker'; containerd: also takes kind[:CLUSTER], k3s and
    /// minikube[:PROFILE].
    #[arg(long, value_name = "COMMAND", overrides_with = "via")]
    via: Option<String>,
    /// containerd's namespace; Kubernetes uses k8s.io.
    #[arg(long, value_name = "NAME", overrides_with = "namespace")]
    namespace: Option<String>,
    /// --via for the source only.
    #[arg(long, value_name = "COMMAND")]
    src_via: Option<String>,
    /// --via for the destination only.
    #[arg(long, value_name = "COMMAND")]
    dest_via: Option<String>,
    /// --namespace for the source only.
    #[arg(long, value_name = "NAME")]
    src_namespace: Option<String>,
    /// --namespace for the destination only.
    #[arg(long, value_name = "NAME")]
    dest_namespace: Option<String>,
    /// The docker daemon to read from, as DOCKER_HOST says it: unix:///PATH, tcp://HOST:PORT, ssh://HOST.
    #[arg(long, value_name = "HOST", conflicts_with_all = ["via", "src_via"])]
    src_daemon_host: Option<String>,
    /// The docker daemon to write to.
    #[arg(long, value_name = "HOST", conflicts_with_all = ["via", "dest_via"])]
    dest_daemon_host: Option<String>,
    #[command(flatten)]
    both: Access,
    #[command(flatten)]
    source: SourceSide,
    #[command(flatten)]
    destination: DestinationSide,
}

impl Access {
    /// The options of a client.
    pub fn options(&self) -> Result<Options> {
        self.side.side().options(self)
    }

    /// How a source is reached.
    pub fn source(&self) -> Result<source::Access> {
        SubstituterArguments::default().access(self.options()?)
    }
}

impl CopyAccess {
    /// For the registry that is read from.
    pub fn source(&self) -> Result<Options> {
        self.source.side().or(self.both.side.side()).options(&self.both)
    }

    /// For the engine that is read from.
    pub fn source_engine(&self) -> engine::Options {
        self.engine(&self.src_via, &self.src_namespace, &self.src_daemon_host)
    }

    /// For the engine that is written to.
    pub fn destination_engine(&self) -> engine::Options {
        self.engine(&self.dest_via, &self.dest_namespace, &self.dest_daemon_host)
    }

    fn engine(&self, via: &Option<String>, namespace: &Option<String>, host: &Option<String>) -> engine::Options {
        engine::Options {
            via: via.as_ref().or(self.via.as_ref()).cloned(),
            namespace: namespace.as_ref().or(self.namespace.as_ref()).cloned(),
            host: host.clone(),
        }
    }

    /// For the registry that is written to.
    pub fn destination(&self) -> Result<Options> {
        self.destination.side().or(self.both.side.side()).options(&self.both)
    }
}

impl Side {
    /// These flags; `other`'s for those that were not given.
    fn or(self, other: Self) -> Self {
        let says_who =
            self.creds.is_some() || self.username.is_some() || self.registry_token.is_some() || self.no_creds;
        let who = if says_who { &self } else { &other };
        Self {
            creds: who.creds.clone(),
            username: who.username.clone(),
            password: who.password.clone(),
            password_stdin: who.password_stdin,
            registry_token: who.registry_token.clone(),
            no_creds: who.no_creds,
            authfile: self.authfile.or(other.authfile),
            cert_dir: self.cert_dir.or(other.cert_dir),
            tls_verify: self.tls_verify.or(other.tls_verify),
        }
    }

    fn options(self, access: &Access) -> Result<Options> {
        let credentials = match (&self.creds, self.username, self.registry_token) {
            (Some(text), ..) => Some(Credentials::parse(text).map_err(anyhow::Error::msg)?),
            (_, Some(user), _) => match self.password {
                Some(password) => Some(Credentials::Basic(user, password)),
                None => Some(Credentials::Basic(user, read_password(self.password_stdin)?)),
            },
            (.., Some(token)) => Some(Credentials::Token(token)),
            _ => self.no_creds.then_some(Credentials::Anonymous),
        };
        Ok(Options {
            credentials,
            auth_file: self.authfile,
            certificates: self.cert_dir,
            insecure: self.tls_verify.map(|verify| !verify),
            tries: Some(access.retry_times.saturating_add(1)),
            ..Options::default()
        })
    }
}

/// The first line of stdin, which must not be a terminal: a password typed there would be visible.
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
