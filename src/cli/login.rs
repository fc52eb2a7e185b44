//! `strata login HOST` and `strata logout HOST`: credentials stored where docker stores them.

use std::{io::Write, path::PathBuf, process::ExitCode};

use super::{
    prompt::{ask, ask_hidden},
    side::read_password,
};
use crate::terminal;
use crate::{
    oci::Reference,
    transport::registry::{Client, Credentials, HostOptions, Login, Options},
};
use anyhow::{Context, Result, bail, ensure};
use clap::Args;

/// Flags of login.
#[derive(Clone, Debug, Args)]
pub struct LoginArguments {
    /// The registry, `docker.io` for Docker Hub.
    #[arg(value_name = "HOST", default_value = "docker.io")]
    host: String,
    /// The user [default: asked for on the terminal].
    #[arg(short, long, value_name = "USER")]
    username: Option<String>,
    /// The password [default: asked for on the terminal]. Other users can see arguments; prefer --password-stdin.
    #[arg(short, long, value_name = "PASSWORD", conflicts_with = "password_stdin")]
    password: Option<String>,
    /// Read the password from the first line of stdin.
    #[arg(long)]
    password_stdin: bool,
    /// Store credentials in this file instead of docker's.
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
    /// Directory of certificates (*.crt, *.cert, *.key) for this registry.
    #[arg(long, value_name = "DIR")]
    cert_dir: Option<PathBuf>,
    /// Require TLS with a valid certificate; if false, fall back to unencrypted HTTP.
    #[arg(long, value_name = "BOOL", hide_possible_values = true, action = clap::ArgAction::Set)]
    tls_verify: Option<bool>,
}

/// Flags of logout.
#[derive(Clone, Debug, Args)]
pub struct LogoutArguments {
    /// The registry.
    #[arg(value_name = "HOST", default_value = "docker.io")]
    host: String,
    /// Remove credentials from this file instead of docker's.
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
}

pub fn login(arguments: &LoginArguments) -> Result<ExitCode> {
    let host = host(&arguments.host);
    let username = match &arguments.username {
        Some(username) => username.clone(),
        None => ask(&format!("User name at {host}"), "give --username")?,
    };
    ensure!(!username.is_empty(), "no user name is given; use --username");
    let password = match &arguments.password {
        Some(password) => password.clone(),
        None if arguments.password_stdin => read_password(true)?,
        None => ask_hidden(&format!("Password of {username}"), "pipe the password into --password-stdin")?,
    };
    // The repository does not matter, since the ping checks only the user.
    let reference: Reference = format!("{host}/login/check").parse().with_context(|| format!("the registry {host}"))?;
    let credentials = Credentials::with_password(&username, &password).map_err(anyhow::Error::msg)?;
    let given = HostOptions::new(host);
    let insecure = arguments.tls_verify.map(|verify| !verify);
    let given = given.with(Some(credentials), arguments.cert_dir.clone(), insecure);
    let options = Options::default().with_host(given);
    Client::new(&reference, &options)?.ping().with_context(|| format!("logging in to {host}"))?;
    let kept = Login::new(arguments.authfile.as_deref())?.store(host, &username, &password)?;
    writeln!(terminal::stderr(), "logged in to {host}; the password is stored in {kept}")?;
    Ok(ExitCode::SUCCESS)
}

pub fn logout(arguments: &LogoutArguments) -> Result<ExitCode> {
    let host = host(&arguments.host);
    if !Login::new(arguments.authfile.as_deref())?.erase(host)? {
        bail!("not logged in to {host}");
    }
    writeln!(terminal::stderr(), "logged out of {host}")?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the host, even if the user wrote a URL.
fn host(text: &str) -> &str {
    let bare = text.trim_start_matches("https://").trim_start_matches("http://");
    match bare.split('/').next().unwrap_or_default() {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    }
}
