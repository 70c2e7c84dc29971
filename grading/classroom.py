"""A whole class: each submission judged once, results kept, marks and feedback written.

A result is a JSON file that appears whole or not at all, and carries a key over everything that it
was made from. So a run that was killed goes on where it stopped, and what has not changed is not
run again.
"""

import contextlib
import csv
import fcntl
import json
import math
import os
import re
import stat
import sys
import time
import traceback
from hashlib import sha256
from pathlib import Path

import jinja2
import joblib
from markdown_it import MarkdownIt
from tqdm import tqdm

from grading import assignment as assignments
from grading import judge, sandbox, submissions

HERE = Path(__file__).resolve().parent
HAND = ["student", "question", "of", "points", "comment", "answer", "criteria"]
LARGEST = 30 * 2**20  # bytes of a notebook
PARTS = 3_000_000  # brackets and commas of it, each of which may cost 100 bytes of memory


class UnreadableError(ValueError):
    """The file is not a notebook that can be run: the student's fault, not ours."""


def grade(
    name: str,
    folder: Path,
    out: Path,
    secret: bytes,
    *,
    column: str | None = None,
    limits: sandbox.Limits = sandbox.Limits(),  # noqa: B008 (it is frozen)
    jobs: int = 1,
    trust_students: bool = False,
    where: Path | None = None,
) -> list[dict]:
    """Judge all submissions in ``folder`` and write marks.csv, hand.csv, feedback/ and results/.

    Raises NoSandboxError without a sandbox, unless ``trust_students``, and ValueError where the
    sandbox would show ``folder`` or ``out``.
    """
    if not trust_students and not sandbox.available():
        raise sandbox.NoSandboxError(
            "there is no sandbox here: install bubblewrap (apt install bubblewrap; Linux only). "
            "--trust-students runs without one: a student's code can then read and write all that "
            "you can."
        )
    if not trust_students:
        sandbox.refuse_visible(folder, out)
    within = None if trust_students else sandbox.BUBBLEWRAP
    assignment = assignments.load(name, where)
    system, found = submissions.find(folder, name)
    for part in ("results", "feedback"):
        (out / part).mkdir(parents=True, exist_ok=True)
    calls = [
        joblib.delayed(_apart)(jobs, name, one, out, secret, limits, within, where) for one in found
    ]
    parallel = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered")
    results = list(tqdm(parallel(calls), total=len(calls), desc=name, disable=None))
    results.sort(key=lambda one: one["student"])
    write(out, system, column or assignment.checks.TITLE, results)
    return results


def _apart(jobs, name, submission, out, *more):
    """grade_one, on processors that no classmate's notebook can keep busy meanwhile."""
    every = sorted(os.sched_getaffinity(0))
    with contextlib.ExitStack() as stack:
        for number in range(jobs) if jobs > 1 else ():
            file = stack.enter_context((out / "results" / f".job{number}").open("w"))
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.sched_setaffinity(0, every[number % len(every) :: jobs])  # as its children will
                stack.callback(os.sched_setaffinity, 0, every)
                break
        return grade_one(name, submission, out, *more)


def grade_one(
    name: str,
    submission: submissions.Submission,
    out: Path,
    secret: bytes,
    limits: sandbox.Limits,
    within: str | int | None,
    where: Path | None = None,
) -> dict:
    """The result of one submission: from its file if nothing has changed, else judged anew."""
    assignment = assignments.load(name, where)
    code = assignments.code_of(secret, name, submission.student)
    kept = out / "results" / f"{file_of(submission.student)}.json"
    result = {
        "student": submission.student,
        "called": submission.called,
        "assignment": name,
        "of": sum(one.points for one in assignment.questions),
        "questions": {one.name: {"of": one.points, "points": 0.0} for one in assignment.questions},
        "person": [submission.remark] if submission.remark else [],
        "status": "graded",
        "reason": "",
        "seconds": 0.0,
    }
    try:
        if submission.doubt:
            raise ValueError(submission.doubt)
        content = _read(submission.path)
        seed = assignments.probe_seed(secret, name, submission.student, content)
        result["key"] = _key(assignment, content, code, seed, limits, submission)
        if (old := _old(kept)) and old.get("key") == result["key"] and old["status"] == "graded":
            return old
        notebook = _notebook(content)
        inputs = assignment.checks.inputs(code)
        asked = judge.requests(assignment, inputs, seed)
        outcome = sandbox.run(assignments.cells_of(notebook), asked, limits, within=within)
        judged = judge.judge(assignment, notebook, outcome, inputs, asked, code)
        result["questions"] = judged["questions"]
        result["person"] += judged["person"]
        result |= {"seconds": round(outcome.seconds, 2), "output": outcome.output[-2_000:]}
        result["other_faults"] = outcome.other_faults
    except UnreadableError as error:
        for one in result["questions"].values():
            one["feedback"] = str(error)
        result["person"].append(str(error))
    except Exception as error:
        result |= {"status": "UNGRADED", "reason": f"{type(error).__name__}: {error}"}
        result["trace"] = traceback.format_exc()
        for one in result["questions"].values():
            one["points"] = None
        result["person"].append(f"not graded, by no fault of the student's: {result['reason']}")
    _replace(kept, json.dumps(result, indent=1, ensure_ascii=True))
    return result


def _read(path):
    """The bytes of a handed-in file; never of a link, a pipe or a device."""
    if path is None:
        raise UnreadableError("no notebook was handed in")
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UnreadableError(f"{path.name} is no plain file")
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise UnreadableError(f"{path.name} is larger than {LARGEST // 2**20} MB")
    return content


def _notebook(content):
    """The notebook as plain data: a dict with a list of cells, each a dict."""
    if sum(map(content.count, (b"[", b"{", b","))) > PARTS:
        raise UnreadableError(f"the notebook has more than {PARTS:,} parts")
    try:
        notebook = json.loads(content)
        cells = notebook["cells"]
        sources = [one.get("source", "") for one in cells]
        if not isinstance(cells, list) or not all(isinstance(one, str | list) for one in sources):
            raise TypeError("cells of a notebook are a list, and their sources text")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UnreadableError("the file cannot be read as a notebook (version 4)") from error
    return notebook


def _key(assignment, content, code, seed, limits, submission):
    own = [one.read_bytes() for one in sorted(HERE.glob("*.py"))]
    parts = [assignment.key, code, str(seed), repr(limits), submission.remark, sys.version]
    return sha256(b"\0".join([content, *own, *(one.encode() for one in parts)])).hexdigest()


def _old(path):
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None


def file_of(student):
    """A student's id as the name of a file: only letters, digits and hyphens of it, and a hash."""
    safe = "".join(c if c.isascii() and (c.isalnum() or c == "-") else "-" for c in student)[:40]
    return f"{safe}_{sha256(student.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"


def _replace(path, text):
    """Write a file whole or not at all."""
    new = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    new.write_bytes(text.encode("utf-8", "replace"))  # a text may hold half a character
    os.replace(new, path)


def write(out: Path, system: str, column: str, results: list[dict]) -> None:
    """marks.csv for the system, hand.csv for the teacher, a page of feedback for each student.

    What the teacher has written into hand.csv counts, in place of a machine's points too, and
    stays. Raises ValueError where it cannot: points out of range, or a student or question that is
    not there.
    """
    by_hand = _by_hand(out / "hand.csv")
    rows = []
    for result in results:
        for name, one in result["questions"].items():
            points, comment = by_hand.pop((result["student"], name), ("", ""))
            waits = one["points"] is None and result["status"] == "graded"
            if waits or points.strip():
                answer = str(one.get("answer", ""))[:5_000]
                marked_by = re.sub("^- ", "• ", one.get("criteria", ""), flags=re.M)  # no formula
                written = [points, comment, answer, marked_by.replace("**", "")]
                rows.append([result["student"], name, one["of"], *written])
            if points.strip():
                one["points"] = _points(points, one["of"], f"{result['student']}, {name}")
                one["feedback"] = comment or one.get("feedback")
                notes = result["person"]
                result["person"] = [note for note in notes if not note.startswith(f"{name}: ")]
    if lost := [f"{who}, {name}" for (who, name), (points, _) in by_hand.items() if points.strip()]:
        raise ValueError(f"hand.csv has points for what is not there to be marked: {lost}")
    _replace(out / "marks.csv", submissions.marks_csv(system, column, results))
    _replace(out / "class.json", json.dumps({"system": system, "column": column}))
    _replace(out / "hand.csv", submissions.as_csv([HAND, *rows]))
    pages = jinja2.Environment(autoescape=True)
    pages.filters["markdown"] = MarkdownIt().render
    page = pages.from_string((HERE / "feedback.html").read_text("utf-8"))
    for one in results:
        text = page.render(result=one, mark=submissions.mark(one))
        _replace(out / "feedback" / f"{file_of(one['student'])}.html", text)
    _replace(out / "summary.txt", summary(results))


def _by_hand(path):
    """(points, comment) by student and question, as the teacher wrote them."""
    if not path.exists():
        return {}
    with path.open(encoding="utf-8-sig", newline="") as file:  # spreadsheets begin it with a mark
        rows = csv.DictReader(file, restval="")
        if lost := [one for one in HAND[:5] if one not in (rows.fieldnames or ())]:
            raise ValueError(f"{path} has no column {', '.join(lost)}")
        return {
            (row["student"].lstrip("'"), row["question"]): (
                row["points"].lstrip("'"),
                row["comment"],
            )
            for row in rows
        }


def _points(text, most, whose):
    try:
        points = float(text)
    except ValueError:
        points = math.nan
    if not 0 <= points <= most:
        raise ValueError(f"hand.csv, {whose}: {text!r}; points from 0 to {most} are wanted")
    return points


def merge(out: Path) -> list[dict]:
    """Take the points of hand.csv into marks and feedback, without running anything."""
    head = json.loads((out / "class.json").read_text("utf-8"))
    results = [json.loads(one.read_text("utf-8")) for one in (out / "results").glob("*.json")]
    results.sort(key=lambda one: one["student"])
    write(out, head["system"], head["column"], results)
    return results


def summary(results: list[dict]) -> str:
    """Who, what, how long, and what needs a person: as a teacher reads it."""
    lines = [f"{'student':30} {'mark':>8} {'of':>4} {'seconds':>8}  needs a person"]
    for one in results:
        known = sum(mark["points"] or 0 for mark in one["questions"].values())
        shown = "UNGRADED" if one["status"] == "UNGRADED" else f"{known:g} + …"
        shown = submissions.mark(one) or shown
        needs = "; ".join(one["person"])
        lines.append(
            f"{one['called'][:30]:30} {shown:>8} {one['of']:>4} {one['seconds']:8.1f}  {needs}"
        )
    graded = sum(one["status"] == "graded" for one in results)
    lines.append(f"{graded} of {len(results)} graded; {len(results) - graded} UNGRADED")
    return "\n".join(map(submissions.printable, lines)) + "\n"
