//! Flags for access to registries and engines, with skopeo's names and meaning
//! (skopeo, cmd/skopeo/utils.go).

use super::{
    flag_rules::EngineFlag,
    side::{BothSides, DestinationSide, Side, SideFlag, SourceSide},
};
use crate::transport::{
    engine,
    kind::EngineTransport,
    registry::{HostOptions, Options},
};
use anyhow::{Result, bail};
use clap::Args;

/// The default of `--retry-times`.
const RETRY_TIMES: u32 = 4;

/// Flags of a command that reads from one registry.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Registries")]
pub struct Access {
    #[command(flatten)]
    side: BothSides,
    /// How many times a request that failed temporarily is retried [default: 4].
    #[arg(long, value_name = "N", hide_short_help = true)]
    retry_times: Option<u32>,
}

/// Flags of a copy, for the registry that it reads from, the one that it writes to, or both.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Engines")]
pub struct CopyAccess {
    /// Reach the engine through this command.
    ///
    /// Such as 'ssh HOST docker'; containerd: also takes kind[:CLUSTER], k3s and minikube[:PROFILE].
    #[arg(long, value_name = "COMMAND", overrides_with = "via")]
    via: Option<String>,
    /// containerd's namespace; Kubernetes uses k8s.io.
    #[arg(long, value_name = "NAME", overrides_with = "namespace", hide_short_help = true)]
    namespace: Option<String>,
    /// --via for the source only.
    #[arg(long, value_name = "COMMAND", hide_short_help = true)]
    src_via: Option<String>,
    /// --via for the destination only.
    #[arg(long, value_name = "COMMAND", hide_short_help = true)]
    dest_via: Option<String>,
    /// --namespace for the source only.
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    src_namespace: Option<String>,
    /// --namespace for the destination only.
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    dest_namespace: Option<String>,
    /// The snapshotter of containerd for which the image is unpacked.
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    snapshotter: Option<String>,
    /// The docker daemon to read from, in the form of DOCKER_HOST: unix:///PATH, tcp://HOST:PORT, ssh://HOST.
    #[arg(long, value_name = "HOST", hide_short_help = true, conflicts_with_all = ["via", "src_via"])]
    src_daemon_host: Option<String>,
    /// The docker daemon to write to.
    #[arg(long, value_name = "HOST", hide_short_help = true, conflicts_with_all = ["via", "dest_via"])]
    dest_daemon_host: Option<String>,
    #[command(flatten)]
    both: Access,
    #[command(flatten)]
    source: SourceSide,
    #[command(flatten)]
    destination: DestinationSide,
}

impl Access {
    /// Returns the options for registries with these hosts. Credentials apply to one host, so several hosts are an
    /// error.
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
        Ok(hosts.fold(side.options(self.tries()), Options::with_host))
    }

    /// Omits flags for one registry, or those for all.
    pub fn omit(&mut self, for_host: bool, for_all: bool) {
        self.side.omit(for_host, for_all);
        if for_all {
            self.retry_times = None;
        }
    }

    /// Returns the given flags.
    pub fn given_flags(&self) -> Vec<SideFlag> {
        let mut flags = self.side.side().given_flags();
        if self.retry_times.is_some() {
            flags.push(SideFlag { flag: "--retry-times".to_owned(), side: "", is_for_host: false });
        }
        flags
    }

    /// Returns the maximum number of attempts.
    fn tries(&self) -> u32 {
        self.retry_times.unwrap_or(RETRY_TIMES).saturating_add(1)
    }
}

/// The flags for engines of a copy.
pub struct EngineFlags {
    /// The flags for source and destination.
    pub both: [EngineFlag; 2],
    pub source: [EngineFlag; 3],
    pub destination: [EngineFlag; 4],
}

impl CopyAccess {
    /// Omits flags without an effect. The first argument has whether the source is in a registry, and whether a
    /// registry may be asked for its layers.
    pub fn omit_flags_without_effect(&mut self, (source, may_ask): (bool, bool), destination: bool) {
        self.source.omit(!source, !may_ask);
        self.destination.omit(!destination, !destination);
        self.both.omit(!source && !destination, !may_ask && !destination);
    }

    /// Returns the given flags for registries.
    pub fn given_flags(&self) -> Vec<SideFlag> {
        let sides = [self.source.side(), self.destination.side()];
        self.both.given_flags().into_iter().chain(sides.iter().flat_map(Side::given_flags)).collect()
    }

    /// Returns the flags for engines, and whether each was given.
    pub fn engine_flags(&self) -> EngineFlags {
        fn any(_: &EngineTransport) -> bool {
            true
        }
        fn namespaces(engine: &EngineTransport) -> bool {
            engine.has_namespaces
        }
        fn address(engine: &EngineTransport) -> bool {
            engine.has_address
        }
        EngineFlags {
            both: [("--via", self.via.is_some(), any), ("--namespace", self.namespace.is_some(), namespaces)],
            source: [
                ("--src-via", self.src_via.is_some(), any),
                ("--src-namespace", self.src_namespace.is_some(), namespaces),
                ("--src-daemon-host", self.src_daemon_host.is_some(), address),
            ],
            destination: [
                ("--dest-via", self.dest_via.is_some(), any),
                ("--dest-namespace", self.dest_namespace.is_some(), namespaces),
                ("--snapshotter", self.snapshotter.is_some(), |engine| engine.has_snapshotters),
                ("--dest-daemon-host", self.dest_daemon_host.is_some(), address),
            ],
        }
    }

    /// Returns the options for the source engine.
    pub fn source_engine(&self) -> engine::EngineOptions {
        self.engine(&self.src_via, &self.src_namespace, &self.src_daemon_host)
    }

    /// Returns the options for the destination engine.
    pub fn destination_engine(&self) -> engine::EngineOptions {
        let engine = self.engine(&self.dest_via, &self.dest_namespace, &self.dest_daemon_host);
        engine::EngineOptions { snapshotter: self.snapshotter.clone(), ..engine }
    }

    fn engine(&self, via: &Option<String>, namespace: &Option<String>, host: &Option<String>) -> engine::EngineOptions {
        engine::EngineOptions {
            via: via.as_ref().or(self.via.as_ref()).cloned(),
            namespace: namespace.as_ref().or(self.namespace.as_ref()).cloned(),
            host: host.clone(),
            snapshotter: None,
        }
    }

    /// Returns the options for the registries of source and destination.
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
            let options = side.options(self.both.tries());
            anyhow::Ok(match host {
                Some(host) => options.with_host(side.for_host(host, credentials)),
                None => options,
            })
        };
        let destination_options = resolve(destination_side, destination)?;
        let source_options = resolve(source_side, source)?;
        // An origin in the registry of the source or the destination has the options of that registry.
        let origins = destination.map(|host| destination_options.for_host(host));
        let origins = origins.into_iter().fold(source_options.clone(), Options::with_host);
        Ok(CopyRegistries { source: source_options, destination: destination_options, origins })
    }
}

/// The options for the registries of a copy.
pub struct CopyRegistries {
    pub source: Options,
    pub destination: Options,
    /// For layers of a recipe that are in a registry.
    pub origins: Options,
}

/// Returns the hosts without duplicates.
fn distinct<'a>(hosts: &[&'a str]) -> Vec<&'a str> {
    let mut distinct: Vec<&str> = Vec::new();
    for host in hosts {
        if !distinct.iter().any(|other| HostOptions::new(other).host() == HostOptions::new(host).host()) {
            distinct.push(host);
        }
    }
    distinct
}
