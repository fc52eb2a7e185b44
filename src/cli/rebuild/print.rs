//! The output of `strata rebuild`.

use std::io::{self, Write};

use anyhow::Result;
use serde_json::json;

use super::differences::Difference;
use crate::{
    attest::rebuild::{ImageSource, Origins},
    closure::StorePath,
    image::Image,
    report::contents::{FileDifference, What},
    terminal::{self, line},
    transport::Location,
};

/// Prints the result of a rebuild.
pub fn rebuilt(
    location: &Location,
    image: &Image,
    source: &ImageSource,
    origins: &Origins,
    differences: &[Difference],
    as_json: bool,
) -> Result<()> {
    let result = if differences.is_empty() { "reproduced" } else { "different" };
    let mut out = terminal::stdout();
    if as_json {
        let report = json!({
            "result": result, "image": image.digest(), "source": source, "paths": origins, "differences": differences,
        });
        serde_json::to_writer_pretty(out.exact(), &report).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        list(&mut out, differences, ["the image", "the rebuild"])?;
        let Origins { rebuilt, fixed, cached, existing } = origins;
        writeln!(
            out,
            "store paths: {} rebuilt, {} with a fixed hash, {} from caches, {} already present",
            rebuilt.len(),
            fixed.len(),
            cached.len(),
            existing.len()
        )?;
        writeln!(out, "{result}: {location} ({})", image.digest())?;
    }
    out.flush()?;
    Ok(())
}

/// Prints differences. `sides` are the names of the two images.
pub fn list(out: &mut impl Write, differences: &[Difference], sides: [&str; 2]) -> io::Result<()> {
    let [one, two] = sides;
    for difference in differences {
        match difference {
            Difference::Inputs(paths) => {
                for changed in &paths.changed {
                    writeln!(out, "{}: {one} has {}, {two} has {}", changed.package, changed.old, changed.new)?;
                }
                paths.removed.iter().try_for_each(|path| writeln!(out, "only in {one}: {path}"))?;
                paths.added.iter().try_for_each(|path| writeln!(out, "only in {two}: {path}"))?;
            }
            Difference::Config(change) => {
                let (old, new) = (line(&change.old.to_string()), line(&change.new.to_string()));
                writeln!(out, "{}: {old} in {one}, {new} in {two}", line(&change.key))?;
            }
            Difference::NarHash { path, provenance, rebuilt } => {
                writeln!(out, "{path}: NAR hash {} in the provenance, {} rebuilt", provenance.hex(), rebuilt.hex())?;
            }
            Difference::StorePath { path, between_local_builds, layers, references, files, omitted } => {
                let count = files.len() + omitted;
                let builds = if *between_local_builds { ", between two builds on this machine" } else { "" };
                writeln!(
                    out,
                    "{path}: {count} {}{}{builds}",
                    plural(count, "file differs", "files differ"),
                    in_layers(layers)
                )?;
                if references.len() > 1 {
                    let names: Vec<&str> = references.iter().map(StorePath::name).collect();
                    writeln!(out, "  referenced by: {}", names.join(" -> "))?;
                }
                file_list(out, files, *omitted, path.as_str(), sides)?;
            }
            Difference::Layer { number, first, second, files, omitted } => {
                let text = |digest: &Option<crate::oci::Digest>| {
                    digest.map_or_else(|| "missing".to_owned(), |digest| digest.to_string())
                };
                writeln!(out, "layer {number}: {} in {one}, {} in {two}", text(first), text(second))?;
                file_list(out, files, *omitted, "", sides)?;
            }
            Difference::Manifest { first, second } => {
                writeln!(out, "the manifest: {first} in {one}, {second} in {two}; media types or annotations differ")?;
            }
            Difference::Blob { number, why } => writeln!(out, "layer {number}: {}", line(why))?,
        }
    }
    Ok(())
}

fn file_list(
    out: &mut impl Write,
    files: &[FileDifference],
    omitted: usize,
    below: &str,
    [one, two]: [&str; 2],
) -> io::Result<()> {
    for FileDifference { file, what } in files {
        let name = file.strip_prefix(below).unwrap_or(file).trim_start_matches('/');
        let name = line(if name.is_empty() { file } else { name });
        match what {
            What::OnlyFirst => writeln!(out, "  {name}: only in {one}")?,
            What::OnlySecond => writeln!(out, "  {name}: only in {two}")?,
            What::Attribute { name: attribute, first, second } => {
                writeln!(out, "  {name}: {attribute} {} in {one}, {} in {two}", line(first), line(second))?;
            }
            What::Bytes { offset, count, first_size, second_size, cause } => {
                let sizes = match first_size == second_size {
                    true => format!("{first_size} bytes"),
                    false => format!("{first_size} bytes in {one}, {second_size} in {two}"),
                };
                writeln!(out, "  {name}: offset {offset}, {count} bytes differ of {sizes}: {}", cause.phrase())?;
            }
        }
    }
    if omitted > 0 {
        writeln!(out, "  and {omitted} more")?;
    }
    Ok(())
}

fn in_layers(layers: &std::collections::BTreeSet<usize>) -> String {
    let numbers: Vec<String> = layers.iter().map(usize::to_string).collect();
    match numbers.as_slice() {
        [] => String::new(),
        [number] => format!(", in layer {number}"),
        numbers => format!(", in layers {}", numbers.join(", ")),
    }
}

fn plural<'a>(count: usize, one: &'a str, many: &'a str) -> &'a str {
    if count == 1 { one } else { many }
}
