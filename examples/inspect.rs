//! Prints the layers of an image, verifies all of its bytes, and copies it:
//!
//! ```text
//! cargo run --example inspect -- SOURCE [DESTINATION]
//! ```
//!
//! SOURCE and DESTINATION have the syntax of `strata copy`, such as `result`, `oci:DIRECTORY` or `docker://HOST/NAME:TAG`.

use std::{error::Error, io::Write};

use strata::{Destination, Location, ReadOptions, WriteOptions, rehash};

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [source] => run(source, None, &mut std::io::stdout()),
        [source, destination] => run(source, Some(destination), &mut std::io::stdout()),
        _ => Err("usage: inspect SOURCE [DESTINATION]".into()),
    }
}

/// Prints the layers of the image at `source`, and copies the image to `destination`.
pub fn run(source: &str, destination: Option<&str>, out: &mut dyn Write) -> Result<(), Box<dyn Error + Send + Sync>> {
    let opened = source.parse::<Location>()?.open(&ReadOptions::default())?;
    let image = opened.image(None)?;
    writeln!(out, "{} for {}", image.digest(), image.platform)?;
    for layer in &image.layers {
        let (descriptor, paths) = (&layer.descriptor, layer.paths.len());
        writeln!(out, "{}  {} bytes, {paths} store paths", descriptor.digest, descriptor.size)?;
    }
    let problems = rehash(&opened)?.problems;
    for problem in &problems {
        writeln!(out, "problem: {problem}")?;
    }
    if !problems.is_empty() {
        return Err("the image is damaged".into());
    }
    if let Some(destination) = destination {
        let outcome = destination.parse::<Destination>()?.write(&image.into(), &WriteOptions::default())?;
        writeln!(out, "copied {} to {destination}", outcome.digest)?;
    }
    Ok(())
}
