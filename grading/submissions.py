"""Folders of submissions as learning management systems export them, and columns they import."""

import contextlib
import csv
import io
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

CANVAS = re.compile(r"(?P<who>.+?)_(?:LATE_)?(?P<id>\d+)_\d+_.*", re.S)
MOODLE = re.compile(r"(?P<who>.+)_(?P<id>\d+)_assignsubmission_file_?$", re.S)
# Put before what a spreadsheet would take for a formula.
FORMULA = (*"=+-@\t\r\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # also the wide ones of Japan
LONGEST = 2_000  # characters of a path


@dataclass(frozen=True)
class Submission:
    """One student's notebook: who it is to the system, and the file (None if there is none).

    ``doubt``: why nobody can say whose it is.
    """

    student: str
    called: str
    path: Path | None
    remark: str = ""
    doubt: str = ""


def find(folder: Path, assignment: str) -> tuple[str, list[Submission]]:
    """The system whose layout ``folder`` has (canvas, moodle, nbgrader), and its submissions.

    Canvas: ``name_id_number_file.ipynb``, all in one folder. Moodle: one folder each, ``Full
    Name_id_assignsubmission_file``. nbgrader: ``student/ASSIGNMENT/file.ipynb``. A student with
    several notebooks is judged by the one that was written last, and it is remarked. Links and
    what is not a plain file are not followed. Where two names have the same id, nobody is judged
    under it. Raises ValueError where the layout is none of these.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder of submissions")
    inside = sorted(folder.iterdir())
    flat = [(m, one) for one in inside if (m := CANVAS.match(one.name)) and not one.is_dir()]
    flat = flat if any(_is_notebook(one) for _, one in flat) else []
    nested = [(m, one) for one in inside if (m := MOODLE.match(one.name)) and one.is_dir()]
    if flat or nested:
        found = {}
        for match, path in flat or nested:
            names = found.setdefault(match["id"], {})
            names.setdefault(match["who"], []).extend(_notebooks(path))
        return "canvas" if flat else "moodle", [_one(*one) for one in found.items()]
    students = [one for one in inside if (one / assignment).is_dir()]
    if students:
        return "nbgrader", [
            _one(
                one.name,
                {one.name: _notebooks(one if one.is_symlink() else one / assignment, deep=False)},
            )
            for one in students
        ]
    raise ValueError(
        f"{folder} has none of the layouts of Canvas (name_id_number_file.ipynb), Moodle "
        f"(Name_id_assignsubmission_file/) and nbgrader (student/{assignment}/)"
    )


def only(student: str, called: str, folder: Path) -> Submission:
    """The one submission that lies anywhere in ``folder``."""
    return _one(student, {called: _notebooks(folder)})


def _notebooks(path, *, deep=True):
    """What was handed in there; a link in place of a folder too, so that it is told and refused."""
    if path.is_symlink():
        return [path]
    if not path.is_dir():
        return [path] if _is_notebook(path) else []
    return list(filter(_is_notebook, _below(path) if deep else path.iterdir()))


def _below(folder):
    """All files below a folder, however deep, without following links."""
    folders = [folder]
    while folders:
        with contextlib.suppress(OSError):
            for one in os.scandir(folders.pop()):
                if len(one.path) > LONGEST:
                    continue
                if one.is_dir(follow_symlinks=False):
                    folders.append(one.path)
                else:
                    yield Path(one.path)


def _is_notebook(path):
    """Whether it is called so; what editors and archives keep beside it has a dot before it."""
    hidden = path.name.startswith(".") or path.parent.name == ".ipynb_checkpoints"
    return path.name.lower().endswith(".ipynb") and not hidden


def printable(text: str) -> str:
    """A text without what would steer a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _one(student, names):
    called = printable(" / ".join(names))
    if len(names) > 1:
        return Submission(student, called, None, doubt=f"{called} have the same id {student}")
    (paths,) = names.values()
    plain = [path for path in paths if path.is_file() and not path.is_symlink()]
    refused = len(paths) - len(plain)
    remark = f"{refused} of its files are links or no plain files" if refused else ""
    if not plain:
        return Submission(student, called, None, remark or "no notebook was handed in")
    last = max(plain, key=lambda path: (path.stat().st_mtime, path.name))
    if len(plain) > 1:
        remark = f"{len(plain)} notebooks were handed in; the last is {printable(last.name)}"
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
