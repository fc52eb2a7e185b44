"""Random base images, contents and scripts, and a model of the containers that come of them.

random_images.py make DIR COUNT SEED    DIR/N.tar (a base of two layers) and DIR/N.nix (arguments) for each case, DIR/cases.json
random_images.py check DIR N EXPORT     compares a container's files (docker export) with what the model says

An entry is (type, mode, uid, gid, text): types are those of tar (file, dir, link, fifo); text is a file's content or
where a link leads. A tree is a dict of entries by path.
"""
import hashlib, io, json, os, random, re, sys, tarfile

NAMES = "abcd"
LEFT_OUT = {"nix", "proc", "dev", "sys", "etc", ".dockerenv"}  # The engine's own, and the store.


class Clash(Exception):
    """What is refused, or not random contents' business: the case is made again."""


def parent(path):
    return path.rpartition("/")[0]


def below(tree, top):
    return [path for path in tree if path.startswith(top + "/")]


def remove(tree, path):
    for gone in [path, *below(tree, path)]:
        tree.pop(gone, None)


def put(tree, path, entry):
    """As a layer on what is there."""
    if not (entry[0] == "dir" and tree.get(path, ("",))[0] == "dir"):
        remove(tree, path)
    tree[path] = entry


def resolve(tree, path):
    here, left, links = [], path.split("/")[::-1], 0
    while left:
        part = left.pop()
        if part in ("", "."):
            continue
        if part == "..":
            here = here[:-1]
            continue
        entry = tree.get("/".join([*here, part]), ("none",))
        if entry[0] != "link":
            here.append(part)
            continue
        links += 1
        if links > 40:
            return None
        target = entry[4]
        if target.startswith("/"):
            here = []
        left += target.split("/")[::-1]
    return "/".join(here)


def behind(tree, path):
    """The directory that the link at `path` leads to."""
    if tree.get(path, ("",))[0] != "link":
        return None
    to = resolve(tree, path)
    return to if to is not None and (to == "" or tree.get(to, ("",))[0] == "dir") else None


def is_directory(tree, path):
    return path == "" or tree.get(path, ("",))[0] == "dir"


def children(tree, path):
    start = path + "/" if path else ""
    return sorted(at[len(start):] for at in tree if at.startswith(start) and "/" not in at[len(start):])


# Making.


def random_path(r, tree, depth=3):
    """A path whose parent is a directory there."""
    directories = [""] + [path for path, entry in tree.items() if entry[0] == "dir" and path.count("/") < depth - 1]
    return (r.choice(sorted(directories)) + "/" + r.choice(NAMES)).lstrip("/")


def random_layer(r, tree):
    """Entries in order, which are put on `tree`. None in a place that is reached over a link."""
    layer = []
    for _ in range(r.randrange(4, 16)):
        path = random_path(r, tree)
        kind = r.choice(["file", "file", "dir", "dir", "dir", "link", "link", "fifo", "gone"])
        owner = r.choice([(0, 0), (0, 0), (33, 33), (1000, 100)])
        if kind == "gone":
            if path not in tree or any(path == at or at.startswith(path + "/") for at, _ in layer):
                continue
            add_parents(layer, tree, path)
            remove(tree, path)
            layer.append((path, ("gone", 0, 0, 0, "")))
            continue
        if any(at == path or at.startswith(path + "/") or path.startswith(at + "/") and one[0] != "dir" for at, one in layer):
            continue
        if kind == "dir":
            entry = ("dir", r.choice([0o755, 0o755, 0o700, 0o1777, 0o2775]), *owner, "")
        elif kind == "link":
            entry = ("link", 0o777, 0, 0, r.choice(["a", "b", ".", "..", "/a", "/b/c", "/c", "nothing", "../d"]))
        else:
            entry = (kind, r.choice([0o644, 0o755, 0o4755, 0o2711, 0o600, 0o666, 0]), *owner, f"base {path}" if kind == "file" else "")
        add_parents(layer, tree, path)
        put(tree, path, entry)
        layer.append((path, entry))
    return layer


def add_parents(layer, tree, path):
    """As every tool does: docker takes directories that a layer does not have for new ones."""
    parts = path.split("/")
    for above in ("/".join(parts[:count]) for count in range(1, len(parts))):
        if above not in dict(layer):
            layer.append((above, tree[above]))


def tar_of(layer):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path, (kind, mode, uid, gid, text) in layer:
            if kind == "gone":
                path, kind = f"{parent(path)}/.wh.{path.rpartition('/')[2]}".lstrip("/"), "file"
            entry = tarfile.TarInfo(path)
            entry.type = {"file": tarfile.REGTYPE, "dir": tarfile.DIRTYPE, "link": tarfile.SYMTYPE, "fifo": tarfile.FIFOTYPE}[kind]
            entry.mode, entry.uid, entry.gid = mode, uid, gid
            if kind == "link":
                entry.linkname = text
            data = text.encode() if kind == "file" else b""
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def archive_of(layers, to):
    blobs = [tar_of(layer) for layer in layers]
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers",
        "diff_ids": ["sha256:" + hashlib.sha256(blob).hexdigest() for blob in blobs]}}).encode()
    names = [f"layer{at}.tar" for at in range(len(blobs))]
    manifest = json.dumps([{"Config": "config.json", "RepoTags": ["base:t"], "Layers": names}]).encode()
    with tarfile.open(to, "w") as tar:
        for name, data in [("config.json", config), ("manifest.json", manifest), *zip(names, blobs)]:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))


def random_package(r):
    """As Nix has it: no owners, two modes."""
    tree = {}
    for _ in range(r.randrange(2, 9)):
        path = random_path(r, tree)
        if path in tree:
            continue
        kind = r.choice(["file", "file", "dir", "dir", "link"])
        if kind == "file":
            tree[path] = ("file", r.choice([0o444, 0o555]), 0, 0, f"package {path}")
        elif kind == "dir":
            tree[path] = ("dir", 0o755, 0, 0, "")
        else:
            tree[path] = ("link", 0o777, 0, 0, r.choice(["nothing", "a", "b", "../c"]))
    return tree


def script_of_package(tree):
    lines = ["mkdir -p $out"]
    for path, (kind, mode, _, _, text) in tree.items():
        if kind == "dir":
            lines.append(f"mkdir $out/{path}")
        elif kind == "link":
            lines.append(f"ln -s {text} $out/{path}")
        else:
            lines.append(f"printf %s '{text}' > $out/{path}; chmod {mode:o} $out/{path}")
    return "\n".join(lines)


def random_script(r, tree, owners, top):
    """Lines of bash, and what they make of `tree`, in which paths of the script begin at `top`."""
    lines = []
    for _ in range(r.randrange(0, 8)):
        there = sorted(tree)
        plain = [path for path in there if tree[path][0] in ("file", "dir")]
        kind = r.choice(["write", "write", "mkdir", "rm", "chmod", "chown", "link", "mv", "again"])
        path = random_path(r, tree)
        at = top + path
        if kind in ("write", "link", "mkdir"):
            if tree.get(path, ("",))[0] == "dir":
                continue
            remove(tree, path)
            if kind == "write":
                lines.append(f"rm -f {at}; printf %s 'script {path}' > {at}")
                tree[path] = ("file", 0o644, 0, 0, f"script {path}")
            elif kind == "link":
                lines.append(f"rm -f {at}; ln -s b {at}")
                tree[path] = ("link", 0o777, 0, 0, "b")
            else:
                lines.append(f"rm -f {at}; mkdir {at}")
                tree[path] = ("dir", 0o755, 0, 0, "")
        elif kind == "rm" and there:
            path = r.choice(there)
            lines.append(f"rm -rf {top}{path}")
            remove(tree, path)
        elif kind == "again" and plain:
            path = r.choice(plain)
            if tree[path][0] == "dir":
                lines.append(f"rm -rf {top}{path}; mkdir {top}{path}")
                remove(tree, path)
                tree[path] = ("dir", 0o755, 0, 0, "")
        elif kind == "chmod" and plain:
            path = r.choice(plain)
            mode = r.choice([0o755, 0o700] if tree[path][0] == "dir" else [0o644, 0o755, 0o640] + [0o4755, 0o2711] * owners)
            lines.append(f"chmod {mode:o} {top}{path}" if tree[path][0] == "file" else f"chmod 00{mode:o} {top}{path}")
            tree[path] = (tree[path][0], mode, *tree[path][2:])
        elif kind == "chown" and plain and owners:
            path = r.choice([path for path in plain])
            if tree[path][1] & 0o6000:  # The kernel takes them away, fakeroot does not.
                continue
            uid, gid = r.choice([(7, 8), (0, 0), (1000, 1000)])
            lines.append(f"chown {uid}:{gid} {top}{path}")
            tree[path] = (*tree[path][:2], uid, gid, tree[path][4])
        elif kind == "mv" and there:
            source = r.choice(there)
            if path in tree or path == source or path.startswith(source + "/"):
                continue
            lines.append(f"mv {top}{source} {at}")
            for old in [source, *below(tree, source)]:
                tree[path + old[len(source):]] = tree.pop(old)
    return "\n".join(lines)


# The links that the library makes for contents.


def copied(tree, package, keep_dirlinks):
    """Contents copied into a root: over its links to directories; `tree` may be empty."""
    def directory(source, target, inside):
        for name in children(package, source):
            entry(f"{source}/{name}".lstrip("/"), f"{target}/{name}".lstrip("/"), inside)

    def entry(source, target, inside):
        kind = package[source][0]
        to = behind(package, source) if not keep_dirlinks else None
        if to is not None and (to == "" or to in inside or source.startswith(to + "/")):
            raise Clash  # Links in a circle have tests of their own.
        if kind == "dir" or to is not None:
            real = source if to is None else to
            put_behind = behind(tree, target)
            if put_behind is None:
                put(tree, target, ("dir", 0o755, 0, 0, ""))
            directory(real, target if put_behind is None else put_behind, [*inside, real])
        else:
            put(tree, target, package[source])

    directory("", "", [])


def linked(package, base):
    """Contents linked at the root of a layer; directories of the base stay directories."""
    layer = {}

    def directory(source, target, depth):
        if depth > 8:
            raise Clash
        for name in children(package, source):
            entry, at = f"{source}/{name}".lstrip("/"), f"{target}/{name}".lstrip("/")
            to = behind(package, entry)
            if package[entry][0] == "dir":
                layer[at] = ("dir", 0o755, 0, 0, "")
                directory(entry, at, depth + 1)
            elif to is not None and at in base and base[at][0] == "dir":
                if to == "":
                    raise Clash
                layer[at] = ("dir", 0o755, 0, 0, "")
                # The links go over the link, as the package has it.
                for one in children(package, to):
                    if package[f"{to}/{one}"][0] == "dir" or behind(package, f"{to}/{one}") is not None:
                        raise Clash
                    layer[f"{at}/{one}"] = ("link", 0o777, 0, 0, f"@/{entry}/{one}")
            else:
                layer[at] = ("link", 0o777, 0, 0, f"@/{entry}")

    directory("", "", 0)
    return layer


def followed(layer, base):
    """What of a layer stands in place of a link of the base moves behind it."""
    links = [(path, behind(base, path)) for path in sorted(base) if behind(base, path) is not None]
    while True:
        hit = next(((path, to) for path, to in links if layer.get(path, ("",))[0] == "dir"), None)
        if hit is None:
            return
        path, to = hit
        moved = {to + at[len(path):]: layer[at] for at in below(layer, path)}
        moved = {at.lstrip("/"): entry for at, entry in moved.items()}
        remove(layer, path)
        parts = to.split("/") if to else []
        for count in range(1, len(parts) + 1):
            above = "/".join(parts[:count])
            if above not in layer:
                layer[above] = base[above]
            elif layer[above][0] != "dir":
                raise Clash
        for at, entry in moved.items():
            if at in layer and not (layer[at][0] == entry[0] == "dir"):
                raise Clash
            layer.setdefault(at, entry)


def stacked(base, layer):
    tree = dict(base)
    for path in sorted(layer):
        put(tree, path, layer[path])
    return tree


def case(r):
    base, layers = {}, []
    for _ in range(2):
        layers.append(random_layer(r, base))
    package = random_package(r)
    way = r.choice(["root", "root", "copy", "link"])
    arguments = ""
    if way == "link":
        tree = linked(package, base)
        which = r.choice(["extraCommands", "fakeRootCommands"])
        script = random_script(r, tree, which == "fakeRootCommands", "./")
        arguments = f"layers = [ contents ]; {which} = ''{script}'';"
    else:
        keep = r.random() < 0.4
        tree = dict(base) if way == "root" else {}
        copied(tree, package, keep)
        which = "runAsRoot" if way == "root" else "extraCommands"
        script = random_script(r, tree, way == "root", "/" if way == "root" else "./")
        arguments = f"layered = false; layers = [ contents ]; keepContentsDirlinks = {str(keep).lower()}; {which} = ''{script}'';"
    if way != "root":
        followed(tree, base)
        tree = stacked(base, tree)
    return layers, script_of_package(package), arguments, tree


def make(directory, count, seed):
    cases = []
    for at in range(count):
        r = random.Random(f"{seed} {at}")
        while True:
            try:
                layers, package, arguments, tree = case(r)
                break
            except Clash:
                pass
        archive_of(layers, f"{directory}/{at}.tar")
        with open(f"{directory}/{at}.nix", "w") as file:
            file.write(f"""{{ pkgs, strata }}: let contents = pkgs.runCommand "contents" {{ }} ''{package}''; in
strata.makeContainerImage {{ name = "random"; tag = "t{at}"; fromImage = ./{at}.tar; {arguments} }}""")
        cases.append(tree)
    with open(f"{directory}/cases.json", "w") as file:
        json.dump(cases, file)


def check(directory, at, export):
    with open(f"{directory}/cases.json") as file:
        wanted = {path: tuple(entry) for path, entry in json.load(file)[at].items()}
    found = {}
    kinds = {tarfile.REGTYPE: "file", tarfile.DIRTYPE: "dir", tarfile.SYMTYPE: "link", tarfile.FIFOTYPE: "fifo"}
    with tarfile.open(export) as tar:
        for entry in tar:
            path = entry.name.strip("/")
            if not path or path.split("/")[0] in LEFT_OUT:
                continue
            kind = kinds.get(entry.type, "other")
            text = entry.linkname if kind == "link" else tar.extractfile(entry).read().decode() if kind == "file" else ""
            text = re.sub("^/nix/store/[^/]*-contents/", "@/", text)
            found[path] = (kind, entry.mode & 0o7777, entry.uid, entry.gid, text)
    if found == wanted:
        return
    for path in sorted({*found, *wanted}):
        if found.get(path) != wanted.get(path):
            print(f"/{path}: {found.get(path)}; the model says {wanted.get(path)}")
    with open(f"{directory}/{at}.nix") as file:
        sys.exit(f"case {at}: {file.read()}")


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(sys.argv[2], int(sys.argv[3]), sys.argv[4])
    else:
        check(sys.argv[2], int(sys.argv[3]), sys.argv[4])
