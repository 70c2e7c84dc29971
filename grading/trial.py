"""Tries an assignment on itself: what each of its own notebooks scores, and what it should."""

from collections.abc import Sequence
from pathlib import Path

from grading import assignment as assignments
from grading import judge, sandbox

STUDENTS = ("ada", "grace")  # their inputs differ
SECRET = b"not a secret: for trials"


def check(
    name: str,
    *,
    students: Sequence[str] = STUDENTS,
    where: Path | None = None,
) -> tuple[list[str], bool]:
    """Print a table (what, points, seconds); its lines, and whether all got what they should.

    The reference gets all points that a machine gives, the untouched copy none, and a known-wrong
    answer as many as its author says, and all for the other questions that do not rest on it.
    """
    assignment = assignments.load(name, where)
    full = {one.name: one.points for one in assignment.questions if one.kind != "paragraph"}
    lines, right = [f"{'what':60} {'student':8} {'points':>7} {'s':>6}"], True
    print(lines[0])
    for student in students:
        code = assignments.code_of(SECRET, name, student)
        trials = [
            ("reference", assignments.reference(assignment, code), full, ()),
            (
                "untouched copy",
                assignments.student_copy(assignment, code),
                dict.fromkeys(full, 0),
                (),
            ),
        ]
        for wrong in assignment.wrong:
            made = assignments.mistaken(assignment, wrong, code)
            due = full | {wrong.question: wrong.points}
            trials.append((wrong.misconception, made, due, wrong.carried))
        for what, notebook, due, carried in trials:
            got, seconds, faults = score(assignment, notebook, student)
            wrong_marks = [
                f"    {one}: {got[one]:g} points, due are {due[one]:g}"
                for one in due
                if got[one] != due[one] and one not in carried
            ]
            right &= not wrong_marks and not faults
            total = sum(got.values())
            lines.append(f"{what[:60]:60} {student:8} {total:7g} {seconds:6.1f}")
            lines += wrong_marks + [f"    {one}" for one in faults]
            print(*lines[-1 - len(wrong_marks) - len(faults) :], sep="\n", flush=True)
    return lines, right


def score(
    assignment: assignments.Assignment, notebook: dict, student: str
) -> tuple[dict, float, list]:
    """Points by question, seconds, and faults of cells: of a notebook of our own."""
    code = assignments.code_of(SECRET, assignment.name, student)
    seed = assignments.probe_seed(SECRET, assignment.name, student)
    inputs = assignment.checks.inputs(code)
    asked = judge.requests(assignment, inputs, seed)
    outcome = sandbox.run(assignments.cells_of(notebook), asked)
    judged = judge.judge(assignment, notebook, outcome, inputs, asked, code)
    points = {name: one["points"] for name, one in judged["questions"].items()}
    faults = outcome.other_faults + [f"{name}: {one}" for name, one in outcome.faults.items()]
    return {name: one for name, one in points.items() if one is not None}, outcome.seconds, faults
