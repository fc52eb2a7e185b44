//! The flags of a source: every command that reads images has them, and opens its images here.
//!
//! ```text
//! ImageArguments    --platform
//!   SourceArguments    --via, --namespace, --daemon-host       engines
//!                      --creds, --tls-verify, --retry-times…   registries
//!                      --substituter, --header                 binary caches, for an image.json
//! ```

use super::{
    access::Access,
    flag_rules::{self, Rule},
    parse::parse_platform,
    side::SideFlag,
    substituters::SubstituterArguments,
};
use crate::{
    image::{Image, Opened},
    oci::Platform,
    transport::{Location, ReadOptions, engine::EngineOptions},
};
use anyhow::{Context, Result};
use clap::Args;

/// Flags for reading images from any source.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Engines")]
pub struct SourceArguments {
    /// Reach the engine through this command.
    ///
    /// Such as 'ssh HOST docker'; containerd: also takes kind[:CLUSTER], k3s and minikube[:PROFILE].
    #[arg(long, value_name = "COMMAND", hide_short_help = true)]
    via: Option<String>,
    /// containerd's namespace; Kubernetes uses k8s.io.
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    namespace: Option<String>,
    /// The docker daemon, in the form of DOCKER_HOST: unix:///PATH, tcp://HOST:PORT, ssh://HOST.
    #[arg(long, value_name = "HOST", hide_short_help = true, conflicts_with = "via")]
    daemon_host: Option<String>,
    #[command(flatten)]
    access: Access,
    #[command(flatten)]
    substituters: SubstituterArguments,
}

/// The flags of a source from which one image is used.
#[derive(Clone, Debug, Default, Args)]
pub struct ImageArguments {
    /// The platform to choose from a multi-platform image.
    ///
    /// OS/ARCH[/VARIANT], such as linux/arm64 or linux/arm/v7.
    #[arg(long, value_name = "OS/ARCH", value_parser = parse_platform)]
    pub platform: Option<Platform>,
    #[command(flatten)]
    pub source: SourceArguments,
}

impl SourceArguments {
    /// Returns the options for opening these images. Flags without an effect on any of them are refused.
    pub fn options(&self, locations: &[&Location]) -> Result<ReadOptions> {
        let hosts: Vec<&str> = locations.iter().filter_map(|location| location.registry_host()).collect();
        flag_rules::check(&names(locations), self.rules(locations))?;
        let options = self.substituters.access(self.access.options(&hosts)?)?;
        let Self { via, namespace, daemon_host, .. } = self.clone();
        Ok(ReadOptions { engine: EngineOptions { via, namespace, host: daemon_host, snapshotter: None }, ..options })
    }

    /// Opens these images.
    pub fn open(&self, locations: &[&Location]) -> Result<Vec<Opened>> {
        let options = self.options(locations)?;
        let opened = locations.iter().map(|location| location.open(&options));
        let opened = opened.collect::<Result<Vec<_>, _>>()?;
        self.check_opened(locations, &opened)?;
        Ok(opened)
    }

    /// Omits flags for one registry if no image is in one, and all other flags for registries and daemons if none is
    /// asked.
    pub fn omit_flags_without_effect(&mut self, has_host: bool, may_ask: bool) {
        self.access.omit(!has_host, !may_ask);
    }

    /// Opens the image at `location` with the options for `named`, the location that the user wrote.
    pub fn open_with(&self, location: &Location, named: &Location, options: &ReadOptions) -> Result<Opened> {
        let opened = location.open(options)?;
        self.check_opened(&[named], std::slice::from_ref(&opened))?;
        Ok(opened)
    }

    /// Refuses flags for binary caches if no layer of these images is made here, and flags for registries if no layer
    /// is in one.
    pub fn check_opened(&self, locations: &[&Location], opened: &[Opened]) -> Result<()> {
        self.substituters.check_opened(&names(locations), opened)?;
        let has_effect = locations.iter().any(|location| location.registry_host().is_some())
            || opened.iter().any(flag_rules::is_recipe);
        let rule = |flag: SideFlag| Rule::new(&flag.flag, true, has_effect, flag_rules::REGISTRIES);
        flag_rules::check(&names(locations), self.access.given_flags().into_iter().map(rule))
    }

    fn rules(&self, locations: &[&Location]) -> Vec<Rule> {
        let engines: Vec<_> = locations.iter().filter_map(|location| location.transport()?.engine()).collect();
        let mut rules = flag_rules::engine_rules(
            &[
                ("--via", self.via.is_some(), |_| true),
                ("--namespace", self.namespace.is_some(), |engine| engine.has_namespaces),
                ("--daemon-host", self.daemon_host.is_some(), |engine| engine.has_address),
            ],
            &engines,
        );
        let has_host = locations.iter().any(|location| location.registry_host().is_some());
        // The images of a flake are recipes.
        let may_ask = locations.is_empty() || locations.iter().any(|location| flag_rules::may_ask_registry(location));
        rules.extend(self.access.given_flags().into_iter().map(|SideFlag { flag, is_for_host, .. }| {
            let has_effect = if is_for_host { has_host } else { may_ask };
            Rule::new(&flag, true, has_effect, flag_rules::REGISTRIES)
        }));
        let may_be_recipe = locations.iter().any(|location| flag_rules::may_be_recipe(location));
        rules.extend(self.substituters.rules(locations.is_empty() || may_be_recipe));
        rules
    }
}

impl ImageArguments {
    /// Opens one image.
    pub fn image(&self, location: &Location) -> Result<Image> {
        let opened = self.source.open(&[location])?;
        Ok(opened[0].image(self.platform.as_ref())?)
    }

    /// Opens two images, which may have different sources.
    pub fn images(&self, old: &Location, new: &Location) -> Result<[(Opened, Image); 2]> {
        let open = |opened: Opened| {
            let image = opened.image(self.platform.as_ref())?;
            anyhow::Ok((opened, image))
        };
        let opened = self.source.open(&[old, new])?;
        let opened: Vec<_> = opened.into_iter().map(open).collect::<Result<_>>()?;
        opened.try_into().ok().context("two images are opened")
    }
}

fn names(locations: &[&Location]) -> String {
    locations.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
