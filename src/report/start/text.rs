//! The programs and files that scripts and wrappers name.
//!
//! ```text
//! #! /nix/store/…-bash/bin/bash -e                      the interpreter
//! #!/usr/bin/env -S python3 -u                          the interpreter, and the program python3 in PATH
//! export PATH='/nix/store/…-jq/bin'${PATH:+':'}$PATH    a store path
//! sleep 1 && exec "/nix/store/…-app/bin/app" "$@"       a store path, and the command sleep
//! ```

use std::{collections::HashSet, os::unix::ffi::OsStrExt, path::PathBuf};

use memchr::memmem;

use crate::image::local_store;

/// The first bytes of a script that Linux reads (`BINPRM_BUF_SIZE` in include/uapi/linux/binfmts.h).
const SHEBANG: usize = 256;
/// Names of shells, whose scripts run commands.
const SHELLS: [&str; 6] = ["ash", "bash", "dash", "ksh", "sh", "zsh"];
/// Words before a command.
const BEFORE_COMMANDS: [&str; 12] =
    ["!", "builtin", "command", "do", "elif", "else", "exec", "if", "nohup", "then", "until", "while"];
/// Commands of shells that have programs of the same name, which do not run.
const BUILTINS: [&str; 8] = ["[", "echo", "false", "kill", "printf", "pwd", "test", "true"];

/// The first line of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shebang {
    /// The path of the interpreter.
    pub interpreter: String,
    /// The name of the program that `env` starts.
    pub program: Option<String>,
}

impl Shebang {
    /// Parses the first line of a script as Linux does (fs/binfmt_script.c), and its argument as `env` does.
    pub fn parse(start: &[u8]) -> Option<Self> {
        let line = start.get(..SHEBANG.min(start.len()))?.strip_prefix(b"#!")?;
        let line = std::str::from_utf8(line.split(|&byte| byte == b'\n').next()?).ok()?;
        let mut words = line.split([' ', '\t', '\r']).filter(|word| !word.is_empty());
        let interpreter = words.next()?.to_owned();
        let is_env = base(&interpreter) == "env";
        Some(Self { program: words.find(|word| is_env && is_program(word)).map(str::to_owned), interpreter })
    }

    /// Whether the script is one of a shell.
    pub fn is_shell(&self) -> bool {
        is_shell(self.program.as_deref().unwrap_or(&self.interpreter))
    }
}

/// Whether the program at this path is a shell.
pub fn is_shell(program: &str) -> bool {
    SHELLS.contains(&base(program))
}

/// Whether a word is neither an option nor a variable.
fn is_program(word: &str) -> bool {
    !word.starts_with('-') && !word.contains('=')
}

fn base(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// Returns the paths in the store that a text contains, in order. A path ends where no common character of file names follows.
pub fn store_paths(text: &[u8]) -> Vec<PathBuf> {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"/+-._?=@~%,".contains(byte);
    let (mut paths, mut seen) = (Vec::new(), HashSet::new());
    let mut next = 0;
    let store = [local_store().as_path().as_os_str().as_bytes(), b"/"].concat();
    for start in memmem::find_iter(text, &store) {
        // A path may contain the directory of the store a second time.
        if start < next {
            continue;
        }
        let length = text[start..].iter().position(|byte| !is_part(byte)).unwrap_or(text.len() - start);
        next = start + length;
        let path = String::from_utf8_lossy(&text[start..next]);
        let path = PathBuf::from(path.trim_end_matches(['.', ',', '?', '=', '/']));
        if seen.insert(path.clone()) {
            paths.push(path);
        }
    }
    paths
}

/// Returns the names of the commands in a shell script, in order, as far as they are words at the start of a command.
pub fn commands(script: &str) -> Vec<&str> {
    let (mut names, mut seen) = (Vec::new(), HashSet::new());
    for line in script.lines().map(str::trim_start).filter(|line| !line.starts_with('#')) {
        for command in line.split([';', '|', '&', '(', ')', '{', '}', '`']) {
            let is_command = |word: &&str| !BEFORE_COMMANDS.contains(word) && !is_assignment(word);
            let name = command.split_ascii_whitespace().find(is_command).unwrap_or_default().trim_matches(['"', '\'']);
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"+-._".contains(&byte);
            if !name.is_empty() && name.bytes().all(is_name) && !BUILTINS.contains(&name) && seen.insert(name) {
                names.push(name);
            }
        }
    }
    names
}

fn is_assignment(word: &str) -> bool {
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    word.split_once('=').is_some_and(|(name, _)| is_name(name))
}

/// Returns the command in a program that nixpkgs' makeBinaryWrapper made, from which its C code was generated
/// (pkgs/by-name/ma/makeBinaryWrapper/make-binary-wrapper.sh, docstring).
pub fn binary_wrapper(program: &[u8]) -> Option<&[u8]> {
    let start = memmem::find(program, b"\nmakeCWrapper ")?;
    let length = memmem::find(&program[start + 1..], b"\n\n").unwrap_or(program.len() - start - 1);
    Some(&program[start + 1..start + 1 + length])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_lines_of_scripts_name_interpreters_and_programs() {
        let parse = |line: &str| {
            Shebang::parse(line.as_bytes()).map(|found| (found.interpreter, found.program.unwrap_or_default()))
        };
        let some = |interpreter: &str, program: &str| Some((interpreter.to_owned(), program.to_owned()));
        assert_eq!(parse("#!/bin/sh\n"), some("/bin/sh", ""));
        assert_eq!(parse("#! /nix/store/x/bin/bash -e\necho"), some("/nix/store/x/bin/bash", ""));
        assert_eq!(parse("#!/usr/bin/env python3"), some("/usr/bin/env", "python3"));
        assert_eq!(parse("#!/usr/bin/env -S A=b python3 -u\n"), some("/usr/bin/env", "python3"));
        assert_eq!(parse("#!/usr/bin/env\n"), some("/usr/bin/env", ""));
        for other in ["", "#", "#!", "#!  \n", "\n#!/bin/sh", "\x7fELF"] {
            assert_eq!(parse(other), None, "{other:?}");
        }
        let long = format!("#!/{}", "x".repeat(1000));
        assert_eq!(Shebang::parse(long.as_bytes()).unwrap().interpreter.len(), SHEBANG - 2);
        assert!(Shebang::parse(b"#!/usr/bin/env bash").unwrap().is_shell());
        assert!(!Shebang::parse(b"#!/usr/bin/env perl").unwrap().is_shell());
    }

    #[test]
    fn store_paths_in_texts_end_at_other_characters() {
        let text = "PATH='/nix/store/a/bin:/nix/store/b'${PATH:+':'} exec \"/nix/store/c/bin/.x-wrapped\" /nix/store/b, see /nix/store/d.";
        let found = store_paths(text.as_bytes());
        let expected = ["/nix/store/a/bin", "/nix/store/b", "/nix/store/c/bin/.x-wrapped", "/nix/store/d"];
        assert_eq!(found, expected.map(PathBuf::from));
        assert_eq!(store_paths(b"/nix/store/"), [PathBuf::from("/nix/store")]);
        assert_eq!(store_paths(b"/nix/store/a/nix/store/b"), [PathBuf::from("/nix/store/a/nix/store/b")]);
        assert!(store_paths(b"/nix/stor").is_empty());
    }

    #[test]
    fn commands_are_the_first_words_of_commands() {
        let script = "#!/bin/sh\n# not cat\nset -e\nif test -n \"$x\"; then A=1 sleep 1; fi\nmkdir -p a && \"touch\" a/b | tee c\n\
                      exec \"$@\"\nx=$(date +%s)\nwhile ! nc -z db; do echo no; done\n/nix/store/x/bin/y\n";
        assert_eq!(commands(script), ["set", "sleep", "fi", "mkdir", "touch", "tee", "date", "nc", "done"]);
    }

    #[test]
    fn commands_of_binary_wrappers_are_found() {
        let program = b"\x7fELF\0\0# ---\n# The C-code\n\n\nmakeCWrapper '/nix/store/a/bin/x' \\\n    --prefix 'PATH' ':' '/nix/store/b/bin'\n\n\n# (Use /nix/store/c)\0";
        let found = binary_wrapper(program).unwrap();
        assert_eq!(store_paths(found), ["/nix/store/a/bin/x", "/nix/store/b/bin"].map(PathBuf::from));
        assert!(binary_wrapper(b"makeCWrapper").is_none());
        assert_eq!(binary_wrapper(b"\nmakeCWrapper x").unwrap(), b"makeCWrapper x");
    }
}
