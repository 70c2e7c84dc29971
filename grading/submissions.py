"""Folders of submissions as learning management systems export them, and columns they import."""

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

CANVAS = re.compile(r"(?P<who>[^_]+)_(?:LATE_)?(?P<id>\d+)_\d+_.*\.ipynb$")
MOODLE = re.compile(r"(?P<who>.+)_(?P<id>\d+)_assignsubmission_file_?$")
# Put before what a spreadsheet would take for a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Submission:
    """One student's notebook: who it is to the system, and the file (None if there is none)."""

    student: str
    called: str
    path: Path | None
    remark: str = ""


def find(folder: Path, assignment: str) -> tuple[str, list[Submission]]:
    """The system whose layout ``folder`` has (canvas, moodle, nbgrader), and its submissions.

    Canvas: ``name_id_number_file.ipynb``, all in one folder. Moodle: one folder each, ``Full
    Name_id_assignsubmission_file``. nbgrader: ``student/ASSIGNMENT/file.ipynb``. A student with
    several notebooks is judged by the one that was written last, and it is remarked. Links and
    what is not a plain file are not followed. Raises ValueError where the layout is none of these.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder of submissions")
    inside = sorted(folder.iterdir())
    flat = [(m, one) for one in inside if (m := CANVAS.match(one.name)) and not one.is_dir()]
    nested = [(m, one) for one in inside if (m := MOODLE.match(one.name)) and one.is_dir()]
    if flat:
        found = {}
        for match, path in flat:
            found.setdefault((match["id"], match["who"]), []).append(path)
        return "canvas", [_one(who, called, paths) for (who, called), paths in found.items()]
    if nested:
        return "moodle", [
            _one(match["id"], match["who"], sorted(path.rglob("*.ipynb"))) for match, path in nested
        ]
    students = [one for one in inside if (one / assignment).is_dir()]
    if students:
        return "nbgrader", [
            _one(one.name, one.name, sorted((one / assignment).glob("*.ipynb"))) for one in students
        ]
    raise ValueError(
        f"{folder} has none of the layouts of Canvas (name_id_number_file.ipynb), Moodle "
        f"(Name_id_assignsubmission_file/) and nbgrader (student/{assignment}/)"
    )


def _one(student, called, paths):
    called = "".join(c if c.isprintable() else "?" for c in called)
    plain = [path for path in paths if path.is_file() and not path.is_symlink()]
    refused = len(paths) - len(plain)
    remark = f"{refused} of its files are links or no plain files" if refused else ""
    if not plain:
        return Submission(student, called, None, remark or "no notebook was handed in")
    last = max(plain, key=lambda path: (path.stat().st_mtime, path.name))
    if len(plain) > 1:
        remark = f"{len(plain)} notebooks were handed in; the last is {last.name}"
    return Submission(student, called, last, remark)


def marks_csv(system: str, column: str, results: Iterable[dict]) -> str:
    """Marks in the columns that ``system`` imports. Who was not graded has no mark, never 0."""
    rows = sorted(results, key=lambda one: one["student"])
    if system == "canvas":
        head = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", column]
        lines = [[one["called"], one["student"], "", "", "", mark(one)] for one in rows]
    elif system == "moodle":
        head = ["Identifier", "Full name", "Grade", "Maximum Grade", "Feedback comments"]
        lines = [
            [f"Participant {one['student']}", one["called"], mark(one), one["of"], _words(one)]
            for one in rows
        ]
    else:
        head = ["assignment", "student_id", "score", "max_score"]
        lines = [[column, one["student"], mark(one), one["of"]] for one in rows]
    return as_csv([head, *lines])


def as_csv(rows: Iterable[list]) -> str:
    """Rows as CSV in which no text can be taken for a formula, or for the end of a row."""
    text = io.StringIO()
    write = csv.writer(text, lineterminator="\n").writerow
    for row in rows:
        plain = [str(one).replace("\r", "\n") for one in row]  # the writer does not quote \r
        write([f"'{one}" if one.startswith(FORMULA) else one for one in plain])
    return text.getvalue()


def mark(result: dict) -> str:
    """The sum of points, or nothing while anything in it is not known."""
    points = [one["points"] for one in result["questions"].values()]
    if result["status"] == "UNGRADED" or None in points:
        return ""
    return f"{sum(points):g}"


def _words(result):
    return " ".join(
        f"{name}: {one['points'] if one['points'] is not None else '–'} of {one['of']}."
        for name, one in result["questions"].items()
    )
