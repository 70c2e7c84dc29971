"""The command of a teacher: ``python -m grading {secret,handout,check,grade,merge,export}``."""

import argparse
import csv
import secrets
import sys
from dataclasses import fields
from pathlib import Path

import nbformat

from grading import assignment as assignments
from grading import classroom, exports, sandbox, submissions
from grading.trial import check


def main() -> int:
    """What was asked for on the command line; 1 where somebody was not graded."""
    parser = argparse.ArgumentParser(prog="python -m grading", description=__doc__)
    add = parser.add_subparsers(dest="action", required=True).add_parser
    one = add("secret", help="write a new secret, to be kept by the teacher alone")
    one.add_argument("file", type=Path)
    one = add("handout", help="a notebook for each student of a list (CSV with a column id)")
    one.add_argument("assignment")
    one.add_argument("students", type=Path)
    one.add_argument("--out", type=Path, required=True)
    one.add_argument("--secret", type=Path, required=True)
    one = add("check", help="reference, untouched copy and known-wrong answers: each its score")
    one.add_argument("assignment")
    one = add("grade", help="judge a folder of submissions")
    one.add_argument("assignment")
    one.add_argument("submissions", type=Path)
    one.add_argument("--out", type=Path, required=True)
    one.add_argument("--secret", type=Path, required=True)
    one.add_argument("--column", help="what the system calls the column of marks")
    one.add_argument("--jobs", type=int, default=1, help="submissions at the same time")
    one.add_argument("--trust-students", action="store_true", help="run without a sandbox")
    for limit in fields(sandbox.Limits):
        flag = "--" + limit.name.replace("_", "-")
        one.add_argument(flag, type=limit.type, default=limit.default)
    one = add("merge", help="take in the points that were written into hand.csv")
    one.add_argument("out", type=Path)
    one = add("export", help="the assignment for another system")
    one.add_argument("system", choices=["nbgrader", "gradescope"])
    one.add_argument("assignment")
    one.add_argument("--out", type=Path, required=True, help="nbgrader's course, or a zip")
    one.add_argument("--secret", type=Path, help="for gradescope: it goes into the zip")
    one.add_argument("--trust-students", action="store_true", help="gradescope: without a sandbox")
    one = add("gradescope", help="what the exported autograder runs inside Gradescope")
    one.add_argument("assignment")
    one.add_argument("top", type=Path)
    one.add_argument("--trust-students", action="store_true")
    given = parser.parse_args()
    try:
        return {
            "secret": _secret,
            "handout": _handout,
            "check": _check,
            "grade": _grade,
            "merge": _merge,
            "export": _export,
            "gradescope": _gradescope,
        }[given.action](given)
    except (ValueError, FileNotFoundError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 2


def _secret(given):
    with given.file.open("x") as file:  # a secret that was used is never written over
        given.file.chmod(0o600)
        file.write(secrets.token_hex(32) + "\n")
    return 0


def _read_secret(path):
    return path.read_text("utf-8").strip().encode()


def _handout(given):
    assignment, secret = assignments.load(given.assignment), _read_secret(given.secret)
    with given.students.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or "id" not in rows[0]:
        raise ValueError(f"{given.students} needs a line of names with the column id, and students")
    codes = [["id", "code"]]
    for row in rows:
        code = assignments.code_of(secret, given.assignment, row["id"])
        made = assignments.student_copy(assignment, code)
        folder = given.out / classroom.file_of(row["id"])
        folder.mkdir(parents=True, exist_ok=True)
        nbformat.write(made, folder / f"{given.assignment}.ipynb")
        codes.append([row["id"], code])
    (given.out / "codes.csv").write_text(submissions.as_csv(codes), "utf-8")
    print(f"{len(rows)} notebooks and codes.csv in {given.out}")
    return 0


def _check(given):
    return 0 if check(given.assignment)[1] else 1


def _grade(given):
    if not given.trust_students:
        sandbox.refuse_visible(given.secret)
    limits = {one.name: getattr(given, one.name) for one in fields(sandbox.Limits)}
    results = classroom.grade(
        given.assignment,
        given.submissions,
        given.out,
        _read_secret(given.secret),
        column=given.column,
        limits=sandbox.Limits(**limits),
        jobs=given.jobs,
        trust_students=given.trust_students,
    )
    print(classroom.summary(results))
    return int(any(one["status"] == "UNGRADED" for one in results))


def _merge(given):
    print(classroom.summary(classroom.merge(given.out)))
    return 0


def _export(given):
    assignment = assignments.load(given.assignment)
    if given.system == "nbgrader":
        print(exports.nbgrader(assignment, given.out))
        return 0
    if given.secret is None:
        raise ValueError("export gradescope needs --secret: it draws the inputs of each student")
    trust = given.trust_students
    exports.gradescope(assignment, given.out, _read_secret(given.secret), trust_students=trust)
    print(f"{given.out} holds your secret: give it to Gradescope and to nobody else")
    return 0


def _gradescope(given):
    exports.in_gradescope(given.assignment, given.top, trust_students=given.trust_students)
    return 0


if __name__ == "__main__":
    sys.exit(main())
