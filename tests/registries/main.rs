//! The registries people have, played from what is written of them: strata itself, run as people run it, against
//! servers with their names and their habits. Each file cites where its registry's behaviour is described.

mod artifact_registry;
mod artifactory;
mod attach;
mod claims;
mod credentials;
mod docker_hub;
mod ecr;
mod fleet_lines;
mod fleets;
mod ghcr;
mod gitlab;
mod harbor;
mod mapping_scene;
mod mappings;
mod mirrors;
mod quay;
mod referrers;
mod store;
mod tables;
mod trouble;
#[allow(dead_code, reason = "shared with tests/attacks, which uses the rest")]
mod world;
mod zot;
