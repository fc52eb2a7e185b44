//! The build log, line for line as users of dockerTools and Makes know it.

use std::path::Path;

/// `Creating layer 1 from paths: ['/nix/store/…', …]`
pub fn layer<'a>(number: usize, paths: impl IntoIterator<Item = &'a Path>) {
    eprintln!("Creating layer {number} from paths: {}", list(paths));
}

/// `['/nix/store/…', …]`, as Python prints a list.
pub fn list<'a>(paths: impl IntoIterator<Item = &'a Path>) -> String {
    let quoted: Vec<String> = paths.into_iter().map(|path| format!("'{}'", path.display())).collect();
    format!("[{}]", quoted.join(", "))
}
