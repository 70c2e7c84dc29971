"""What the sandbox and the judge cost: python -m benchmarks.grading_cost

Grades submissions of the assignment that runs quickest, two at a time, and runs the same notebooks
bare, with nbclient, two at a time too. Block by block, in random order, and bare twice, as a
control. ``--nbgrader PATH`` times that command's autograde on the first block, one at a time as it
works. ``--submissions 20`` is a quick try.
"""

import argparse
import os
import re
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import joblib
import nbformat
import numpy as np
from nbclient import NotebookClient

from grading import assignment as assignments
from grading import classroom, exports

NAME, SECRET, JOBS, BLOCK = "detection", b"not a secret: to be timed", 2, 20
HIDDEN = re.compile("### BEGIN HIDDEN.*?END HIDDEN TESTS", re.S)


def hand_in(student, folder):
    """The reference of one student, as nbgrader hands notebooks out and collects them."""
    with tempfile.TemporaryDirectory() as course:
        source = nbformat.read(exports.nbgrader(assignments.load(NAME), Path(course)), 4)
    for cell in source.cells:
        cell.source = HIDDEN.sub("", cell.source)
    code = assignments.code_of(SECRET, NAME, student)
    path = folder / student / NAME / f"{NAME}.ipynb"
    path.parent.mkdir(parents=True)
    made = replace(assignments.load(NAME), source=source)
    nbformat.write(assignments.reference(made, code), path)


def run_bare(path):
    """Run one notebook as its author would."""
    NotebookClient(nbformat.read(path, as_version=4), kernel_name="python3").execute()


def bare(folder):
    """Run all notebooks of a folder."""
    paths = sorted(folder.glob("*/*/*.ipynb"))
    joblib.Parallel(n_jobs=JOBS)(joblib.delayed(run_bare)(one) for one in paths)


def graded(folder):
    """Grade all notebooks of a folder, none of them before."""
    with tempfile.TemporaryDirectory() as out:
        results = classroom.grade(NAME, folder, Path(out), SECRET, jobs=JOBS)
    full = sum(one.points for one in assignments.load(NAME).questions if one.kind != "paragraph")
    for one in results:
        got = sum(mark["points"] or 0 for mark in one["questions"].values())
        assert got == full, (one["student"], one["person"])


def seconds(call, *given):
    """What it takes."""
    began = time.perf_counter()
    call(*given)
    return time.perf_counter() - began


def by_nbgrader(command, folder, course):
    """Seconds of nbgrader's autograde for all notebooks of a folder."""
    exports.nbgrader(assignments.load(NAME), course)
    beside = str(Path(command).parent)  # it calls alembic, of its own environment
    environment = os.environ | {"PATH": os.pathsep.join([beside, os.environ["PATH"]])}

    def call(*words):
        subprocess.run([command, *words, NAME], cwd=course, env=environment, check=True)

    call("generate_assignment")
    (course / "submitted").symlink_to(folder)
    return seconds(call, "autograde")


def main():
    """Time it and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--submissions", type=int, default=200)
    parser.add_argument("--nbgrader", help="the command of an nbgrader, to be timed as well")
    given = parser.parse_args()
    variants = {"bare": bare, "bare again": bare, "graded": graded}
    took, order = {name: [] for name in variants}, np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as top:
        folders = []
        for first in range(0, given.submissions, BLOCK):
            folders.append(Path(top, f"block{first}"))
            for number in range(first, min(first + BLOCK, given.submissions)):
                hand_in(f"s{number:03}", folders[-1])
        hand_in("warm", Path(top, "warm"))
        for call in (bare, graded):
            call(Path(top, "warm"))
        for folder in folders:
            for name in order.permutation(list(variants)):
                took[name].append(seconds(variants[name], folder))
            print(*(f"{name} {all_[-1]:.1f} s" for name, all_ in took.items()), flush=True)
        total = {name: sum(all_) for name, all_ in took.items()}
        for name in ("bare again", "graded"):
            blocks = np.array(took[name]) / np.array(took["bare"])
            low, high = blocks.min(), blocks.max()
            ratio = total[name] / total["bare"]
            print(f"{name}: {ratio:.3f} × bare ({low:.3f} to {high:.3f} by block)")
        each = {name: JOBS * all_ / given.submissions for name, all_ in total.items()}
        print(f"{given.submissions} submissions, {JOBS} at a time;", end=" ")
        print(*(f"{name} {all_:.2f} s of a core each" for name, all_ in each.items()), sep=", ")
        if given.nbgrader:
            took = by_nbgrader(given.nbgrader, folders[0], Path(top, "course"))
            count = len(list(folders[0].iterdir()))
            again = seconds(bare, folders[0]) * JOBS
            print(f"nbgrader: {took / count:.2f} s each of {count}, {took / again:.3f} × bare")


if __name__ == "__main__":
    main()
