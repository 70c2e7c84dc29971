"""Run the lessons and build the book, so that nothing stale is ever published.

Each notebook stores a key over what its outputs depend on (keys.py). A notebook whose key does not
match is run again: by `book` into _build/source, by `refresh` in place. `refresh` runs it in other
ARITHMETIC as well and stores the digits that all runs share (outputs.py).

    python -m tools.lessons book [--fresh | --fail-if-stale]
    python -m tools.lessons refresh [--fresh] [LESSON …]
    python -m tools.lessons budget [LESSON …]
"""

import argparse
import copy
import json
import os
import re
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import joblib
import nbformat
from nbclient import NotebookClient
from nbval.plugin import coalesce_streams
from tqdm import tqdm

from tools import kernels, keys, outputs

ROOT = TOOLS = Path(__file__).resolve().parents[1]  # from TOOLS the book's extension imports tools
SOURCE = ROOT / "_build" / "source"
BOOK_FILES = [
    "_config.yml",
    "_toc.yml",
    "references.bib",
    "CHANGELOG.md",
    "book",
    "lessons",
]
BUDGET = "book/budget.json"  # what each lesson took, for the page for teachers
README_PICTURE = ("causes/depth", "fig-depth-profiles", "book/static/front.svg")
FOLDED = {"hide-input", "hide-cell", "remove-cell"}
CELL_SECONDS = 1800  # a cell that takes longer hangs, even on a busy machine

# Other processors round otherwise. These variables make one processor stand for some of them: they
# choose how PyTorch and the libraries beneath it compute.
ARITHMETIC = {
    "plain code": {
        "ATEN_CPU_CAPABILITY": "default",
        "MKL_CBWR": "COMPATIBLE",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
    },
    "plain linear algebra": {"MKL_CBWR": "COMPATIBLE"},
    "plain elementwise code": {"ATEN_CPU_CAPABILITY": "default"},
}
# And random numbers that are off by a unit or so in their last place have the same effect.
NUDGES = (1.0, -1.0, 2.0)
NUDGED = """
import torch

def nudged(draw):
    def nudged_draw(*arguments, **keywords):
        numbers = draw(*arguments, **keywords)
        with torch.no_grad():
            return numbers.mul_(1 + {units} * torch.finfo(numbers.dtype).eps)
    return nudged_draw

for owner, name in [(torch.Tensor, "normal_"), (torch.Tensor, "uniform_"), (torch, "randn")]:
    setattr(owner, name, nudged(getattr(owner, name)))
"""


def lessons():
    """Every lesson of the repository, in the order of their paths."""
    paths = sorted((ROOT / "lessons").rglob("*.ipynb"))
    return [path for path in paths if ".ipynb_checkpoints" not in path.parts]


def chosen(names):
    """The paths of the lessons of these names, or of all."""
    paths = [path for path in lessons() if not names or name_of(path) in names]
    if unknown := set(names) - {name_of(path) for path in paths}:
        sys.exit(f"there is no lesson {min(unknown)!r}; it is named like causes/depth")
    return paths


def key(notebook):
    """What the stored outputs of ``notebook`` depend on, as a short hash."""
    return keys.key(notebook, ROOT)


def is_fresh(notebook):
    """Whether the stored outputs were made from what is here now."""
    stored = notebook.metadata.get("vglib_key"), notebook.metadata.get("vglib_outputs")
    return stored == (key(notebook), outputs_hash(notebook))


def outputs_hash(notebook):
    """A short hash of stored outputs and tolerances, so that a change by hand shows."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    stored = [[c.get("outputs", []), c.metadata.get(outputs.TOLERANCES)] for c in cells]
    return sha256(json.dumps(stored, sort_keys=True).encode()).hexdigest()[:16]


def budget(*, names=()):
    """Run lessons, print what each took beside what it may take, and keep it in BUDGET.

    Seconds are those of the processor, kernel and imports included: a busy machine does not
    lengthen them as it does those of a clock.
    """
    print("| lesson | seconds (at most 60) | peak memory, MB (at most 1000) |\n|---|---|---|")
    took = (
        "import resource\nused = resource.getrusage(resource.RUSAGE_SELF)\n"
        "print(round(used.ru_utime + used.ru_stime), used.ru_maxrss // 1000)"
    )
    for path in chosen(names):
        notebook = nbformat.read(path, as_version=4)
        notebook.cells.append(nbformat.v4.new_code_cell(took))
        run(notebook, folder=path.parent)
        seconds, memory = map(int, notebook.cells[-1].outputs[0].text.split())
        print(f"| {path.relative_to(ROOT)} | {seconds} | {memory} |", flush=True)
        kept = json.loads((ROOT / BUDGET).read_text(encoding="utf-8"))
        kept[name_of(path)] = {"seconds": seconds, "megabytes": memory}
        text = json.dumps(dict(sorted(kept.items())), indent=1)
        (ROOT / BUDGET).write_text(f"{text}\n", encoding="utf-8")


def run(notebook, *, folder, seed=0, keep_going=False, arithmetic=None):
    """Execute ``notebook`` in place, on one thread, at a base seed; live cells keep no output.

    A failing cell raises, unless ``keep_going``. ``arithmetic`` is a name of ARITHMETIC.
    """
    made_from = key(notebook)  # before the run: what is edited meanwhile leaves it stale
    environment = os.environ | {"VGLIB_SEED": str(seed), "OMP_NUM_THREADS": "1"}
    environment |= ARITHMETIC.get(arithmetic, {})
    environment["TQDM_DISABLE"] = "1"  # a stored progress bar would say nothing
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        startup_timeout=CELL_SECONDS,
        kernel_name="python3",
        kernel_manager_class=kernels.Manager,
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
        allow_errors=keep_going,
    )
    kernels.start(client, environment)
    with client.setup_kernel():  # which stops it afterwards
        code = [(i, cell) for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
        for index, cell in tqdm(code, unit="cell", leave=False, disable=None, ascii=True):
            client.execute_cell(cell, index)
    for cell in notebook.cells:
        if "live" in cell.metadata.get("tags", []):
            cell.outputs = []
        if cell.cell_type == "code":
            cell.metadata.pop(outputs.TOLERANCES, None)
            cell.outputs = coalesce_streams(cell.outputs)
    fold(notebook)
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = {"name": "python"}  # the rest varies with the machine
    notebook.metadata["vglib_key"] = made_from
    notebook.metadata["vglib_outputs"] = outputs_hash(notebook)


def fold(notebook):
    """Fold the code of a tagged cell wherever it is read, and of no other cell.

    The tag does it in the book, two other words of the metadata in JupyterLab and on Colab.
    """
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.metadata.pop("jupyter", None)
            cell.metadata.pop("cellView", None)
            if FOLDED & {*cell.metadata.get("tags", [])}:
                cell.metadata |= {"jupyter": {"source_hidden": True}, "cellView": "form"}


def refresh(*, fresh, names=()):
    """Run stale lessons, store the digits that survive in the tracked notebooks, and say so."""
    stale = []
    for path in chosen(names):
        notebook = nbformat.read(path, as_version=4)
        if fresh or not is_fresh(notebook):
            stale.append((path, notebook))
        else:
            print(f"{name_of(path)}: stored outputs are up to date")
    ways = [{}, *({"arithmetic": name} for name in ARITHMETIC), *({"nudge": n} for n in NUDGES)]
    calls = [joblib.delayed(run_copy)(path, nb, **way) for path, nb in stale for way in ways]
    results = joblib.Parallel(n_jobs=-1, prefer="threads", return_as="generator")(calls)
    failed = []
    for path, _ in stale:
        print(f"{name_of(path)}: running, {len(ways)} times", flush=True)
        notebook, *others = [next(results) for _ in ways]
        for cell, versions in outputs.keep_what_survives(notebook, others).items():
            failed.append(f"{name_of(path)}, cell {cell}:\n" + "\n".join(versions))
        notebook.metadata["vglib_outputs"] = outputs_hash(notebook)
        nbformat.write(notebook, path)
    if README_PICTURE:
        (ROOT / README_PICTURE[2]).write_text(readme_picture(), encoding="utf-8")
    if failed:
        sys.exit("Other arithmetic says other words; say what holds in all:\n" + "\n".join(failed))


def run_copy(path, notebook, *, nudge=None, arithmetic=None):
    """A copy of a lesson, run in other ``arithmetic`` or with random numbers nudged."""
    notebook = copy.deepcopy(notebook)
    if nudge:
        first = next(cell for cell in notebook.cells if cell.cell_type == "code")
        first.source = NUDGED.format(units=nudge) + first.source
    run(notebook, folder=path.parent, arithmetic=arithmetic)
    return notebook


def name_of(path):
    """The name of a lesson: its path below lessons/, without the ending."""
    return path.relative_to(ROOT / "lessons").with_suffix("").as_posix()


def readme_picture():
    """The SVG that the README shows: a chart as a lesson stores it, made to stand by itself."""
    lesson, figure, _ = README_PICTURE
    notebook = nbformat.read(ROOT / "lessons" / f"{lesson}.ipynb", as_version=4)
    for cell in notebook.cells:
        if cell.metadata.get("mystnb", {}).get("figure", {}).get("name") == figure:
            return by_itself(next(o.data["text/html"] for o in cell.outputs if "data" in o))
    raise ValueError(f"lesson {lesson} has no figure {figure!r}")


def by_itself(chart):
    """A chart of `vglib.plots` for where no page gives it colours, a background and a size."""
    chart = re.sub(r"var\(--[\w-]+, (#\w+)\)", r"\1", chart).replace("currentColor", "black")
    head, rest = chart.split(">", 1)
    head = re.sub(r' (?:class|style)="[^"]*"', "", head)
    width, height = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', head).groups()
    page = f'<rect width="{width}" height="{height}" fill="white"/>'
    return f'{head} width="{1.7 * float(width):.0f}">{page}{rest}'  # of a README's 830 pixels


def same_sources(one, other):
    def sources(notebook):
        for cell in notebook.cells:
            metadata = {k: v for k, v in cell.metadata.items() if k != outputs.TOLERANCES}
            yield cell.cell_type, cell.source, metadata

    return list(sources(one)) == list(sources(other))


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


def book(*, fresh, fail_if_stale=False):
    """Build the HTML book, whole; any warning fails it."""
    if fail_if_stale:
        notebooks = {name_of(path): nbformat.read(path, as_version=4) for path in lessons()}
        if stale := [name for name, notebook in notebooks.items() if not is_fresh(notebook)]:
            sys.exit(f"Stored outputs are stale, run `make lessons`: {', '.join(stale)}")
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
    path = os.pathsep.join([str(TOOLS), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(command, cwd=SOURCE, env=os.environ | {"PYTHONPATH": path})
    if done.returncode != 0:
        sys.exit("The book was not built.")
    print(f"The book is at {ROOT / '_build' / 'html' / 'index.html'}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    actions = parser.add_subparsers(dest="action", required=True)
    for name in ("book", "refresh", "budget"):
        action = actions.add_parser(name)
        if name != "budget":
            action.add_argument("--fresh", action="store_true", help="run every lesson")
        if name == "book":
            action.add_argument("--fail-if-stale", action="store_true", help="run no lesson")
        if name != "book":
            action.add_argument("names", nargs="*", metavar="LESSON")
    arguments = vars(parser.parse_args())
    {"book": book, "refresh": refresh, "budget": budget}[arguments.pop("action")](**arguments)


if __name__ == "__main__":
    main()
