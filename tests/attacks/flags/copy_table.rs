//! The flags of `strata copy`, each with a value that makes a difference.

use super::table::{Flag, Host, LAYOUT, MULTI, flag};

/// Destinations; those of a fleet are a line's own, or come from `--to`.
pub const KINDS: [&str; 12] = [
    "registry",
    "docker-daemon",
    "containerd",
    "containers-storage",
    "oci",
    "oci-archive",
    "docker-archive",
    "dir",
    "erofs-cache",
    "fleet to registry",
    "fleet --to registry",
    "fleet to oci",
];

const FILES: &[&str] = &["oci", "oci-archive", "docker-archive", "dir", "erofs-cache", "fleet to oci"];
const PUSHES: &[&str] = &["registry", "fleet to registry", "fleet --to registry"];
/// Destinations that store manifests as they are.
const NO_PUSHES_WITH_MANIFESTS: &[&str] = &[
    "docker-daemon",
    "containerd",
    "containers-storage",
    "oci",
    "oci-archive",
    "docker-archive",
    "dir",
    "fleet to oci",
];

/// The table. Values are chosen so that the flag makes a difference.
pub fn flags() -> Vec<Flag> {
    let mut flags = vec![
        flag("--additional-tag", &["extra"]),
        flag("--all", &[]).from(MULTI),
        flag("--platform", &["linux/arm64"]).from(MULTI),
        flag("--compression", &["zstd"]),
        flag("--dest-compress-format", &["zstd"]),
        flag("--preserve-digests", &[]).vacuous(NO_PUSHES_WITH_MANIFESTS, "only pushes compress layers"),
        flag("--compression-level", &["9"]),
        flag("--dest-compress-level", &["9"]),
        flag("--lazy", &[]),
        flag("--also", &["zstd:chunked"]),
        flag("--mount-from", &["other/repository"]),
        flag("--cache-from", &["other"]),
        flag("--cache-to", &["cache"]),
        flag("--cache-key", &["no-such-key"]),
        flag("--trust-tags", &[]).vacuous(PUSHES, "tests/registries/mappings.rs has images to trust"),
        flag("--verify-key", &["key.pub"]),
        flag("--signed-as", &["any"])
            .with(&["--verify-key", "key.pub"])
            .vacuous(&KINDS, "tests/attacks/referrers.rs has signatures of other repositories"),
        flag("--quiet", &[]).vacuous(FILES, "nothing is printed"),
        flag("--json", &[]),
        flag("--referrers", &[]).with(&["--preserve-digests"]).from("docker://in.example.com/signed:1"),
        flag("--fleet", &["fleet"])
            .vacuous(&["fleet to registry", "fleet --to registry", "fleet to oci"], "it is a fleet"),
        flag("--to", &["docker://out.example.com/ID/other:1"])
            .vacuous(&["fleet to registry", "fleet to oci"], "the line's own destination comes first"),
        flag("--shard", &["1/1000000"]),
        flag("--shard-wait", &["1"]).with(&["--shard", "1/1"]).vacuous(
            &["fleet to registry", "fleet --to registry", "fleet to oci"],
            "tests/image/fleet.sh has several parts",
        ),
        flag("--journal", &["ID.journal"]),
        flag("--sbom", &["cyclonedx"]),
        flag("--vex", &["team.json"]),
        flag("--provenance", &[]),
        flag("--builder-id", &["urn:x"]).with(&["--provenance"]),
        flag("--flake", &["urn:x"]).with(&["--provenance"]),
        flag("--revision", &["abc"]).with(&["--provenance"]),
        flag("--derivation", &["/nix/store/x.drv"]).with(&["--provenance"]),
        flag("--nix-version", &["2.0"]).with(&["--provenance"]),
        flag("--sign-key", &["key"]),
        flag("--sign-with", &["cat"]),
        flag("--sign-tag", &[]).with(&["--sign-with", "cat"]),
        flag("--via", &["false"]),
        flag("--dest-via", &["false"]),
        flag("--namespace", &["other"]),
        flag("--dest-namespace", &["other"]),
        flag("--snapshotter", &["native"]),
        flag("--dest-daemon-host", &["tcp://127.0.0.1:1"]),
        flag("--src-via", &["false"]).from("containerd:app:1"),
        flag("--src-namespace", &["other"]).from("containerd:app:1"),
        flag("--src-daemon-host", &["tcp://127.0.0.1:1"]).from("docker-daemon:app:1"),
        flag("--retry-times", &["0"]).from(LAYOUT).at(Host::Flaky),
        flag("--substituter", &["http://cache.example.com"]).from("image.json"),
        flag("--nix-node", &[]).from("image.json"),
        flag("--push-closure", &["ssh://cache.example.com"])
            .with(&["--nix-node", "--substituter", "http://cache.example.com"])
            .from("thin.json"),
        // An image that is no flake reference is not built.
        flag("--nix-arg", &["--impure"]),
        flag("--header", &["X-A: b"]).with(&["--substituter", "http://cache.example.com"]).from("image.json"),
        flag("--digestfile", &["ID.digest"]),
        flag("--format", &["v2s2"]),
        flag("--override-arch", &["arm64"]).from(MULTI),
        flag("--override-os", &["windows"]).from(MULTI),
        flag("--override-variant", &["v9"]).from(MULTI),
        flag("--insecure-policy", &[]).vacuous(&KINDS, "strata has no signature policy"),
        flag("--jobs", &["1"]).vacuous(&KINDS, "tests/image/jobs.sh counts threads"),
        flag("--debug", &[]).vacuous(&KINDS, "accepted for skopeo's sake"),
        flag("--prune", &[]),
        flag("--keep", &["oci:kept:t"]).with(&["--prune"]),
        flag("--help", &[]),
    ];
    let side = |name: &'static str, arguments: &[&'static str], base: &[&'static str], host: Host| {
        let bare = flag(name, arguments).with(base).from(LAYOUT).at(host);
        let leak = |prefix: &str, text: &str| -> &'static str { text.replacen("--", prefix, 1).leak() };
        let prefixed = |prefix: &'static str| {
            let arguments: Vec<_> = arguments.iter().map(|text| leak(prefix, text)).collect();
            let base: Vec<_> = base.iter().map(|text| leak(prefix, text)).collect();
            flag(leak(prefix, name), &arguments).with(&base).at(host)
        };
        let source = match host {
            Host::Untrusted => "docker://in.example.com/app:1",
            Host::Locked => "docker://locked.example.com/app:1",
            _ => "docker://LOOPBACK/app:1",
        };
        [bare, prefixed("--dest-").from(LAYOUT), prefixed("--src-").from(source)]
    };
    flags.extend(side("--creds", &["u:p"], &[], Host::Locked));
    flags.extend(side("--username", &["u", "--password", "p"], &[], Host::Locked));
    flags.extend(side("--password", &["p", "--username", "u"], &[], Host::Locked));
    flags.extend(side("--password-stdin", &["--username", "u"], &[], Host::Locked));
    flags.extend(side("--registry-token", &["t"], &[], Host::Locked));
    flags.extend(side("--no-creds", &[], &["--authfile", "auth.json"], Host::Locked));
    flags.extend(side("--authfile", &["auth.json"], &[], Host::Locked));
    flags.extend(side("--cert-dir", &["certificates"], &[], Host::Untrusted));
    flags.extend(side("--tls-verify=true", &[], &[], Host::Loopback));
    flags
}
