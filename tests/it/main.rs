//! Tests of the public API, of the program, and of internals (src/internals.rs), in one binary: linking is most of the time
//! that a test takes to build. tests/attacks and tests/registries need programs of the machine and are binaries of their own;
//! tests/pages.rs reads pages that the package's source leaves out.

mod api;
mod command_line;
mod commands;
mod golden;
mod graph;
mod hostile;
mod hostile_layers;
mod kills;
mod language;
mod layering;
mod layouts;
mod library;
mod messages;
mod modules;
mod readers;
mod reports;
mod tar_headers;
mod transports;
mod tree;
mod words;
