//! Attacks on the program: hostile registries, images, projects and documents. One module for each class of attack.

mod images;
mod nix_database;
mod policies;
mod project_configuration;
mod referrers;
mod registry;
mod run;
mod sbom;
