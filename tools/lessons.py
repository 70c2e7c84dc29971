"""Run the lessons and build the book, so that nothing stale is ever published.

Each notebook stores a key over its code cells, what they import of vglib, the records that they
name and the pinned versions. A notebook whose key does not match is run again: by `book` into
_build/source, by `refresh` in place.

    python tools/lessons.py book [--fresh]
    python tools/lessons.py refresh [--fresh]
    python tools/lessons.py budget
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from base64 import b64decode, b64encode
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "_build" / "source"
BOOK_FILES = [
    "_config.yml",
    "_toc.yml",
    "references.bib",
    "CHANGELOG.md",
    "book",
    "lessons",
]
README_PICTURE = ("causes/depth", "fig-depth-profiles", "book/static/front.png")
LESSON_SECONDS = 300  # a run that takes longer hangs


def lessons():
    """Every lesson of the repository, in the order of their paths."""
    paths = sorted((ROOT / "lessons").rglob("*.ipynb"))
    return [path for path in paths if ".ipynb_checkpoints" not in path.parts]


def key(notebook):
    """What the stored outputs of ``notebook`` depend on, as a short hash."""
    cells = [
        [c.source, c.metadata.get("tags", [])] for c in notebook.cells if c.cell_type == "code"
    ]
    digest = sha256(json.dumps(cells).encode())
    code = "".join(source for source, _ in cells)
    records = (ROOT / "vglib" / "records").glob("*.json")
    # Of the claims, outputs show the wordings of those that the code names.
    claims = tomllib.loads((ROOT / "vglib" / "claims.toml").read_text("utf-8"))
    wordings = [claim["wording"] for name, claim in claims.items() if f'"{name}"' in code]
    digest.update(json.dumps(wordings).encode())
    files = imported(code) | set((ROOT / "vglib").glob("*.js"))
    files |= {path for path in records if f'recorded("{path.stem}")' in code}
    for path in [*sorted(files), ROOT / "requirements.txt"]:
        digest.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def imported(code):
    """The files of vglib that ``code`` imports, directly or by way of one another."""
    found, texts = set(), [code]
    while texts:
        for names in re.findall(r"(?:from|import) vglib\b([^\n(]*(?:\([^)]*\))?)", texts.pop()):
            for name in re.findall(r"\w+", names) or ["__init__"]:
                path = ROOT / "vglib" / f"{name}.py"
                if path.is_file() and path not in found:
                    found.add(path)
                    texts.append(path.read_text("utf-8"))
    return found


def is_fresh(notebook):
    """Whether the stored outputs were made from what is here now."""
    stored = notebook.metadata.get("vglib_key"), notebook.metadata.get("vglib_outputs")
    return stored == (key(notebook), outputs_hash(notebook))


def outputs_hash(notebook):
    """A short hash of the stored outputs, so that a run by hand or at another seed shows."""
    outputs = [c.get("outputs", []) for c in notebook.cells if c.cell_type == "code"]
    return sha256(json.dumps(outputs, sort_keys=True).encode()).hexdigest()[:16]


def budget(*, fresh):
    """Run every lesson and print what it took, side by side with what it may take."""
    print("| lesson | seconds (at most 60) | peak memory, MB (at most 1000) |\n|---|---|---|")
    peak = "import resource; resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000"
    for path in lessons():
        notebook = nbformat.read(path, as_version=4)
        notebook.cells.append(nbformat.v4.new_code_cell(peak))
        start = time.perf_counter()
        run(notebook, folder=path.parent)
        seconds = time.perf_counter() - start
        memory = notebook.cells[-1].outputs[0].data["text/plain"]
        print(f"| {path.relative_to(ROOT)} | {seconds:.0f} | {memory} |", flush=True)


def run(notebook, *, folder, seed=0, keep_going=False):
    """Execute ``notebook`` in place, on one thread, at a base seed; live cells keep no output.

    A failing cell raises, unless ``keep_going``.
    """
    made_from = key(notebook)  # before the run: what is edited meanwhile leaves it stale
    environment = os.environ | {"VGLIB_SEED": str(seed), "OMP_NUM_THREADS": "1"}
    environment["TQDM_DISABLE"] = "1"  # a stored progress bar would say nothing
    client = NotebookClient(
        notebook,
        timeout=LESSON_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
        allow_errors=keep_going,
    )
    with client.setup_kernel(env=environment):
        code = [(i, cell) for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
        for index, cell in tqdm(code, unit="cell", leave=False, disable=None, ascii=True):
            client.execute_cell(cell, index)
    for cell in notebook.cells:
        if "live" in cell.metadata.get("tags", []):
            cell.outputs = []
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = smaller(output.data["image/png"])
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = {"name": "python"}  # the rest varies with the machine
    notebook.metadata["vglib_key"] = made_from
    notebook.metadata["vglib_outputs"] = outputs_hash(notebook)


def smaller(png):
    """A base64 PNG in 32 colours, enough for a chart and a third of the bytes."""
    image = (
        Image.open(BytesIO(b64decode(png)))
        .convert("RGB")
        # The default method merges the colours of thin lines.
        .quantize(32, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    )
    buffer = BytesIO()
    image.save(buffer, format="png", optimize=True)
    return b64encode(buffer.getvalue()).decode()


def refresh(*, fresh):
    """Run stale lessons and store their outputs in the tracked notebooks."""
    for path in lessons():
        notebook = nbformat.read(path, as_version=4)
        if is_fresh(notebook) and not fresh:
            print(f"{path.relative_to(ROOT)}: stored outputs are up to date")
            continue
        print(f"{path.relative_to(ROOT)}: running", flush=True)
        run(notebook, folder=path.parent)
        nbformat.write(notebook, path)
    if README_PICTURE:
        (ROOT / README_PICTURE[2]).write_bytes(readme_picture())


def readme_picture():
    """The PNG that the README shows, as a lesson stores it."""
    lesson, figure, _ = README_PICTURE
    notebook = nbformat.read(ROOT / "lessons" / f"{lesson}.ipynb", as_version=4)
    for cell in notebook.cells:
        if cell.metadata.get("mystnb", {}).get("figure", {}).get("name") == figure:
            return b64decode(next(o.data["image/png"] for o in cell.outputs if "data" in o))
    raise ValueError(f"lesson {lesson} has no figure {figure!r}")


def same_sources(one, other):
    return [[c.cell_type, c.source, c.metadata] for c in one.cells] == [
        [c.cell_type, c.source, c.metadata] for c in other.cells
    ]


def stage(*, fresh):
    """Copy the book's sources to _build/source, with the outputs of every lesson up to date."""
    wanted = set()
    for name in BOOK_FILES:
        path = ROOT / name
        files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
        for file in files:
            if {"__pycache__", ".ipynb_checkpoints"} & set(file.parts):
                continue
            target = SOURCE / file.relative_to(ROOT)
            wanted.add(target)
            if file.suffix == ".ipynb":
                stage_lesson(file, target, fresh=fresh)
            elif not target.exists() or target.read_bytes() != file.read_bytes():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)
    for old in [p for p in SOURCE.rglob("*") if p.is_file() and p not in wanted]:
        old.unlink()


def stage_lesson(path, target, *, fresh):
    notebook = nbformat.read(path, as_version=4)
    target.parent.mkdir(parents=True, exist_ok=True)
    staged = nbformat.read(target, as_version=4) if target.exists() else None
    if fresh or not is_fresh(notebook):
        # An earlier build may have run just this notebook already.
        if not fresh and staged and is_fresh(staged) and same_sources(notebook, staged):
            return
        print(f"{path.relative_to(ROOT)}: running", flush=True)
        run(notebook, folder=path.parent)
    if notebook != staged:
        nbformat.write(notebook, target)


def book(*, fresh):
    """Build the HTML book, whole; any warning fails it."""
    stage(fresh=fresh)
    # Sphinx would keep pages and pictures of earlier builds, and take half a build for a whole.
    for folder in ("html", ".doctrees", "figures"):
        shutil.rmtree(ROOT / "_build" / folder, ignore_errors=True)
    command = [
        str(Path(sys.executable).with_name("jupyter-book")),
        "build",
        str(SOURCE),
    ]
    command += ["--path-output", str(ROOT), "--warningiserror", "--quiet"]
    done = subprocess.run(command, cwd=SOURCE)
    if done.returncode != 0:
        sys.exit("The book was not built.")
    print(f"The book is at {ROOT / '_build' / 'html' / 'index.html'}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["book", "refresh", "budget"])
    parser.add_argument("--fresh", action="store_true", help="run every lesson")
    arguments = parser.parse_args()
    {"book": book, "refresh": refresh, "budget": budget}[arguments.action](fresh=arguments.fresh)


if __name__ == "__main__":
    main()
