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


def verdicts(notebook):
    """The verdicts among a notebook's outputs: claim → text, conditions included."""
    data = [out.get("data", {}) for cell in notebook.cells for out in cell.get("outputs", [])]
    return {d[VERDICT_MIME]["claim"]: describe(d[VERDICT_MIME]) for d in data if VERDICT_MIME in d}


def describe(verdict):
    by_answer = Counter(condition["answer"] for condition in verdict["conditions"])
    counts = ", ".join(
        f"{by_answer[a]} {a}" for a in ("true", "false", "undecided") if by_answer[a]
    )
    names = [c["name"] for c in verdict["conditions"] if c["answer"] != "true"]
    return f"{verdict['answer']} ({counts}; not true: {'; '.join(names) or 'none'})"


def failures(notebook):
    """The errors among a notebook's outputs, as text."""
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    return [f"{o.ename}: {o.evalue}" for o in outputs if o.output_type == "error"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="LESSON")
    parser.add_argument("--seeds", type=int, default=10, help="base seeds 1 to this (default 10)")
    arguments = parser.parse_args()
    known = {name_of(path): path for path in lessons()}
    unknown = set(arguments.names) - set(known)
    if unknown:
        parser.error(f"no lesson {min(unknown)!r}; there are: {', '.join(known)}")

    differing = 0
    for name in arguments.names or known:
        stored = verdicts(nbformat.read(known[name], as_version=4))
        if not stored:
            parser.error(f"lesson {name!r} stores no verdict: run `make lessons`")
        for claim, text in stored.items():
            print(f"{name} seed 0 {claim}: {text}")
        for seed in range(1, arguments.seeds + 1):
            notebook = nbformat.read(known[name], as_version=4)
            run(notebook, folder=known[name].parent, seed=seed, keep_going=True)
            found = verdicts(notebook)
            for claim, text in stored.items():
                same = found.get(claim) == text
                differing += not same
                print(f"{name} seed {seed} {claim}: {'as stored' if same else found.get(claim)}")
            for failure in failures(notebook):
                differing += 1
                print(f"{name} seed {seed}: {failure}", flush=True)
    sys.exit(differing > 0)


if __name__ == "__main__":
    main()
