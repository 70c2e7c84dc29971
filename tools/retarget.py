"""Point everything at another repository: python tools/retarget.py OWNER/NAME

The address stands in pyproject.toml. This replaces it there and wherever it was copied to, the
lessons' first cells included; `make lessons` then refreshes their outputs.
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path


def address(root):
    """The repository that ``root`` says it is, as OWNER/NAME."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project["urls"]["Repository"].removeprefix("https://github.com/")


def pages(repository):
    """Host and path at which GitHub Pages serves a repository's book."""
    owner, name = repository.split("/")
    return f"{owner.lower()}.github.io/{name}"


def retarget(root, new):
    """Replace the address in every tracked text file of ``root``; returns the changed files."""
    if not re.fullmatch(r"[A-Za-z0-9](-?[A-Za-z0-9])*/(?!\.+$)[\w.-]+(?<!\.git)", new):
        raise ValueError(f"the new address must be OWNER/NAME, not {new!r}")
    old = address(root)
    try:
        listed = subprocess.check_output(["git", "-C", str(root), "ls-files", "-z"], text=True)
    except (OSError, subprocess.CalledProcessError):  # no git, or no clone
        listed = ""
    if not listed:
        raise ValueError(
            f"{root} must be a git clone: the address is replaced in the files that git tracks"
        )
    changed = []
    for name in listed.split("\0"):
        path = root / name
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):  # deleted, or a picture
            continue
        replaced = text
        for one, other in ((pages(old), pages(new)), (old, new)):
            # The whole address only: ml/course is no part of html/course.
            whole = rf"(?<![\w.-]){re.escape(one)}(?=\.git\b|\.?(?![\w.-]))"
            replaced = re.sub(whole, other, replaced)
        if replaced != text:
            path.write_text(replaced, encoding="utf-8")
            changed.append(name)
    return changed


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: make retarget TO=OWNER/NAME")
    try:
        print(*retarget(Path(__file__).resolve().parents[1], sys.argv[1]), sep="\n")
    except ValueError as error:
        sys.exit(str(error))
    print("Now run `make lessons`, and look at `git diff`.")
