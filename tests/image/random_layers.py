"""Random stacks of layers, and the trees that engines make of them.

random_layers.py make SEED COUNT DIRECTORY    writes DIRECTORY/N.tar, archives of docker; N.json says which directories
                                              every layer describes
random_layers.py tree DESCRIPTION TAR         prints the tree of an exported image, a line each, in order
random_layers.py tree DESCRIPTION DIRECTORY   the same of a mounted one

An image has several stacks of layers, each below a directory of its own. Layers have links, whiteouts, opaque markers, files
over directories, directories over files, and entries whose parents have none. No layer has what engines refuse (a name below
a file of the same layer) or do differently (see the cases in overlay.sh).
"""

import hashlib, io, json, os, random, stat, sys, tarfile

NAMES = "abcd"
STACKS = 12


class Layer:
    """The entries of one layer, and the tree that they are by themselves."""

    def __init__(self, rng, below=()):
        self.below = below
        self.rng, self.entries, self.own, self.explicit = rng, [], {}, set()
        self.hidden, self.opaque, self.attributes = set(), set(), {}

    def resolve(self, parts):
        """The directory that these names lead to in the layer, with those that are missing; None where one is a file."""
        here, left, links = [], list(reversed(parts)), 0
        while left:
            part = left.pop()
            if part == "..":
                here = here[:-1]
                continue
            kind = self.own.get(tuple(here + [part]))
            if kind is None or kind == "directory":
                here.append(part)
            elif kind[0] == "link":
                links += 1
                target = kind[1]
                if links > 8:
                    return None
                if target.startswith("/"):
                    here = []
                left += reversed([name for name in target.split("/") if name])
                # Docker and podman refuse names through links to what the layer lacks.
                if not self.leads_to_directory(here, left):
                    return None
            else:
                return None
        return here

    def leads_to_directory(self, here, left):
        here = list(here)
        for part in reversed(left):
            here = here[:-1] if part == ".." else here + [part]
            if here and self.own.get(tuple(here)) is None:
                return False
        return True

    def add(self, top):
        rng = self.rng
        parts = [top] + [rng.choice(NAMES) for _ in range(rng.choice((1, 1, 2, 2, 3)))]
        directory = self.resolve(parts[:-1])
        if directory is None or len(directory) < 1 or directory[0] != top:
            return
        path = tuple(directory + [parts[-1]])
        # Files below a path that this layer hides are left out, since docker and the specification differ.
        if any(path[:length] in self.hidden for length in range(1, len(path) + 1)):
            return
        kind = rng.choice(("file", "file", "directory", "link", "whiteout", "opaque", "hard"))
        # In the lowest layer they hide nothing, and containerd removes directories of the layer itself.
        if kind in ("whiteout", "opaque") and not self.below:
            return
        if kind == "opaque":
            if self.own.get(path, "directory") != "directory" or path in self.opaque:
                return
            self.opaque.add(path)
            self.parents(path + ("",))
            return self.put("/".join(parts) + "/.wh..wh..opq", "file")
        if path in self.own:
            # An implied directory gets its entry; nothing else occurs twice.
            if kind == "directory" and self.own[path] == "directory" and path not in self.explicit:
                self.explicit.add(path)
                self.put("/".join(parts), kind)
            return
        if kind == "whiteout":
            self.parents(path)
            self.hidden.add(path)
            return self.put("/".join(parts[:-1] + [".wh." + parts[-1]]), "file")
        if kind == "hard":
            files = sorted(path for path, own in self.own.items() if own == "file" and path[0] == top)
            if not files:
                return
            self.parents(path)
            self.own[path] = "file"
            # Both names of a file have its attributes, as in archives of tar.
            target = rng.choice(files)
            self.attributes[path] = self.attributes[target]
            return self.put("/".join(parts), "hard", "/".join(target), self.attributes[target])
        self.parents(path)
        if kind == "link":
            depth = rng.randrange(3)
            target = "/".join([".."] * depth + [rng.choice(NAMES) for _ in range(rng.choice((1, 2)))])
            if rng.random() < 0.4:
                target = "/" + top + "/" + rng.choice(NAMES)
            self.own[path] = ("link", target)
            return self.put("/".join(parts), "link", target)
        self.own[path] = "file" if kind == "file" else "directory"
        if kind == "directory":
            self.explicit.add(path)
        self.put("/".join(parts), kind)
        self.attributes[path] = self.entries[-1][3]

    def parents(self, path):
        for length in range(1, len(path)):
            directory = path[:length]
            if directory in self.own:
                continue
            self.own[directory] = "directory"
            if any(self.is_no_directory(layer, directory) for layer in self.below):
                self.explicit.add(directory)
                self.put("/".join(directory), "directory")

    @staticmethod
    def is_no_directory(layer, path):
        """Whether a lower layer has a link at the path, or something else above it: containerd may fail to look there."""
        above = [path[:length] for length in range(1, len(path))]
        return layer.own.get(path, "directory")[0] == "link" or any(layer.own.get(path, "directory") != "directory" or path in layer.hidden for path in above)

    def put(self, name, kind, target="", attributes=None):
        rng = self.rng
        mode = rng.choice((0o755, 0o700, 0o750, 0o1777) if kind == "directory" else (0o644, 0o600, 0o4755))
        attributes = attributes or (mode, rng.choice((0, 0, 7)), rng.choice((0, 8)))
        slash = "/" if kind == "directory" and rng.random() < 0.5 else ""
        self.entries.append((rng.choice(("", "", "./")) + name + slash, kind, target, attributes, rng.random()))

    def tar(self):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for name, kind, target, (mode, uid, gid), number in self.entries:
                entry = tarfile.TarInfo(name)
                data = b"" if "/.wh." in name or kind != "file" else f"{name} {number}".encode()
                entry.type = {
                    "file": tarfile.REGTYPE, "directory": tarfile.DIRTYPE, "link": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE
                }[kind]
                entry.linkname, entry.size, entry.mtime = target, len(data), 1
                entry.mode, entry.uid, entry.gid = mode, uid, gid
                tar.addfile(entry, io.BytesIO(data))
        return out.getvalue()


def write_image(path, layers):
    """An archive as `docker save` writes it."""
    ids = ["sha256:" + hashlib.sha256(layer).hexdigest() for layer in layers]
    config = {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/none"]}}
    config["rootfs"] = {"type": "layers", "diff_ids": ids}
    name = os.path.basename(path).removesuffix(".tar")
    names = [f"{number}.layer" for number in range(len(layers))]
    manifest = [{"Config": "config.json", "RepoTags": [f"overlay-{name}:t"], "Layers": names}]
    with tarfile.open(path, "w") as archive:
        files = [("config.json", json.dumps(config).encode()), ("manifest.json", json.dumps(manifest).encode())]
        for file_name, data in files + list(zip(names, layers)):
            entry = tarfile.TarInfo(file_name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))


def make(seed, count, directory):
    for number in range(count):
        rng = random.Random(f"{seed} {number}")
        layers = []
        for _ in range(rng.choice((2, 3, 4, 5))):
            layers.append(Layer(rng, tuple(layers)))
        for layer in layers:
            for stack in range(STACKS):
                for _ in range(rng.randrange(9)):
                    layer.add(f"s{stack}")
        # Docker refuses an image whose layer has no entry.
        for layer in layers:
            layer.own[("s0",)] = "directory"
            layer.entries.insert(0, ("s0", "directory", "", (0o755, 0, 0), 0))
            layer.explicit.add(("s0",))
        described = set()
        for path in {path for layer in layers for path in layer.own}:
            of_layers = [layer for layer in layers if layer.own.get(path) == "directory"]
            if all(path in layer.explicit for layer in of_layers):
                described.add("/".join(path))
        write_image(f"{directory}/{number}.tar", [layer.tar() for layer in layers])
        with open(f"{directory}/{number}.json", "w") as out:
            json.dump(sorted(described), out)


def line(name, kind, mode, uid, gid, rest, described):
    # Of directories without an entry engines make what they like.
    attributes = f"{mode:o} {uid} {gid}" if kind != "directory" or name in described else "-"
    if kind == "link":
        attributes = f"{uid} {gid}"
    return f"{name} {kind} {attributes} {rest}".rstrip()


def tree(description, path):
    described = set(json.load(open(description)))
    lines = []
    if os.path.isdir(path):
        for directory, directories, files in os.walk(path):
            for name in directories + files:
                own = os.path.join(directory, name)
                # Linux lists whiteouts of a directory that one layer alone has, and opens none.
                if not os.path.lexists(own):
                    continue
                there, short = os.lstat(own), os.path.relpath(own, path)
                kind = "link" if stat.S_ISLNK(there.st_mode) else "directory" if stat.S_ISDIR(there.st_mode) else "file"
                rest = os.readlink(own) if kind == "link" else open(own).read() if kind == "file" else ""
                lines.append(line(short, kind, stat.S_IMODE(there.st_mode), there.st_uid, there.st_gid, rest, described))
    else:
        with tarfile.open(path) as tar:
            for entry in tar:
                name = os.path.normpath(entry.name.lstrip("/"))
                kind = "link" if entry.issym() else "directory" if entry.isdir() else "file"
                rest = entry.linkname if kind == "link" else tar.extractfile(entry).read().decode() if kind == "file" else ""
                lines.append(line(name, kind, entry.mode & 0o7777, entry.uid, entry.gid, rest, described))
    # What an engine puts into every container is not the image's.
    lines = [text for text in lines if text.startswith("s")and text[1].isdigit()]
    print("\n".join(sorted(lines)))


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(sys.argv[2], int(sys.argv[3]), sys.argv[4])
    else:
        tree(sys.argv[2], sys.argv[3])
