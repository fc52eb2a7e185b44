//! `m DIR` on a downloaded project: its `.git/config` and its hooks run nothing.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Command};

use tempfile::TempDir;

/// A project below a git work tree, and a directory in which each program of its configuration leaves a file.
struct Project {
    top: TempDir,
}

impl Project {
    fn new() -> Self {
        let project = Self { top: tempfile::tempdir().unwrap() };
        fs::create_dir_all(project.path("ran")).unwrap();
        for (file, text) in [
            ("project/makes/hello/main.nix", "{ ... }: throw \"not evaluated here\""),
            ("project/other/deep/file", "x"),
            ("project/.gitattributes", "* filter=evil diff=evil"),
        ] {
            fs::create_dir_all(project.path(file).parent().unwrap()).unwrap();
            fs::write(project.path(file), text).unwrap();
        }
        project.git(&["init", "--quiet"]);
        project.git(&["add", "--all"]);
        project.git(&["-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "--quiet", "--message=x"]);
        project
    }

    fn path(&self, below: &str) -> PathBuf {
        self.top.path().join(below)
    }

    fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git").arg("-C").arg(self.path("project")).args(arguments).output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// A command that leaves the file `name`, and fails.
    fn trap(&self, name: &str) -> String {
        format!("touch {}; false", self.path("ran").join(name).display())
    }

    fn set_traps(&self) {
        for key in [
            "core.fsmonitor",
            "core.sshCommand",
            "core.pager",
            "core.askPass",
            "core.gitProxy",
            "core.alternateRefsCommand",
            "core.editor",
            "credential.helper",
            "diff.external",
            "diff.evil.command",
            "diff.evil.textconv",
            "filter.evil.clean",
            "filter.evil.smudge",
            "filter.evil.process",
            "gpg.program",
            "pager.ls-files",
            "hook.evil.command",
            "remote.origin.uploadpack",
            "uploadpack.packObjectsHook",
        ] {
            self.git(&["config", key, &self.trap(key)]);
        }
        self.git(&["config", "alias.ls-files", &format!("!{}", self.trap("alias"))]);
        self.git(&["config", "hook.evil.event", "post-index-change"]);
        for hook in ["post-index-change", "pre-auto-gc", "reference-transaction", "post-checkout"] {
            let file = self.path("project/.git/hooks").join(hook);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, format!("#!/bin/sh\n{}\n", self.trap(hook))).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    /// Has `m` list the project's jobs, up to the evaluation: the only program in its PATH is git.
    fn list_jobs(&self, variables: &[(&str, PathBuf)]) {
        let programs = self.path("programs");
        if !programs.exists() {
            fs::create_dir(&programs).unwrap();
            let path = std::env::var_os("PATH").unwrap();
            let git = std::env::split_paths(&path).map(|directory| directory.join("git")).find(|file| file.exists());
            std::os::unix::fs::symlink(git.unwrap(), programs.join("git")).unwrap();
        }
        let output = Command::new(env!("CARGO_BIN_EXE_strata"))
            .args(["m", "--library", "/nowhere", "--packages", "/nowhere", "--strata", "/nowhere"])
            .arg(self.path("project/makes"))
            .env("PATH", &programs)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .output()
            .unwrap();
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        // git has listed the files by then.
        assert!(message.contains("nix-instantiate is not in PATH"), "{variables:?}: {message}");
    }

    fn programs_that_ran(&self) -> Vec<String> {
        let names = fs::read_dir(self.path("ran")).unwrap().map(|entry| entry.unwrap().file_name());
        names.map(|name| name.to_string_lossy().into_owned()).collect()
    }
}

/// Checks that the repository is hostile: git without strata's settings prints `expected`.
fn assert_armed(project: &Project, expected: &str) {
    let _ = Command::new("git").arg("-C").arg(project.path("project")).args(["ls-files", "-z"]).output().unwrap();
    let ran = project.programs_that_ran();
    assert!(ran.iter().any(|name| name == expected), "{ran:?}");
    for name in ran {
        fs::remove_file(project.path("ran").join(name)).unwrap();
    }
}

#[test]
fn listing_jobs_runs_no_program_of_the_projects_git_configuration() {
    let project = Project::new();
    project.set_traps();
    assert_armed(&project, "core.fsmonitor");
    project.list_jobs(&[]);
    assert_eq!(project.programs_that_ran(), [] as [&str; 0]);
}

/// A configuration file that `.git/config` includes, and that of a work tree (`extensions.worktreeConfig`).
#[test]
fn listing_jobs_runs_no_program_of_included_configuration() {
    let project = Project::new();
    let trap = format!("[core]\n\tfsmonitor = \"{}\"\n", project.trap("included"));
    fs::write(project.path("evil"), trap).unwrap();
    project.git(&["config", "include.path", project.path("evil").to_str().unwrap()]);
    assert_armed(&project, "included");
    project.list_jobs(&[]);
    assert_eq!(project.programs_that_ran(), [] as [&str; 0]);

    let project = Project::new();
    project.git(&["config", "extensions.worktreeConfig", "true"]);
    project.git(&["config", "--worktree", "core.fsmonitor", &project.trap("worktree")]);
    assert_armed(&project, "worktree");
    project.list_jobs(&[]);
    assert_eq!(project.programs_that_ran(), [] as [&str; 0]);
}

/// A sparse index names trees instead of files. One that is missing is fetched from the promisor remote, by a program
/// that the repository names.
#[test]
fn listing_jobs_fetches_no_missing_objects() {
    let project = Project::new();
    project.git(&["sparse-checkout", "init", "--cone", "--sparse-index"]);
    project.git(&["sparse-checkout", "set", "makes"]);
    let tree = project.git(&["rev-parse", "HEAD:other"]);
    fs::remove_file(project.path("project/.git/objects").join(&tree[..2]).join(&tree[2..])).unwrap();
    for (key, value) in [
        ("core.repositoryFormatVersion", "1"),
        ("extensions.partialClone", "origin"),
        ("remote.origin.promisor", "true"),
        ("remote.origin.url", project.top.path().to_str().unwrap()),
        ("remote.origin.uploadpack", &project.trap("uploadpack")),
        ("protocol.file.allow", "always"),
    ] {
        project.git(&["config", key, value]);
    }
    assert_armed(&project, "uploadpack");
    project.list_jobs(&[]);
    assert_eq!(project.programs_that_ran(), [] as [&str; 0]);
}

/// Variables that git sets for its hooks do not point `m` to another repository.
#[test]
fn listing_jobs_reads_the_repository_of_the_project() {
    let (project, other) = (Project::new(), Project::new());
    other.set_traps();
    for (variable, value) in [
        ("GIT_DIR", other.path("project/.git")),
        ("GIT_INDEX_FILE", other.path("nowhere/index")),
        ("GIT_WORK_TREE", other.path("nowhere")),
    ] {
        project.list_jobs(&[(variable, value)]);
    }
    assert_eq!(other.programs_that_ran(), [] as [&str; 0]);
}
