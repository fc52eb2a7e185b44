//! The build log, in the format that users of dockerTools and Makes know.

use crate::{image::DOCKER_LAYERS_LIMIT, terminal::note};
use std::path::Path;

/// The maximum number of store paths in the line of a layer.
const NAMED: usize = 8;

/// Prints `Creating layer 1 from paths: ['/nix/store/…', … and 113 more]`. With `debug = true` the list is complete.
pub fn layer<'a>(number: usize, paths: impl ExactSizeIterator<Item = &'a Path>) {
    note!("Creating layer {number} from paths: {}", short(paths));
}

/// The setting that limits the number of layers above the base image.
#[derive(Clone, Copy, Debug)]
pub enum OwnLayers {
    /// The argument `maxLayers`.
    MaxLayers,
    /// The last step of a layeringPipeline. It limits the layers of store paths, above which there is one more layer.
    Pipeline,
    /// A single layer.
    Single,
}

/// Warns of an image that docker does not load because it has too many layers.
pub fn warn_of_layers(all: usize, base_layers: usize, layer_limit: OwnLayers) {
    if let Some(text) = too_many_layers(all, base_layers, layer_limit) {
        note!("{text}");
    }
}

fn too_many_layers(all: usize, base_layers: usize, layer_limit: OwnLayers) -> Option<String> {
    if all <= DOCKER_LAYERS_LIMIT {
        return None;
    }
    let base = if base_layers == 0 { String::new() } else { format!(", {base_layers} of them the base image's") };
    let room = DOCKER_LAYERS_LIMIT.saturating_sub(base_layers + 1);
    let layer_remedy = match layer_limit {
        OwnLayers::MaxLayers if room > 0 => Some("lower maxLayers".to_owned()),
        OwnLayers::Pipeline if room > 0 => Some(format!("end the layeringPipeline with [ \"limit_layers\" {room} ]")),
        _ => None,
    };
    let base_remedy = (base_layers > 0).then(|| "join layers of the base image".to_owned());
    let remedies: Vec<String> = layer_remedy.into_iter().chain(base_remedy).collect();
    Some(format!(
        "warning: the image has {all} layers{base}, and docker loads at most {DOCKER_LAYERS_LIMIT}; {}",
        remedies.join(", or ")
    ))
}

/// Returns the list, or its beginning.
fn short<'a>(paths: impl ExactSizeIterator<Item = &'a Path>) -> String {
    let more = paths.len().saturating_sub(NAMED);
    let named = list(paths.take(NAMED));
    if more == 0 { named } else { format!("{}, … and {more} more]", named.trim_end_matches(']')) }
}

/// Returns `['/nix/store/…', …]`, in the format of Python.
pub fn list<'a>(paths: impl IntoIterator<Item = &'a Path>) -> String {
    let quoted: Vec<String> = paths.into_iter().map(|path| format!("'{}'", path.display())).collect();
    format!("[{}]", quoted.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_layers_than_docker_loads_are_a_warning() {
        assert_eq!(too_many_layers(125, 100, OwnLayers::MaxLayers), None);
        let has = "warning: the image has 126 layers";
        let end = "and docker loads at most 125";
        let (pipeline, base) = ("end the layeringPipeline with [ \"limit_layers\"", "join layers of the base image");
        for (base_layers, layer_limit, expected) in [
            (0, OwnLayers::MaxLayers, format!("{has}, {end}; lower maxLayers")),
            (
                100,
                OwnLayers::MaxLayers,
                format!("{has}, 100 of them the base image's, {end}; lower maxLayers, or {base}"),
            ),
            (0, OwnLayers::Pipeline, format!("{has}, {end}; {pipeline} 124 ]")),
            (
                100,
                OwnLayers::Pipeline,
                format!("{has}, 100 of them the base image's, {end}; {pipeline} 24 ], or {base}"),
            ),
            // One more layer exceeds the limit.
            (125, OwnLayers::MaxLayers, format!("{has}, 125 of them the base image's, {end}; {base}")),
            (125, OwnLayers::Single, format!("{has}, 125 of them the base image's, {end}; {base}")),
        ] {
            assert_eq!(too_many_layers(126, base_layers, layer_limit).as_ref(), Some(&expected));
        }
    }

    #[test]
    fn long_lists_are_shortened() {
        let paths: Vec<_> = (0..10).map(|number| Path::new(["/a", "/b"][number % 2])).collect();
        assert_eq!(short(paths[..8].iter().copied()), "['/a', '/b', '/a', '/b', '/a', '/b', '/a', '/b']");
        assert_eq!(short(paths.iter().copied()), "['/a', '/b', '/a', '/b', '/a', '/b', '/a', '/b', … and 2 more]");
    }
}
