//! Flags that say how registries are reached, as skopeo users know them.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use strata::{
    engine,
    registry::{Credentials, Options},
    source,
};

use super::SubstituterArguments;

/// Of a command that reads from one registry.
#[derive(Clone, Debug, Args)]
pub struct Access {
    /// Log in so. Others can read arguments: stored credentials are better.
    #[arg(long, value_name = "USER:PASSWORD")]
    pub creds: Option<String>,
    /// Where credentials are stored, instead of docker's and podman's places.
    #[arg(long, value_name = "FILE")]
    pub authfile: Option<PathBuf>,
    /// A folder of certificates (*.crt, *.cert, *.key), instead of the usual ones for the host.
    #[arg(long, value_name = "DIR")]
    pub cert_dir: Option<PathBuf>,
    /// Whether the registry's certificate is checked; without, plain HTTP will do too.
    #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set)]
    pub tls_verify: Option<bool>,
}

/// Of a copy: for the registry it reads from, the one it writes to, or both.
#[derive(Clone, Debug, Args)]
pub struct CopyAccess {
    #[command(flatten)]
    both: Access,
    /// As --creds, for the source alone.
    #[arg(long, value_name = "USER:PASSWORD")]
    src_creds: Option<String>,
    /// As --creds, for the destination alone.
    #[arg(long, value_name = "USER:PASSWORD")]
    dest_creds: Option<String>,
    /// As --authfile, for the source alone.
    #[arg(long, value_name = "FILE")]
    src_authfile: Option<PathBuf>,
    /// As --authfile, for the destination alone.
    #[arg(long, value_name = "FILE")]
    dest_authfile: Option<PathBuf>,
    /// As --cert-dir, for the source alone.
    #[arg(long, value_name = "DIR")]
    src_cert_dir: Option<PathBuf>,
    /// As --cert-dir, for the destination alone.
    #[arg(long, value_name = "DIR")]
    dest_cert_dir: Option<PathBuf>,
    /// As --tls-verify, for the source alone.
    #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set)]
    src_tls_verify: Option<bool>,
    /// As --tls-verify, for the destination alone.
    #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set)]
    dest_tls_verify: Option<bool>,
    /// Reach the engine through this command, as in --via 'ssh HOST docker'; for containerd: also kind[:CLUSTER], k3s
    /// and minikube[:PROFILE].
    #[arg(long, value_name = "COMMAND", overrides_with = "via")]
    via: Option<String>,
    /// containerd's namespace; k8s.io is that of Kubernetes.
    #[arg(long, value_name = "NAME", overrides_with = "namespace")]
    namespace: Option<String>,
    /// As --via, for the source alone.
    #[arg(long, value_name = "COMMAND")]
    src_via: Option<String>,
    /// As --via, for the destination alone.
    #[arg(long, value_name = "COMMAND")]
    dest_via: Option<String>,
    /// As --namespace, for the source alone.
    #[arg(long, value_name = "NAME")]
    src_namespace: Option<String>,
    /// As --namespace, for the destination alone.
    #[arg(long, value_name = "NAME")]
    dest_namespace: Option<String>,
}

impl Access {
    /// The options of a client.
    pub fn options(&self) -> Result<Options> {
        let credentials = match self.creds.as_deref().map(|text| text.split_once(':')) {
            None => None,
            Some(Some((user, password))) => Some(Credentials::Basic(user.to_owned(), password.to_owned())),
            Some(None) => bail!("the credentials have no colon; write them like USER:PASSWORD"),
        };
        Ok(Options {
            credentials,
            auth_file: self.authfile.clone(),
            certificates: self.cert_dir.clone(),
            insecure: self.tls_verify.map(|verify| !verify),
            ..Options::default()
        })
    }

    /// How a source is reached.
    pub fn source(&self) -> Result<source::Access> {
        SubstituterArguments::default().access(self.options()?)
    }
}

impl CopyAccess {
    /// For the registry that is read from.
    pub fn source(&self) -> Result<Options> {
        self.of(&self.src_creds, &self.src_authfile, &self.src_cert_dir, self.src_tls_verify)
    }

    /// For the engine that is read from.
    pub fn source_engine(&self) -> engine::Options {
        self.engine(&self.src_via, &self.src_namespace)
    }

    /// For the engine that is written to.
    pub fn destination_engine(&self) -> engine::Options {
        self.engine(&self.dest_via, &self.dest_namespace)
    }

    fn engine(&self, via: &Option<String>, namespace: &Option<String>) -> engine::Options {
        engine::Options {
            via: via.as_ref().or(self.via.as_ref()).cloned(),
            namespace: namespace.as_ref().or(self.namespace.as_ref()).cloned(),
        }
    }

    /// For the registry that is written to.
    pub fn destination(&self) -> Result<Options> {
        self.of(&self.dest_creds, &self.dest_authfile, &self.dest_cert_dir, self.dest_tls_verify)
    }

    fn of(
        &self,
        creds: &Option<String>,
        authfile: &Option<PathBuf>,
        cert_dir: &Option<PathBuf>,
        tls_verify: Option<bool>,
    ) -> Result<Options> {
        Access {
            creds: creds.clone().or_else(|| self.both.creds.clone()),
            authfile: authfile.clone().or_else(|| self.both.authfile.clone()),
            cert_dir: cert_dir.clone().or_else(|| self.both.cert_dir.clone()),
            tls_verify: tls_verify.or(self.both.tls_verify),
        }
        .options()
    }
}
