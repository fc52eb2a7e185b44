//! Archives, layouts and command lines as other tools write them. One module for each kind.

mod answers;
mod choices;
mod docker_archives;
mod exit_codes;
mod platforms;
mod skopeo_commands;
mod sources;

#[allow(dead_code, reason = "shared with tests/attacks, which uses the rest")]
#[path = "../attacks/images.rs"]
mod images;
#[allow(dead_code, reason = "shared with tests/attacks, which uses the rest")]
#[path = "../attacks/registry.rs"]
mod registry;
#[allow(dead_code, reason = "shared with tests/attacks, which uses the rest")]
#[path = "../attacks/run.rs"]
mod run;
#[allow(dead_code, reason = "shared with tests/registries, which uses the rest")]
#[path = "../registries/world.rs"]
mod world;
