//! Flags for access to registries and engines, with skopeo's names and meaning
//! (skopeo, cmd/skopeo/utils.go).

use std::{
    io::{IsTerminal, stdin},
    path::PathBuf,
};

use super::substituters::SubstituterArguments;
use crate::transport::{
    self, Location, engine,
    registry::{Credentials, HostOptions, Options},
};
use anyhow::{Context, Result, bail, ensure};
use clap::Args;

/// The default of `--retry-times`.
const RETRY_TIMES: u32 = 4;

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
            #[arg(help = concat!("Require TLS with a valid certificate for connections ", $about, "; if false, fall back to unencrypted HTTP"),
                id = concat!($prefix, "tls-verify"), long = concat!($prefix, "tls-verify"), value_name = "BOOL",
                hide_possible_values = true, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
            tls_verify: Option<bool>,
        }

        impl $name {
            fn side(&self) -> Side {
                let Self { creds, username, password, password_stdin, registry_token, no_creds, authfile, cert_dir, tls_verify } =
                    self.clone();
                Side { prefix: $prefix, creds, username, password, password_stdin, registry_token, no_creds, authfile, cert_dir, tls_verify }
            }
        }
    };
}

side!(BothSides, "", "to registries", "Registries");
side!(SourceSide, "src-", "to the source", "Registry of the source");
side!(DestinationSide, "dest-", "to the destination", "Registry of the destination");

/// The flags of one side.
#[derive(Clone)]
struct Side {
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

/// Of a command that reads from one registry.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Registries")]
pub struct Access {
    #[command(flatten)]
    side: BothSides,
    /// How many times a request that failed temporarily is retried [default: 4].
    #[arg(long, value_name = "N")]
    retry_times: Option<u32>,
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
    /// The docker daemon to read from, in the form of DOCKER_HOST: unix:///PATH, tcp://HOST:PORT, ssh://HOST.
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
    /// The options for the registries with these hosts. Credentials are for one host: several hosts are an error.
    pub fn options(&self, hosts: &[&str]) -> Result<Options> {
        let side = self.side.side();
        if let Some(flag) = side.credentials_flag() {
            match distinct(hosts).as_slice() {
                [] => bail!("{flag}: no registry is named; it is for docker:// references only"),
                [_] => {}
                [first, second, ..] => {
                    bail!("{flag} is for one registry, but {first} and {second} are named; use `strata login` for each")
                }
            }
        }
        let credentials = side.read_credentials()?;
        let hosts = distinct(hosts).into_iter().map(|host| side.for_host(host, credentials.clone()));
        Ok(hosts.fold(side.options(self), Options::with_host))
    }

    /// The options for opening these images.
    pub fn source(&self, locations: &[&Location]) -> Result<transport::ReadOptions> {
        let hosts: Vec<&str> = locations.iter().filter_map(|location| location.registry_host()).collect();
        let options = self.options(&hosts)?;
        SubstituterArguments::default().access(options)
    }
}

/// A flag for registries that was given.
pub struct SideFlag {
    /// As the user wrote it.
    pub flag: String,
    /// The prefix of its side: `src-`, `dest-`, or empty for both.
    pub side: &'static str,
    /// Whether it is for one registry, as credentials and certificates are; else it is for all requests.
    pub is_for_host: bool,
}

/// Which flags for engines were given.
pub struct EngineFlags {
    pub via: bool,
    pub src_via: bool,
    pub dest_via: bool,
    pub namespace: bool,
    pub src_namespace: bool,
    pub dest_namespace: bool,
    pub src_daemon_host: bool,
    pub dest_daemon_host: bool,
}

impl CopyAccess {
    /// The flags for registries that were given.
    pub fn given_flags(&self) -> Vec<SideFlag> {
        let sides = [self.both.side.side(), self.source.side(), self.destination.side()];
        let mut flags: Vec<SideFlag> = sides.iter().flat_map(Side::given_flags).collect();
        if self.both.retry_times.is_some() {
            flags.push(SideFlag { flag: "--retry-times".to_owned(), side: "", is_for_host: false });
        }
        flags
    }

    /// The flags for engines that were given.
    pub fn engine_flags(&self) -> EngineFlags {
        EngineFlags {
            via: self.via.is_some(),
            src_via: self.src_via.is_some(),
            dest_via: self.dest_via.is_some(),
            namespace: self.namespace.is_some(),
            src_namespace: self.src_namespace.is_some(),
            dest_namespace: self.dest_namespace.is_some(),
            src_daemon_host: self.src_daemon_host.is_some(),
            dest_daemon_host: self.dest_daemon_host.is_some(),
        }
    }

    /// For the engine that is read from.
    pub fn source_engine(&self) -> engine::EngineOptions {
        self.engine(&self.src_via, &self.src_namespace, &self.src_daemon_host)
    }

    /// For the engine that is written to.
    pub fn destination_engine(&self) -> engine::EngineOptions {
        self.engine(&self.dest_via, &self.dest_namespace, &self.dest_daemon_host)
    }

    fn engine(&self, via: &Option<String>, namespace: &Option<String>, host: &Option<String>) -> engine::EngineOptions {
        engine::EngineOptions {
            via: via.as_ref().or(self.via.as_ref()).cloned(),
            namespace: namespace.as_ref().or(self.namespace.as_ref()).cloned(),
            host: host.clone(),
        }
    }

    /// The options for the registries that are read from and written to, where these are registries.
    pub fn registries(&self, source: Option<&str>, destination: Option<&str>) -> Result<CopyRegistries> {
        let (both, source_side, destination_side) =
            (self.both.side.side(), self.source.side(), self.destination.side());
        source_side.check_host(source, "source")?;
        destination_side.check_host(destination, "destination")?;
        let shared = both.credentials_flag().map(|flag| {
            let source = source.filter(|_| !source_side.gives_credentials());
            let destination = destination.filter(|_| !destination_side.gives_credentials());
            match distinct(&[source, destination].into_iter().flatten().collect::<Vec<_>>()).as_slice() {
                [] => bail!("{flag}: no registry is named; it is for docker:// references only"),
                [_] => both.read_credentials(),
                _ => bail!(
                    "{flag} is for one registry, but source and destination are in two; use --src-creds and --dest-creds"
                ),
            }
        });
        let shared = shared.transpose()?.flatten();
        let resolve = |side: Side, host: Option<&str>| {
            let credentials = if side.gives_credentials() { side.read_credentials()? } else { shared.clone() };
            let side = side.or(&both);
            let options = side.options(&self.both);
            anyhow::Ok(match host {
                Some(host) => options.with_host(side.for_host(host, credentials)),
                None => options,
            })
        };
        let destination_options = resolve(destination_side, destination)?;
        let source_options = resolve(source_side, source)?;
        // An origin in the source's or the destination's registry is reached as that registry is.
        let origins = destination.map(|host| destination_options.for_host(host));
        let origins = origins.into_iter().fold(source_options.clone(), Options::with_host);
        Ok(CopyRegistries { source: source_options, destination: destination_options, origins })
    }
}

/// How a copy reaches registries.
pub struct CopyRegistries {
    pub source: Options,
    pub destination: Options,
    /// For layers that a recipe has in a registry.
    pub origins: Options,
}

/// The hosts without repetitions.
fn distinct<'a>(hosts: &[&'a str]) -> Vec<&'a str> {
    let mut distinct: Vec<&str> = Vec::new();
    for host in hosts {
        if !distinct.iter().any(|other| HostOptions::new(other).host() == HostOptions::new(host).host()) {
            distinct.push(host);
        }
    }
    distinct
}

impl Side {
    /// The flag that gives credentials, as the user wrote it.
    fn credentials_flag(&self) -> Option<String> {
        let given = [
            ("creds", self.creds.is_some()),
            ("username", self.username.is_some()),
            ("registry-token", self.registry_token.is_some()),
        ];
        given.into_iter().find_map(|(flag, is_given)| is_given.then(|| format!("--{}{flag}", self.prefix)))
    }

    fn given_flags(&self) -> Vec<SideFlag> {
        // Without `..`, so that the compiler asks for a rule for each new flag.
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

    fn gives_credentials(&self) -> bool {
        self.credentials_flag().is_some() || self.no_creds
    }

    /// Errors if there are credentials for an image that is not in a registry.
    fn check_host(&self, host: Option<&str>, what: &str) -> Result<()> {
        match self.credentials_flag() {
            Some(flag) if host.is_none() => bail!("{flag}: the {what} is not in a registry; omit it"),
            _ => Ok(()),
        }
    }

    /// These flags; `other`'s for those that were not given. Credentials are not taken over.
    fn or(self, other: &Self) -> Self {
        Self {
            no_creds: self.no_creds || other.no_creds && !self.gives_credentials(),
            authfile: self.authfile.or_else(|| other.authfile.clone()),
            cert_dir: self.cert_dir.or_else(|| other.cert_dir.clone()),
            tls_verify: self.tls_verify.or(other.tls_verify),
            ..self
        }
    }

    fn read_credentials(&self) -> Result<Option<Credentials>> {
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

    /// What is for no host in particular.
    fn options(&self, access: &Access) -> Options {
        Options {
            anonymous: self.no_creds,
            auth_file: self.authfile.clone(),
            tries: Some(access.retry_times.unwrap_or(RETRY_TIMES).saturating_add(1)),
            ..Options::default()
        }
    }

    fn for_host(&self, host: &str, credentials: Option<Credentials>) -> HostOptions {
        HostOptions::new(host).with(credentials, self.cert_dir.clone(), self.tls_verify.map(|verify| !verify))
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
