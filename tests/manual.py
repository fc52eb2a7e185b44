"""manual.py: the manual and README as tests read them.

manual.py links ROOT             every relative link and anchor leads somewhere
manual.py messages ROOT          every message that troubleshooting.md explains is in the source
manual.py nix PAGE DIR           PAGE's nix blocks as files in DIR; one is called what its first line says, `# NAME.nix`
manual.py script PAGE            PAGE's console blocks, and the commands of its workflows, as a script: see below

A console block holds `$ COMMAND` lines, each followed by lines of its output, of which `…` stands for anything. The script
calls `step COMMAND EXPECTED` for each.
"""
import re, shlex, subprocess, sys
from pathlib import Path


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", Path(page).read_text(), re.M | re.S)


def anchors(page):
    headings = re.findall(r"^#+ +(.*)$", re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S), re.M)
    # GitHub's anchors have lower case, no punctuation, and dashes for blanks.
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(root):
    wrong = []
    pages = subprocess.run(["git", "-C", root, "ls-files", "*.md"], check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    for name in pages:
        page = Path(root) / name
        text = re.sub(r"^```.*?^```$|`[^`\n]*`", "", page.read_text(), flags=re.M | re.S)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            if not file.exists():
                wrong.append(f"{name}: {target}: no such file")
            elif anchor and anchor not in anchors(file):
                wrong.append(f"{name}: {target}: no such heading")
    for page in (Path(root) / "docs").glob("*.md"):
        if page.name != "README.md" and f"({page.name})" not in (Path(root) / "docs/README.md").read_text():
            wrong.append(f"docs/README.md does not list {page.name}")
    return wrong


def messages(root):
    # A message may be broken over lines in the source.
    source = "".join(path.read_text() for path in (Path(root) / "src").rglob("*.rs"))
    source = re.sub(r"\\\n\s*", "", source)
    headings = re.findall(r"^### `(.*)`$", (Path(root) / "docs/troubleshooting.md").read_text(), re.M)
    return [f"no message has {part!r}" for heading in headings for part in heading.split("…") if part.strip() and part.strip() not in source]


def nix(page, directory):
    for number, block in enumerate(blocks(page, "nix"), 1):
        named = re.match(r"# (\S+\.nix)\n", block)
        (Path(directory) / (named[1] if named else f"{Path(page).stem}-{number}.nix")).write_text(block)


def steps(page):
    import yaml
    for block in blocks(page, "console"):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, _, expected = part.partition("\n")
            yield command, expected
    for block in blocks(page, "yaml"):
        workflow = yaml.safe_load(block)
        for job in list(workflow.get("jobs", {}).values()) or [workflow["image"]]:
            for command in [step["run"] for step in job.get("steps", []) if "run" in step] + job.get("script", []):
                yield command, ""


def main():
    what, *arguments = sys.argv[1:]
    if what == "nix":
        nix(*arguments)
    elif what == "script":
        for command, expected in steps(*arguments):
            print("step", shlex.quote(command), shlex.quote(expected))
    else:
        wrong = {"links": links, "messages": messages}[what](*arguments)
        print("\n".join(wrong))
        sys.exit(bool(wrong))


main()
