//! The build log, line for line as users of dockerTools and Makes know it.

use crate::{image::DOCKER_LAYERS_LIMIT, terminal::note};
use std::path::Path;

/// Store paths of a layer that its line names.
const NAMED: usize = 8;

/// `Creating layer 1 from paths: ['/nix/store/…', … and 113 more]`; `debug = true` lists them all.
pub fn layer<'a>(number: usize, paths: impl ExactSizeIterator<Item = &'a Path>) {
    note!("Creating layer {number} from paths: {}", short(paths));
}

/// What decides how many layers an image has on top of its base.
#[derive(Clone, Copy, Debug)]
pub enum OwnLayers {
    /// The argument `maxLayers`.
    MaxLayers,
    /// The last step of a layeringPipeline. It limits the layers of store paths, on which there is one more.
    Pipeline,
    /// There is only one.
    Single,
}

/// Warns of an image that docker does not load.
pub fn warn_of_layers(all: usize, of_base: usize, own: OwnLayers) {
    if let Some(text) = too_many_layers(all, of_base, own) {
        note!("{text}");
    }
}

fn too_many_layers(all: usize, of_base: usize, own: OwnLayers) -> Option<String> {
    if all <= DOCKER_LAYERS_LIMIT {
        return None;
    }
    let base = if of_base == 0 { String::new() } else { format!(", {of_base} of them the base image's") };
    let room = DOCKER_LAYERS_LIMIT.saturating_sub(of_base + 1);
    let own_remedy = match own {
        OwnLayers::MaxLayers if room > 0 => Some("lower maxLayers".to_owned()),
        OwnLayers::Pipeline if room > 0 => Some(format!("end the layeringPipeline with [ \"limit_layers\" {room} ]")),
        _ => None,
    };
    let base_remedy = (of_base > 0).then(|| "join layers of the base image".to_owned());
    let remedies: Vec<String> = own_remedy.into_iter().chain(base_remedy).collect();
    Some(format!(
        "warning: the image has {all} layers{base}, and docker loads at most {DOCKER_LAYERS_LIMIT}; {}",
        remedies.join(", or ")
    ))
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
        assert_eq!(too_many_layers(125, 100, OwnLayers::MaxLayers), None);
        let has = "warning: the image has 126 layers";
        let end = "and docker loads at most 125";
        let (pipeline, base) = ("end the layeringPipeline with [ \"limit_layers\"", "join layers of the base image");
        for (of_base, own, expected) in [
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
            // One layer more is one too many.
            (125, OwnLayers::MaxLayers, format!("{has}, 125 of them the base image's, {end}; {base}")),
            (125, OwnLayers::Single, format!("{has}, 125 of them the base image's, {end}; {base}")),
        ] {
            assert_eq!(too_many_layers(126, of_base, own).as_ref(), Some(&expected));
        }
    }

    #[test]
    fn long_lists_are_shortened() {
        let paths: Vec<_> = (0..10).map(|number| Path::new(["/a", "/b"][number % 2])).collect();
        assert_eq!(short(paths[..8].iter().copied()), "['/a', '/b', '/a', '/b', '/a', '/b', '/a', '/b']");
        assert_eq!(short(paths.iter().copied()), "['/a', '/b', '/a', '/b', '/a', '/b', '/a', '/b', … and 2 more]");
    }
}
