//! `strata check --engine`: what a container prints and what the engine's client answers is bounded, secrets are no
//! arguments, and no container is left after an error.

use std::{fs, thread, time::Duration};

use crate::{
    images::tar,
    store::layout,
    world::{ProcessResult, World},
};

/// A client that logs its arguments. Containers have the ID `c1`; `$1` of `fake_CASE` decides what they do.
const PODMAN: &str = r#"
echo "$*" >>"$HOME/log"
case $1 in
create) cat "$HOME/created" 2>/dev/null || echo c1 ;;
start) sh "$HOME/start" ;;
inspect) cat "$HOME/state" ;;
commit) echo committed ;;
ps) [ "$2" = --quiet ] && [ ! -e "$HOME/removed" ] && echo c1 ;;
rm) : >"$HOME/removed" ;;
esac
exit 0
"#;

struct Bench {
    world: World,
    image: String,
}

impl Bench {
    fn new(start: &str, state: &str) -> Self {
        let world = World::new();
        world.program("podman", PODMAN);
        world.file("home/start", start);
        world.file("home/state", state);
        let image = layout(&world, "layout", &tar(&[("x", b"layer")]));
        Self { world, image }
    }

    fn check(&self, tests: &str) -> ProcessResult {
        self.world.file("tests.yaml", format!("schemaVersion: 2.0.0\n{tests}"));
        self.world.run(&["check", &self.image, "tests.yaml", "--engine", "podman"])
    }

    fn log(&self) -> String {
        fs::read_to_string(self.world.path("home/log")).unwrap_or_default()
    }

    /// The lines of the log that create a container.
    fn created(&self) -> Vec<String> {
        self.log().lines().filter(|line| line.starts_with("create ")).map(str::to_owned).collect()
    }
}

#[test]
fn output_of_containers_and_clients_is_bounded() {
    let bench = Bench::new("head -c 200000000 /dev/zero; echo kept >&2", "0 ");
    let tests = "commandTests: [{name: loud, command: x, expectedError: [kept]}]\n";
    bench.check(tests).success();
    // Answers of the client: an error, not a cut text.
    bench.world.file("home/created", vec![b'x'; 70 << 20]);
    bench.check(tests).failure("its output has more than 67108864 bytes");
}

#[test]
fn variables_of_the_machine_are_named_alone_and_set_for_the_command() {
    let mut bench = Bench::new("true", "0 ");
    bench.world.set("TOKEN", "very-secret");
    bench.world.file("env", "# names\nFROM_FILE=1\n");
    bench
        .check(
            "globalEnvVars: [{key: TOKEN, value: global}, {key: FROM_FILE, value: global}, {key: OTHER, value: x}]\n\
             containerRunOptions: {envVars: [TOKEN, UNSET], envFile: env}\ncommandTests:\n- name: t\n  setup: [[before]]\n  \
             command: x\n  teardown: [[after]]\n  envVars: [{key: UNRELATED, value: y}]\n",
        )
        .success();
    let created = bench.created();
    assert_eq!(created.len(), 3, "{created:?}");
    assert!(!bench.log().contains("very-secret"), "{}", bench.log());
    for at in [0, 2] {
        assert!(created[at].contains("--env TOKEN=global") && !created[at].contains("--env-file"), "{}", created[at]);
    }
    let command = &created[1];
    assert!(command.contains("--env-file env") && command.contains("--env TOKEN "), "{command}");
    assert!(command.contains("--env OTHER=x") && command.contains("--env UNRELATED=y"), "{command}");
    assert!(!command.contains("TOKEN=") && !command.contains("FROM_FILE=") && !command.contains("UNSET"), "{command}");
}

#[test]
fn each_command_starts_from_the_files_of_the_one_before() {
    let bench = Bench::new("true", "3 ");
    let result = bench.check(
        "commandTests: [{name: t, setup: [[before]], command: x, exitCode: 3, teardown: [[first], [second]]}]\n",
    );
    let result = result.success();
    for step in ["setup: before", "teardown: first", "teardown: second"] {
        assert!(result.err.contains(&format!("t: {step} ended with status 3")), "{}", result.err);
    }
    assert_eq!(bench.log().lines().filter(|line| line.starts_with("commit ")).count(), 3);
    for (at, command) in bench.created().iter().enumerate() {
        assert_eq!(command.contains(" committed "), at > 0, "{command}");
    }
}

#[test]
fn containers_are_removed_after_an_error() {
    let bench = Bench::new("true", "no status");
    bench.check("commandTests: [{name: t, command: x}]\n").failure("reading the state of a container");
    // The keeper is another process.
    while !bench.world.path("home/removed").exists() {
        thread::sleep(Duration::from_millis(20));
    }
    assert!(bench.log().contains("rm --force --volumes c1"), "{}", bench.log());
}

#[test]
fn results_are_printed_as_junit() {
    let bench = Bench::new("true", "0 ");
    bench
        .world
        .file("tests.yaml", "schemaVersion: 2.0.0\nfileContentTests: [{name: a<b, path: /x, expectedContents: [z]}]\n");
    let mut arguments = vec!["check", &bench.image, "tests.yaml", "--output", "junit"];
    let result = bench.world.run(&arguments);
    assert!(!result.ok, "{}", result.err);
    for part in ["<testsuites failures=\"1\" tests=\"1\"", "<testcase name=\"File Content Test: a&lt;b\"", "<failure>"]
    {
        assert!(result.out.contains(part), "{part}: {} {}", result.out, result.err);
    }
    arguments.push("--json");
    bench.world.run(&arguments).failure("cannot be used with");
}

#[test]
fn tests_without_commands_load_nothing() {
    let bench = Bench::new("true", "0 ");
    bench.check("fileContentTests: [{name: t, path: /x, expectedContents: [layer]}]\n").success();
    assert_eq!(bench.log(), "");
}
