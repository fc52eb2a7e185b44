//! Attacks on strata, each with what it must not reach.

mod project_configuration;
