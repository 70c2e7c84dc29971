"""Run lessons as their readers meet them: alone in an empty folder, with vglib installed.

    python -m tools.alone LESSON … [--python PYTHON] [--freeze FILE]

builds a wheel of vglib, makes a new environment for it, and runs each lesson there, far from the
repository. FILE is what `pip freeze` says elsewhere, on Colab for one: what the lessons need is
installed in those versions. Exits with 1 if a lesson fails.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from tools import lessons as tool

RUNS = ("ipykernel", "nbclient")  # what runs a notebook in the new environment
WHERE = "import vglib; print(vglib.__file__)"


def needed(root):
    """The packages that vglib and its lessons name, without versions."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    names = project["dependencies"] + project["optional-dependencies"]["course"]
    return [re.match(r"[\w-]+", name)[0] for name in names]


def constraints(freeze, names):
    """The lines of ``pip freeze`` that pin ``names``, a wheel's address made a version."""
    found = {}
    for line in freeze.splitlines():
        if match := re.match(r"([\w.-]+)(?:==| @ .*?/\1-)(\d[\d.]*)", line):
            found[match[1].lower()] = match[2].rstrip(".")
    if missing := [name for name in names if name not in found]:
        raise ValueError(f"the frozen packages must have {', '.join(missing)}; they have not")
    return [f"{name}=={found[name]}" for name in names]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", metavar="LESSON")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--freeze", type=Path)
    arguments = parser.parse_args()
    paths = tool.chosen(arguments.names)
    pins = []
    if arguments.freeze:
        pins = constraints(arguments.freeze.read_text("utf-8"), needed(tool.ROOT))
    outside = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    with tempfile.TemporaryDirectory() as work:

        def call(*command, **keywords):
            return subprocess.run(command, cwd=work, env=outside, **keywords)

        python = f"{work}/venv/bin/python"
        call(arguments.python, "-m", "venv", "venv", check=True)
        install = (python, "-m", "pip", "install", "--quiet")
        wheel = (python, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", "wheels")
        call(*wheel, str(tool.ROOT), check=True)
        (built,) = Path(work, "wheels").glob("*.whl")
        call(*install, f"{built}[course]", *RUNS, *pins, check=True)
        call(python, "-c", WHERE, check=True)
        call(python, "-m", "pip", "list", "--format", "freeze", check=True)
        failed = []
        for path in paths:
            folder = Path(work, "alone", path.stem)
            folder.mkdir(parents=True)
            shutil.copy(path, folder)
            execute = "import sys; from nbclient.cli import main; sys.exit(main())"
            done = call(python, "-c", execute, str(folder / path.name))
            print(tool.name_of(path), "failed" if done.returncode else "ran", flush=True)
            failed += [tool.name_of(path)] * bool(done.returncode)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
