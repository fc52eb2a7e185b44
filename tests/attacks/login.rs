//! `strata login`: passwords that are typed stay hidden, and what is stored is for the user only.

use std::{
    fs,
    io::{Read, Write},
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
    thread,
};

use data_encoding::BASE64;

use crate::world::{Answer, World, text};

const HOST: &str = "registry.example.com";

fn world() -> World {
    let world = World::new();
    world.secret("typed-password", &[HOST]);
    world.host(HOST, |request| match request.basic() {
        Some(_) => Answer::new(200),
        None => Answer::new(401).with("www-authenticate", "Basic"),
    });
    world
}

/// Returns the output on a terminal if these keys are typed, each after its question.
fn typed(world: &World, command: &str, answers: &[(&str, &[u8])]) -> String {
    let strata = env!("CARGO_BIN_EXE_strata");
    // util-linux's script gives the program a terminal.
    let environment = world.command(&[]);
    let mut terminal = Command::new("script");
    terminal.args(["-qec", &format!("{strata} {command}"), "/dev/null"]).current_dir(world.folder.path()).env_clear();
    let variables = environment.get_envs().filter_map(|(name, value)| Some((name, value?)));
    terminal.envs(variables).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = terminal.spawn().unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut shown = String::new();
    let mut buffer = [0; 1024];
    for (question, answer) in answers {
        while !shown.contains(question) {
            let read = stdout.read(&mut buffer).unwrap();
            assert!(read > 0, "the question {question} is not asked: {shown}");
            shown.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
        stdin.write_all(answer).unwrap();
    }
    let rest = thread::spawn(move || {
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).unwrap();
        rest
    });
    child.wait().unwrap();
    drop(stdin);
    shown + &rest.join().unwrap()
}

#[test]
fn a_typed_password_is_not_shown() {
    let world = world();
    let shown = typed(
        &world,
        "login registry.example.com",
        &[("User name", b"me\n"), ("Password of me: ", b"wrong\x15typed-passwore\x7fd\n")],
    );
    assert!(shown.contains("logged in"), "{shown}");
    assert!(!shown.contains("typed-passwor"), "{shown}");
    let stored: serde_json::Value = serde_json::from_str(&text(&world.path("home/.docker/config.json"))).unwrap();
    assert_eq!(stored["auths"][HOST]["auth"], BASE64.encode(b"me:typed-password"));
}

#[test]
fn an_interrupted_login_stores_nothing() {
    let world = world();
    let shown = typed(&world, "login registry.example.com -u me", &[("Password of me: ", b"typed-pass\x03")]);
    assert!(shown.contains("interrupted") && !shown.contains("typed-pass"), "{shown}");
    assert!(world.take_requests().is_empty() && !world.path("home/.docker").exists());
}

#[test]
fn the_directory_of_a_new_configuration_is_private() {
    let world = world();
    world.run(&["login", HOST, "--username", "me", "--password", "typed-password"]).success();
    let mode = |name: &str| fs::metadata(world.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("home/.docker"), mode("home/.docker/config.json")), (0o700, 0o600));
    // A directory that exists keeps its mode.
    fs::set_permissions(world.path("home/.docker"), fs::Permissions::from_mode(0o755)).unwrap();
    world.run(&["login", HOST, "--username", "me", "--password", "typed-password"]).success();
    assert_eq!(mode("home/.docker"), 0o755);
}

#[test]
fn user_names_with_a_colon_are_refused() {
    let world = world();
    for arguments in [
        &["login", HOST, "--username", "a:b", "--password", "typed-password"][..],
        &["manifest", "registry.example.com/app:1", "--username", "a:b", "--password", "typed-password"],
        &["copy", "docker://registry.example.com/app:1", "oci:x:t", "--src-username", "a:b", "--src-password", "x"],
    ] {
        world.run(arguments).failure("colon");
    }
    assert!(world.take_requests().is_empty(), "a request was sent");
}
