"""Random layers, and what a kernel is to show of them.

erofs_trees.py make SEED COUNT DIRECTORY     writes DIRECTORY/N.tar, archives of docker with one layer, and DIRECTORY/N.json
erofs_trees.py compare EXPECTED DIRECTORY    compares the mounted layer with what was written
erofs_trees.py tar TAR DIRECTORY             compares a mounted layer with its tar, which strata wrote

Layers have every kind of file, whiteouts, opaque directories, hard links, entries that replace others, long names and
targets, attributes that cross blocks, directories of several blocks, and sizes around blocks.
"""

import hashlib, json, os, random, stat, sys, tarfile

from random_layers import write_image

SIZES = (0, 1, 100, 4031, 4032, 4033, 4095, 4096, 4097, 12288, 65535, 65536, 65537, 300000)
CAPABILITY = "\1\0\0\2\0\4\0\0" + "\0" * 12
KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link", stat.S_IFCHR: "char", stat.S_IFBLK: "block", stat.S_IFIFO: "pipe"}


def name(rng):
    length = rng.choice((1, 1, 2, 3, 8, 30, 254, 255))
    letters = "ab.-_ é\udcff" if length < 100 else "ab"
    text = "".join(rng.choice(letters) for _ in range(length)).encode("utf-8", "surrogateescape")[:255]
    text = text.decode("utf-8", "surrogateescape")
    return "x" + text[1:] if text in (".", "..") or text.startswith(".wh.") or text == "" else text


class Layer:
    def __init__(self, rng):
        self.rng, self.tree, self.entries = rng, {"": implied()}, []
        self.files = 0

    def directories(self):
        return sorted(path for path, node in self.tree.items() if node["kind"] == "directory")

    def add(self):
        rng = self.rng
        directory = rng.choice(self.directories())
        if rng.random() < 0.2:
            directory = (directory + "/" + name(rng)).lstrip("/")
        path = (directory + "/" + name(rng)).lstrip("/")
        kind = rng.choice(("file",) * 6 + ("directory", "directory", "link", "link", "char", "block", "pipe", "hard", "whiteout", "opaque"))
        if any(self.tree.get(above, {"kind": "directory"})["kind"] != "directory" for above in parents(path)) or len(path) > 3000:
            return
        node = self.node(kind)
        if kind == "opaque":
            if self.tree.get(path, node)["kind"] != "directory":
                return
            self.imply(path + "/x")
            self.tree[path]["xattrs"]["trusted.overlay.opaque"] = "y"
            return self.entries.append((path + "/.wh..wh..opq", "file", implied(), ""))
        old = self.tree.get(path)
        if kind == "whiteout":
            if old is not None or len(path.rsplit("/")[-1].encode("utf-8", "surrogateescape")) > 250:
                return
            self.imply(path)
            self.tree[path] = implied() | {"kind": "char", "mode": 0, "device": [0, 0]}
            return self.entries.append(("/".join(path.split("/")[:-1] + [".wh." + path.split("/")[-1]]), "file", implied(), ""))
        if kind == "hard":
            files = sorted(path for path, node in self.tree.items() if node["kind"] in ("file", "pipe", "block"))
            if not files or old is not None:
                return
            target = rng.choice(files)
            self.imply(path)
            file = self.tree[path] = self.tree[target]
            file |= {key: node[key] for key in ("mode", "uid", "gid", "mtime")}
            # The entry of the file has the old attributes.
            file["xattrs"] = file["xattrs"] | node["xattrs"]
            return self.entries.append((path, "hard", node, target))
        if old is not None and old["kind"] == "directory" and kind != "directory":
            return
        self.imply(path)
        if old is not None and kind == "directory":
            opaque = old["xattrs"].get("trusted.overlay.opaque") or old["kind"] == "char" and old["device"] == [0, 0]
            if opaque:
                node["xattrs"]["trusted.overlay.opaque"] = "y"
        self.tree[path] = node
        self.entries.append((path, kind, {**node, "xattrs": {key: value for key, value in node["xattrs"].items() if key != "trusted.overlay.opaque"}}, ""))

    def imply(self, path):
        for above in parents(path):
            node = self.tree.setdefault(above, implied())
            if node["kind"] != "directory":
                raise AssertionError(above)

    def node(self, kind):
        rng = self.rng
        node = implied() | {
            "kind": kind,
            "mode": rng.choice((0o644, 0o600, 0o4755, 0o2755, 0o1777, 0)),
            "uid": rng.choice((0, 1000, 65535, 65536, 4294967294)),
            "gid": rng.choice((0, 100, 4294967294)),
            "mtime": rng.choice((0, 1, 1700000000, 2**31, 2**33)),
        }
        if kind == "file":
            self.files += 1
            node["data"] = [rng.choice(SIZES), self.files]
        if kind == "link":
            length = rng.choice((1, 10, 100, 4000, 4031, 4032, 4033, 4095))
            node |= {"target": "t" * length, "mode": 0o777}
        if kind in ("char", "block"):
            node["device"] = [rng.choice((1, 8, 4095)), rng.choice((0, 3, 255, 256, 1048575))]
        if kind in ("file", "directory") and rng.random() < 0.3:
            for key, value in (("user.short", "v"), ("user.long", "w" * rng.choice((100, 4000, 5000, 20000))), ("trusted.t", ""),
                               ("security.capability", CAPABILITY), ("user." + "n" * 250, "x")):
                if rng.random() < 0.4 and (key != "security.capability" or kind == "file"):
                    node["xattrs"][key] = value
        if kind == "hard" and rng.random() < 0.5:
            node["xattrs"]["trusted.hard"] = "h"
        # The kernel keeps user attributes of links from programs.
        if kind == "link" and rng.random() < 0.5:
            node["xattrs"]["trusted.t"] = "v" * rng.choice((1, 40, 1000, 3900, 4000, 5000))
        return node

    def tar(self):
        import io
        out = io.BytesIO()
        types = {"file": tarfile.REGTYPE, "directory": tarfile.DIRTYPE, "link": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE,
                 "char": tarfile.CHRTYPE, "block": tarfile.BLKTYPE, "pipe": tarfile.FIFOTYPE}
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8", errors="surrogateescape") as tar:
            for path, kind, node, target in self.entries:
                entry = tarfile.TarInfo(path)
                data = content(node) if kind == "file" else b""
                entry.type, entry.size, entry.linkname = types[kind], len(data), target or node.get("target", "")
                entry.mode, entry.uid, entry.gid, entry.mtime = node["mode"], node["uid"], node["gid"], node["mtime"]
                entry.devmajor, entry.devminor = node.get("device", (0, 0))
                entry.pax_headers = {"SCHILY.xattr." + key: value for key, value in node["xattrs"].items()}
                tar.addfile(entry, io.BytesIO(data))
        return out.getvalue()


def parents(path):
    parts = path.split("/")
    return ["/".join(parts[:length]) for length in range(1, len(parts))]


def implied():
    return {"kind": "directory", "mode": 0o755, "uid": 0, "gid": 0, "mtime": 0, "xattrs": {}}


def content(node):
    size, number = node.get("data", (0, 0))
    return (f"{number} ".encode() * (size // 2 + 1))[:size]


def make(seed, count, directory):
    for number in range(count):
        rng = random.Random(f"{seed} {number}")
        layer = Layer(rng)
        for _ in range(rng.choice((1, 10, 60, 120))):
            layer.add()
        if number % 4 == 0:
            layer.imply("wide/x")
            for at in range(rng.choice((150, 199, 500))):
                layer.tree[f"wide/{at}"] = node = layer.node("file") | {"data": [0, 0]}
                layer.entries.append((f"wide/{at}", "file", node, ""))
        write_image(f"{directory}/{number}.tar", [layer.tar()])
        expected = {}
        for path, node in layer.tree.items():
            links = sum(1 for other in layer.tree.values() if other is node)
            expected[path] = described(node, hashlib.sha256(content(node)).hexdigest(), links)
        with open(f"{directory}/{number}.json", "w") as out:
            json.dump(expected, out)


def described(node, digest, links):
    kind = node["kind"]
    rest = digest if kind == "file" else node.get("target") if kind == "link" else node.get("device")
    return [kind, node["mode"], node["uid"], node["gid"], node["mtime"], rest, links if kind != "directory" else None, node["xattrs"]]


def mounted(path):
    there = os.lstat(path)
    kind = KINDS[stat.S_IFMT(there.st_mode)]
    rest = None
    if kind == "file":
        with open(path, "rb") as file:
            rest = hashlib.sha256(file.read()).hexdigest()
    elif kind == "link":
        rest = os.readlink(path)
    elif kind in ("char", "block"):
        rest = [os.major(there.st_rdev), os.minor(there.st_rdev)]
    xattrs = {}
    for key in os.listxattr(path, follow_symlinks=False):
        xattrs[key] = os.getxattr(path, key, follow_symlinks=False).decode()
    links = there.st_nlink if kind != "directory" else None
    if kind == "directory" and there.st_nlink != 2 + sum(entry.is_dir(follow_symlinks=False) for entry in os.scandir(path)):
        raise SystemExit(f"{path} has {there.st_nlink} links")
    return [kind, stat.S_IMODE(there.st_mode), there.st_uid, there.st_gid, int(there.st_mtime), rest, links, xattrs]


def walk(directory):
    found = {"": mounted(directory)}
    for above, directories, files in os.walk(directory):
        for own in directories + files:
            path = os.path.join(above, own)
            found[os.path.relpath(path, directory)] = mounted(path)
    return found


def compare(expected, directory):
    found = walk(directory)
    for path in sorted(expected.keys() | found.keys()):
        if expected.get(path) != found.get(path):
            shown = [str(side.get(path))[:300] for side in (expected, found)]
            raise SystemExit(f"{path[:100]!r}\n  expected {shown[0]}\n  found    {shown[1]}")
    print(len(found), "files are equal")


def from_tar(path):
    kinds = {tarfile.REGTYPE: "file", tarfile.DIRTYPE: "directory", tarfile.SYMTYPE: "link", tarfile.CHRTYPE: "char", tarfile.BLKTYPE: "block", tarfile.FIFOTYPE: "pipe"}
    tree = {}
    with tarfile.open(path, encoding="utf-8", errors="surrogateescape") as tar:
        for entry in tar:
            xattrs = {key.removeprefix("SCHILY.xattr."): value for key, value in entry.pax_headers.items() if key.startswith("SCHILY.xattr.")}
            kind = kinds[entry.type]
            node = {"kind": kind, "mode": entry.mode, "uid": entry.uid, "gid": entry.gid, "mtime": int(entry.mtime), "xattrs": xattrs}
            node |= {"target": entry.linkname, "device": [entry.devmajor, entry.devminor] if kind in ("char", "block") else None}
            digest = hashlib.sha256(tar.extractfile(entry).read()).hexdigest() if kind == "file" else ""
            tree[entry.name.strip("/")] = described(node, digest, 1)
    return tree


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(sys.argv[2], int(sys.argv[3]), sys.argv[4])
    elif sys.argv[1] == "compare":
        compare(json.load(open(sys.argv[2])), sys.argv[3])
    else:
        expected = from_tar(sys.argv[2])
        if len(expected) < 4:
            raise SystemExit("the layer has no files")
        compare(expected, sys.argv[3])
