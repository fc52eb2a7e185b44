//! Every flag of a source, with every command that reads images and every kind of source: it changes what is requested, read
//! or printed, or the command refuses it with a message that names it. Each of these commands has all of these flags.

use std::{collections::BTreeSet, fs, sync::Mutex, thread};

use super::{
    bench::{Bench, Outcome},
    table::{Flag, Host, LAYOUT, MULTI, flag, listed},
};

/// A command that reads images.
struct Command {
    line: &'static [&'static str],
    /// Arguments after the image.
    after: &'static [&'static str],
    /// Whether it uses one image of an index, which `--platform` chooses.
    has_platform: bool,
    /// Whether it makes the layers of a recipe; otherwise flags for binary caches hold without having to do anything.
    makes_layers: bool,
}

const fn command(line: &'static [&'static str]) -> Command {
    Command { line, after: &[], has_platform: true, makes_layers: false }
}

fn commands() -> Vec<Command> {
    vec![
        Command { makes_layers: true, ..command(&["stream"]) },
        command(&["explain"]),
        command(&["plan"]),
        command(&["inspect"]),
        command(&["sbom"]),
        Command { after: &[LAYOUT], ..command(&["sbom", "diff"]) },
        Command { after: &[LAYOUT], ..command(&["diff"]) },
        Command { after: &["budget", "--update"], ..command(&["budget"]) },
        Command { has_platform: false, makes_layers: true, ..command(&["verify"]) },
        Command { has_platform: false, ..command(&["serve", "--listen", "127.0.0.1:0"]) },
        command(&["run", "--engine", "podman"]),
        Command { after: &["tests.yaml"], ..command(&["check"]) },
        command(&["compose-mounts", "--service", "x", "--engine", "podman"]),
    ]
}

const SOURCES: [&str; 5] =
    ["containerd:app:1", "containers-storage:app:1", "docker-daemon:app:1", LAYOUT, "image.json"];
const CACHE: &[&str] = &["--substituter", "http://cache.example.com"];

/// The flags that each of the commands has.
fn flags() -> Vec<Flag> {
    let registry = "docker://locked.example.com/app:1";
    vec![
        flag("--via", &["false"]),
        flag("--namespace", &["other"]),
        flag("--daemon-host", &["tcp://127.0.0.1:1"]),
        flag("--platform", &["linux/arm64"]).from(MULTI),
        flag("--creds", &["u:p"]).from(registry),
        flag("--username", &["u", "--password", "p"]).from(registry),
        flag("--password", &["p", "--username", "u"]).from(registry),
        flag("--password-stdin", &["--username", "u"]).from(registry),
        flag("--registry-token", &["t"]).from(registry),
        flag("--no-creds", &[]).with(&["--authfile", "auth.json"]).from(registry),
        flag("--authfile", &["auth.json"]).from(registry),
        flag("--cert-dir", &["certificates"]).at(Host::Untrusted).from("docker://in.example.com/app:1"),
        flag("--tls-verify=true", &[]).from("docker://LOOPBACK/app:1"),
        flag("--retry-times", &["0"]).from("docker://flaky.example.com/app:1"),
        flag("--substituter", &["http://cache.example.com"]).from("image.json"),
        flag("--header", &["X-A: b"]).with(CACHE).from("image.json"),
    ]
}

impl Bench {
    fn run_command(&mut self, command: &Command, source: &str, host: Host, flags: &[&str]) -> Outcome {
        let id = self.begin();
        // Files that the commands take besides an image.
        fs::write(self.world.path("budget"), r#"{"images":{}}"#).unwrap();
        let tests = "schemaVersion: 2.0.0\nfileExistenceTests: [{ name: x, path: /file, shouldExist: true }]\n";
        fs::write(self.world.path("tests.yaml"), tests).unwrap();
        let source = source.replace("LOOPBACK", &self.loopback);
        let before = if command.line[0] == "sbom" && command.line.len() == 1 { flags } else { &[] };
        let arguments = match command.line {
            // Options after the image are the engine's.
            ["run", ..] => [command.line, flags, &[&source]].concat(),
            _ if !before.is_empty() => [command.line, before, &[&source]].concat(),
            line => [line, &[source.as_str()], command.after, flags].concat(),
        };
        self.run_arguments(id, host, &arguments)
    }

    /// Returns the problems of a command's flags, one per line.
    fn check_command(&mut self, command: &Command) -> Vec<String> {
        let mut problems = Vec::new();
        for flag in flags() {
            let is_platform = flag.name == "--platform";
            if is_platform && !command.has_platform {
                continue;
            }
            let is_cache = ["--substituter", "--header"].contains(&flag.name);
            let flag_source = [flag.source].into_iter().filter(|source| !SOURCES.contains(source));
            for source in SOURCES.into_iter().chain(flag_source) {
                let what = format!("{} {source}", command.line.join(" "));
                let key = format!("{what} {} {:?}", flag.host as u8, flag.base);
                let run = |bench: &mut Bench| bench.run_command(command, source, flag.host, &flag.base);
                let baseline = self.baseline(key, run);
                let arguments: Vec<&str> = flag.base.iter().chain(&flag.arguments).copied().collect();
                let outcome = self.run_command(command, source, flag.host, &arguments);
                // An image of one platform is for this machine or no machine; a path may have layers in a registry.
                let is_for_layers = ["--no-creds", "--authfile", "--retry-times"].contains(&flag.name);
                let may_ask = source == "image.json" && is_for_layers;
                let is_unused = is_cache && source == "image.json" && !command.makes_layers;
                // Both commands fail before they choose the image.
                let fails_before = !baseline.succeeded && baseline.effects == outcome.effects;
                // The second image might be a recipe, but is not opened.
                let is_unknown = (is_cache || is_for_layers) && !command.after.is_empty() && fails_before;
                let is_vacuous = may_ask || is_unused || is_unknown || is_platform && (fails_before || source != MULTI);
                problems.extend(flag.judge(&what, is_vacuous, &baseline, &outcome));
            }
        }
        problems
    }
}

#[test]
fn commands_that_read_images_have_every_flag_of_a_source() {
    let missing = |command: &Command| {
        let listed = listed(&command.line[..command.line.len().min(if command.line[0] == "sbom" { 2 } else { 1 })]);
        let flags: BTreeSet<String> =
            flags().iter().map(|flag| flag.name.split('=').next().unwrap().to_owned()).collect();
        let missing: Vec<String> = flags.difference(&listed).cloned().collect();
        let expected: Vec<String> = if command.has_platform { Vec::new() } else { vec!["--platform".to_owned()] };
        (missing != expected).then(|| format!("{}: {missing:?}", command.line.join(" ")))
    };
    let problems: Vec<String> = commands().iter().filter_map(missing).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn every_flag_of_a_source_has_an_effect_or_is_refused() {
    let commands = Mutex::new(commands());
    let problems = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut bench = Bench::new();
                while let Some(command) = { commands.lock().unwrap().pop() } {
                    let found = bench.check_command(&command);
                    problems.lock().unwrap().extend(found);
                }
            });
        }
    });
    let problems = problems.into_inner().unwrap();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// A command that fails with every source would make every error with a flag seem right.
#[test]
fn commands_without_the_flag_are_alike() {
    let mut bench = Bench::new();
    let mut failures = Vec::new();
    for command in commands() {
        for source in [LAYOUT, "docker://in.example.com/app:1"] {
            let what = format!("{} {source}", command.line.join(" "));
            let outcome = bench.baseline(what.clone(), |bench| bench.run_command(&command, source, Host::Open, &[]));
            // An image without store paths has nothing to plan.
            let is_plan = command.line == ["plan"] && outcome.printed.contains("does not record what its store paths");
            if !outcome.succeeded && !is_plan {
                failures.push(format!("{what}: {}", outcome.printed));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
