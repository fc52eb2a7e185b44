//! Attacks on the program: hostile registries, images, projects and documents. One module for each class of attack.

mod ambiguous;
mod answers;
mod caches;
mod credentials;
mod daemons;
mod deadlines;
mod destinations;
mod engine_names;
mod engine_tests;
mod flags;
mod flake_git;
mod fleets;
mod hardening;
mod images;
mod login;
mod memory;
mod nix_database;
mod nix_node;
mod numbers;
mod outside_files;
mod policies;
mod project_configuration;
mod proxies;
mod referrers;
mod registry;
mod run;
mod sbom;
mod serve;
mod sshd;
mod terminal;
mod tls;

#[allow(dead_code, reason = "shared with tests/registries, which uses the rest")]
#[path = "../registries/store.rs"]
mod store;
#[allow(dead_code, reason = "shared with tests/registries, which uses the rest")]
#[path = "../registries/world.rs"]
mod world;
