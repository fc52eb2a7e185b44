//! The build log, line for line as users of dockerTools and Makes know it.

use crate::terminal::note;
use std::path::Path;

/// Store paths of a layer that its line names.
const NAMED: usize = 8;

/// `Creating layer 1 from paths: ['/nix/store/…', … and 113 more]`; `debug = true` lists them all.
pub fn layer<'a>(number: usize, paths: impl ExactSizeIterator<Item = &'a Path>) {
    note!("Creating layer {number} from paths: {}", short(paths));
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
    fn long_lists_are_shortened() {
        let paths: Vec<_> = (0..10).map(|number| Path::new(["/a", "/b"][number % 2])).collect();
        assert_eq!(short(paths[..8].iter().copied()), "['/a', '/b', '/a', '/b', '/a', '/b', '/a', '/b']");
        assert_eq!(short(paths.iter().copied()), "['/a', '/b', '/a', '/b', '/a', '/b', '/a', '/b', … and 2 more]");
    }
}
