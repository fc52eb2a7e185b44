//! The build log, line for line as users of dockerTools and Makes know it.

use crate::{image::DOCKER_LAYERS_LIMIT, terminal::note};
use std::path::Path;

/// Store paths of a layer that its line names.
const NAMED: usize = 8;

/// `Creating layer 1 from paths: ['/nix/store/…', … and 113 more]`; `debug = true` lists them all.
pub fn layer<'a>(number: usize, paths: impl ExactSizeIterator<Item = &'a Path>) {
    note!("Creating layer {number} from paths: {}", short(paths));
}

/// Warns of an image that docker does not load.
pub fn warn_of_layers(all: usize, of_base: usize) {
    if let Some(text) = too_many_layers(all, of_base) {
        note!("{text}");
    }
}

fn too_many_layers(all: usize, of_base: usize) -> Option<String> {
    let base = if of_base == 0 { String::new() } else { format!(", {of_base} of them the base image's") };
    (all > DOCKER_LAYERS_LIMIT).then(|| {
        format!(
            "warning: the image has {all} layers{base}, and docker loads at most {DOCKER_LAYERS_LIMIT}; lower maxLayers, or \
             join layers of the base image"
        )
    })
}

/// The list, or its beginning.
fn short<'a>(paths: impl ExactSizeIterator<Item = &'a Path>) -> String {
    let more = paths.len().saturating_sub(NAMED);
    let named = list(paths.take(NAMED));
    if more == 0 { named } else { format!("{}, … and {more} more]", named.trim_end_matches(']')) }
}

/// `['/nix/store/…', …]`, as Python prints a list.
pub fn list<'a>(paths: impl IntoIterator<Item = &'a Path>) -> String {
    let quoted: Vec<String> = paths.into_iter().map(|path| format!("'{}'", path.display())).collect();
    format!("[{}]", quoted.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_layers_than_docker_loads_are_a_warning() {
        assert_eq!(too_many_layers(125, 100), None);
        let warning = too_many_layers(126, 100).unwrap();
        assert!(
            warning.contains("126 layers, 100 of them the base image's, and docker loads at most 125"),
            "{warning}"
        );
        assert!(!too_many_layers(126, 0).unwrap().contains("base image's"));
    }

    #[test]
    fn long_lists_are_shortened() {
        let paths: Vec<_> = (0..10).map(|number| Path::new(["/a", "/b"][number % 2])).collect();
        assert_eq!(short(paths[..8].iter().copied()), "['/a', '/b', '/a', '/b', '/a', '/b', '/a', '/b']");
        assert_eq!(short(paths.iter().copied()), "['/a', '/b', '/a', '/b', '/a', '/b', '/a', '/b', … and 2 more]");
    }
}
