"""Set the version in every file that says one: make release VERSION=0.2.0

A release dates the changelog and the citation, and the lessons' first cells install vglib by its
tag. VERSION=0.3.0.dev0 then opens the time up to the next release: the changelog gets a new
heading, the citation has no date, and the first cells install what is on main.
"""

import re
import sys
import tomllib
from datetime import date
from pathlib import Path


def version(root):
    """The version that ``root`` says it is."""
    return tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["version"]


def order(text):
    """A version as a tuple that sorts: 0.2.0.dev0 comes before 0.2.0."""
    match = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)(\.dev0)?", text)
    if not match:
        raise ValueError(f"the version must be like 0.2.0 or 0.3.0.dev0, not {text!r}")
    return *map(int, match.groups()[:3]), match[4] is None


def replaced(path, pattern, new):
    """The text of a file with the one match of ``pattern`` replaced."""
    text, count = re.subn(pattern, new, path.read_text("utf-8"), flags=re.MULTILINE)
    if count != 1:
        raise ValueError(f"{path} must match {pattern!r} once, not {count} times")
    return text


def release(root, new):
    """Set the version ``new`` in every file of ``root`` that says one."""
    if order(new) <= order(version(root)):
        raise ValueError(f"the version must be later than {version(root)}, not {new}")
    today = date.today().isoformat()
    project, citation = root / "pyproject.toml", root / "CITATION.cff"
    changelog = root / "CHANGELOG.md"
    if new.endswith(".dev0"):
        ref, dated = "main", ""
        # An open heading stays; otherwise one goes above that of the last release.
        heading, text = r"^## Unreleased\n\n|(?=^## )", changelog.read_text("utf-8")
        log = re.sub(heading, "## Unreleased\n\n", text, count=1, flags=re.MULTILINE)
    else:
        ref, dated = f"v{new}", f"date-released: {today}\n"
        log = replaced(changelog, r"^## Unreleased$", f"## {new} ({today})")
    said = r"^version: .*\n(date-released: .*\n)?"
    texts = {
        project: replaced(project, r'^version = ".*"$', f'version = "{new}"'),
        citation: replaced(citation, said, f"version: {new}\n{dated}"),
        changelog: log,
    }
    for lesson in sorted((root / "lessons").glob("*/*.ipynb")):
        texts[lesson] = replaced(lesson, r'(git\+https://[^"@]+)@[\w.]+(?=\\")', rf"\1@{ref}")
    # Only now, when every file was as expected.
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: make release VERSION=0.2.0")
    new = sys.argv[1]
    try:
        release(Path(__file__).resolve().parents[1], new)
    except ValueError as error:
        sys.exit(f"release: {error}")
    print(f"The version is {new}. Next: read the diff, make test, and commit.")
    if not new.endswith(".dev0"):
        print(f"Then: git tag v{new} && git push --atomic origin main v{new}")
        print("Then open the next version, as in make release VERSION=0.3.0.dev0, and commit.")
