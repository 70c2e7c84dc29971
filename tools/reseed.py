"""Run lessons at other base seeds and print each verdict beside the stored one.

    python -m tools.reseed [LESSON …] [--seeds 10]

A lesson is named by its path below lessons/, without the ending: causes/depth. Without names, all.
A failed assertion is printed, and the lesson goes on: the verdicts of a run that contradicts the
prose are what this script is for. Exits with 1 if any verdict differs from the stored one.
"""

import argparse
import sys
from collections import Counter

import nbformat

from tools.lessons import lessons, name_of, run
from vglib.claims import VERDICT_MIME

KEPT_FOR_CONFIRMATION = 101  # this base seed and all above it belong to confirm.py


def verdicts(notebook):
    """The verdicts among a notebook's outputs, as data, by claim."""
    data = [out.get("data", {}) for cell in notebook.cells for out in cell.get("outputs", [])]
    return {d[VERDICT_MIME]["claim"]: d[VERDICT_MIME] for d in data if VERDICT_MIME in d}


def describe(verdict):
    """A verdict in a line, settings included."""
    by_answer = Counter(condition["answer"] for condition in verdict["conditions"])
    answers = ("true", "false", "undecided", "silent")
    counts = ", ".join(f"{by_answer[a]} {a}" for a in answers if by_answer[a])
    others = [f"{c['name']}: {c['answer']}" for c in verdict["conditions"] if c["answer"] != "true"]
    return f"{verdict['answer']} ({counts}; not true: {'; '.join(others) or 'none'})"


def failures(notebook):
    """The errors among a notebook's outputs, as text."""
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    return [f"{o.ename}: {o.evalue}" for o in outputs if o.output_type == "error"]


def at_seed(path, seed):
    """The verdicts of a lesson at a base seed, by claim, and its errors, after which it goes on."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []  # or, in a run that breaks off, stored verdicts would pass for new
    broken = []
    try:
        run(notebook, folder=path.parent, seed=seed, keep_going=True)
    except Exception as error:  # a kernel that died, or a cell that takes for ever
        broken = [f"{type(error).__name__}: {error}"]
    return verdicts(notebook), failures(notebook) + broken


def chosen(parser, names):
    """The lessons of these names, or without names all: name → path."""
    known = {name_of(path): path for path in lessons()}
    if unknown := set(names) - set(known):
        parser.error(f"no lesson {min(unknown)!r}; there are: {', '.join(known)}")
    return {name: known[name] for name in names or known}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="LESSON")
    parser.add_argument("--seeds", type=int, default=10, help="base seeds 1 to this (default 10)")
    arguments = parser.parse_args()
    if arguments.seeds >= KEPT_FOR_CONFIRMATION:
        parser.error(
            f"--seeds must be below {KEPT_FOR_CONFIRMATION}, not {arguments.seeds}: the base seeds "
            "above are used once, by tools.confirm"
        )
    differing = 0
    for name, path in chosen(parser, arguments.names).items():
        stored = verdicts(nbformat.read(path, as_version=4))
        if not stored:
            parser.error(f"lesson {name!r} stores no verdict: run `make lessons`")
        stored = {claim: describe(verdict) for claim, verdict in stored.items()}
        for claim, text in stored.items():
            print(f"{name} seed 0 {claim}: {text}")
        for seed in range(1, arguments.seeds + 1):
            found, errors = at_seed(path, seed)
            for claim, text in stored.items():
                now = describe(found[claim]) if claim in found else "no verdict"
                differing += now != text
                print(f"{name} seed {seed} {claim}: {'as stored' if now == text else now}")
            for error in errors:
                print(f"{name} seed {seed}: {error}", flush=True)
            differing += len(errors)
    sys.exit(differing > 0)


if __name__ == "__main__":
    main()
