#!/usr/bin/env python3
"""fetch.py CACHE [--more DEB…]: download the fixture's Debian packages and index them.

CACHE/debs/*.deb      the packages and what they depend on, kept between runs
CACHE/index.json      units for default.nix: a unit is one store path, made from one or more packages

packages.json groups packages into units under nixpkgs' names; every dependency outside of it is a unit of
its own. Dependencies among units form no cycle: an edge that would close one is dropped, and the build of a
unit fails when a library it needs is then not found. `--more` adds roots, for benchmark closures.
"""
import argparse, glob, hashlib, json, os, re, subprocess, sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Packages that only installation scripts need.
SKIPPED = {"adduser", "debconf", "dpkg", "init-system-helpers", "install-info", "libdebconfclient0", "lsb-base",
           "locales", "media-types", "perl", "perl-base", "libdbd-sqlite3-perl", "libwww-curl-perl", "postgresql-client-common", "postgresql-common", "sensible-utils",
           "ssl-cert", "sysvinit-utils", "ucf", "iproute2", "nix-setup-systemd"}
# The compiler of postgresql's queries: default.nix removes the files that need it.
SKIPPED_FOR = {"postgresql-15": {"libllvm14"}}


def mirror():
    for name in sorted(glob.glob("/etc/apt/sources.list") + glob.glob("/etc/apt/sources.list.d/*")):
        for line in Path(name).read_text().splitlines():
            found = not line.startswith("#") and re.search(r"(https?://\S+/debian)/?(\s|$)", line)
            if found:
                return found[1]
    sys.exit("fetch.py: no Debian mirror in the machine's apt sources")


def suite():
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    return release["VERSION_CODENAME"].strip('"')


class Apt:
    """apt with a state of its own, where nothing is installed, so that every dependency is listed."""

    def __init__(self, cache):
        self.root = cache / "apt"
        for name in ("state/lists/partial", "cache/archives/partial"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        (self.root / "status").touch()
        keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
        (self.root / "sources.list").write_text(f"deb [signed-by={keyring}] {mirror()} {suite()} main\n")
        options = {"Dir::Etc::sourcelist": self.root / "sources.list", "Dir::Etc::sourceparts": "/dev/null",
                   "Dir::State": self.root / "state", "Dir::State::status": self.root / "status",
                   "Dir::Cache": self.root / "cache", "APT::Install-Recommends": "0", "Acquire::Languages": "none",
                   "APT::Sandbox::User": "root", "Debug::NoLocking": "1"}
        self.options = ["-q", "-y"] + [word for key, value in options.items() for word in ("-o", f"{key}={value}")]

    def run(self, *words):
        command = ["apt-get", *self.options, *words]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout

    def download(self, packages):
        if not glob.glob(f"{self.root}/state/lists/*Packages*"):
            self.run("update")
        self.run("--download-only", "install", *packages)
        return sorted((self.root / "cache/archives").glob("*.deb"))


def fields(deb):
    text = subprocess.run(["dpkg-deb", "-f", deb], check=True, stdout=subprocess.PIPE, text=True).stdout
    return dict(re.findall(r"^([A-Za-z-]+): *(.*)$", text, re.M))


def names(value):
    return [[re.sub(r"[ (:].*", "", name.strip()) for name in group.split("|")] for group in value.split(",") if group.strip()]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("cache", type=Path)
    parser.add_argument("--more", nargs="*", default=[])
    arguments = parser.parse_args()
    cache = arguments.cache.resolve()
    key = hashlib.sha256(Path(__file__).read_bytes() + (HERE / "packages.json").read_bytes()
                         + " ".join(arguments.more).encode()).hexdigest()
    index = cache / "index.json"
    if index.exists() and json.loads(index.read_text())["key"] == key:
        return
    groups = json.loads((HERE / "packages.json").read_text())
    roots = [name for group in groups.values() for name in group] + arguments.more
    packages = {}
    for deb in Apt(cache).download(roots):
        info = fields(deb)
        packages[info["Package"]] = {"deb": deb, "info": info}
    provided = {}
    for name, package in packages.items():
        for group in names(package["info"].get("Provides", "")):
            provided.setdefault(group[0], name)
    unit_of = {deb: unit for unit, debs in groups.items() for deb in debs}
    units = {}

    def depends(deb):
        info = packages[deb]["info"]
        for group in names(info.get("Pre-Depends", "")) + names(info.get("Depends", "")):
            for name in group:
                name = name if name in packages else provided.get(name)
                if name and name not in SKIPPED and name not in SKIPPED_FOR.get(deb, ()):
                    yield name
                    break

    def visit(unit, debs, trail):
        if unit in units:
            return
        edges = units[unit] = {"debs": [], "dependencies": []}
        for deb in debs:
            path = packages[deb]["deb"]
            edges["version"] = re.match(r"(?:\d+:)?([A-Za-z0-9.]+)", packages[debs[0]]["info"]["Version"])[1]
            edges["debs"].append({"path": str(path), "name": re.sub(r"[^A-Za-z0-9.+_-]", "_", path.name),
                                  "sha256": hashlib.sha256(path.read_bytes()).hexdigest()})
            for name in depends(deb):
                other = unit_of.get(name, name)
                if other != unit and other not in trail and other not in edges["dependencies"]:
                    edges["dependencies"].append(other)
                    visit(other, groups.get(other, [name]), trail | {unit})

    for unit, debs in groups.items():
        visit(unit, debs, {unit})
    # A package of the fixture is part of a unit of another name.
    more = [unit_of.get(deb, deb) for deb in arguments.more]
    for unit in more:
        visit(unit, groups.get(unit, [unit]), {unit})
    # Everything depends on glibc, also packages that do not declare it.
    for unit, edges in units.items():
        if unit != "glibc" and "glibc" not in edges["dependencies"]:
            edges["dependencies"].append("glibc")
    units["glibc"]["dependencies"] = []
    index.write_text(json.dumps({"key": key, "more": more, "units": units}, indent=1))


main()
