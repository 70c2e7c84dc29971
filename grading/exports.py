"""An assignment for two other systems: a course of nbgrader, an autograder of Gradescope.

nbgrader hands out and collects. Its own marks can be forged, as it runs the tests in the student's
process: grade what it has collected with ``python -m grading grade``. Gradescope runs this grader,
in a container of its own for each submission.
"""

import contextlib
import io
import json
import tempfile
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell

from grading import assignment as assignments
from grading import classroom, judge, runner, sandbox, submissions
from grading.assignment import PARAGRAPH, SOLUTION, Assignment

STUDENT = 60606  # the user whom notebooks run as where there is no bubblewrap
CONFIG = """import os

c = get_config()
c.ClearSolutions.code_stub = {{"python": ""}}  # the notebooks bring their own
c.ClearSolutions.text_stub = ""
c.Execute.timeout = 180
# The hidden tests are those of the course.
os.environ["PYTHONPATH"] = os.pathsep.join([{root!r}, os.environ.get("PYTHONPATH", "")])
"""
HIDDEN = """# {name}: {points} points
### BEGIN HIDDEN TESTS
from grading import exports

exports.in_nbgrader({assignment!r}, {name!r}, globals())
### END HIDDEN TESTS"""
SETUP = """#!/usr/bin/env bash
# Gradescope runs this once, as root, to make the image.
set -euo pipefail
cd "$(dirname "${{BASH_SOURCE[0]}}")"
apt-get update
apt-get install -y --no-install-recommends bubblewrap python3-pip util-linux
id student 2>/dev/null || useradd --uid {user} --user-group --no-create-home student
# uv takes the system's Python, or fetches one where that is older than 3.11
PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install uv
export UV_PYTHON_INSTALL_DIR=/opt/python
uv venv --seed --python ">=3.11" /opt/course
TORCH_INDEX=${{TORCH_INDEX-https://download.pytorch.org/whl/cpu}}
torch=$(grep ^torch== requirements.txt)
[ -z "$TORCH_INDEX" ] || /opt/course/bin/pip install --no-deps --index-url "$TORCH_INDEX" "$torch"
/opt/course/bin/pip install --constraint requirements.txt \\
    jinja2 joblib markdown-it-py nbformat psutil "./library[course]"
"""
RUN = """#!/usr/bin/env bash
# Gradescope runs this for each submission, as root.
set -euo pipefail
cd /autograder/source
exec /opt/course/bin/python -m grading gradescope {name} /autograder{more}
"""


def nbgrader(assignment: Assignment, out: Path) -> Path:
    """Write ``out``/source/NAME/NAME.ipynb as nbgrader wants it, and a configuration beside.

    Paragraphs are marked by hand there too. Points of the other questions stand in cells at the
    end, with tests that nbgrader takes out before it hands out.
    """
    assignments.student_copy(assignment)  # raises where a solution would get out
    made = assignments.reference(assignment, "your code")
    paragraphs = [one for one in assignment.questions if one.kind == "paragraph"]
    for cell in made.cells:
        if name := cell.metadata.get("question"):
            cell.source = SOLUTION.sub(partial(_stub_and_solution, name=name), cell.source)
            cell.metadata["nbgrader"] = _cell(name, solution=True)
        for one in paragraphs:
            if cell.cell_type == "markdown" and f"{PARAGRAPH}{one.name}" in cell.source:
                cell.source += "\n\n### BEGIN SOLUTION\n### END SOLUTION"
                told = _cell(one.name, solution=True, grade=True, points=one.points)
                cell.metadata["nbgrader"] = told
    for one in assignment.questions:
        if one not in paragraphs:
            source = HIDDEN.format(name=one.name, points=one.points, assignment=assignment.name)
            told = _cell(f"{one.name}-points", grade=True, locked=True, points=one.points)
            made.cells.append(
                new_code_cell(source, id=told["grade_id"], metadata={"nbgrader": told})
            )
    path = out / "source" / assignment.name / f"{assignment.name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(made, path)
    (out / "nbgrader_config.py").write_text(CONFIG.format(root=str(assignments.ROOT)), "utf-8")
    return path


def _stub_and_solution(found, name):
    """What a student is to get stays where nbgrader takes out the solution below it."""
    return assignments.blank(found, name) + found[0]


def _cell(grade_id, *, solution=False, grade=False, locked=False, **points):
    told = {"schema_version": 3, "grade_id": grade_id, "task": False, "solution": solution}
    return told | {"grade": grade, "locked": locked} | points


def in_nbgrader(
    name: str, question: str, namespace: dict[str, Any], where: Path | None = None
) -> float:
    """Points of one question, given in the student's own process: nobody can trust them."""
    assignment = assignments.load(name, where)
    code = str(namespace.get("code"))
    inputs = assignment.checks.inputs(code)
    asked = judge.requests(assignment, inputs, seed=0)
    [wanted] = [one for one in asked if one["name"] == question]
    with contextlib.redirect_stderr(io.StringIO()):  # nbgrader takes a warning for a fault
        outcome = sandbox.Outcome(answers={question: runner.answer(namespace, wanted)})
    judged = judge.judge(assignment, {"cells": []}, outcome, inputs, asked, code)
    mark = judged["questions"][question]
    print(mark["feedback"])
    return mark["points"]


def gradescope(assignment: Assignment, out: Path, secret: bytes, *, trust_students=False) -> None:
    """Write ``out``, the zip that Gradescope takes for an autograder. It holds the secret."""
    root = assignments.ROOT
    more = " --trust-students" if trust_students else ""
    library = ["pyproject.toml", "README.md", "LICENSE", "LICENSE-PROSE"]
    files = {
        "setup.sh": SETUP.format(user=STUDENT),
        "run_autograder": RUN.format(name=assignment.name, more=more),
        "secret": secret.decode(),
        "requirements.txt": (root / "requirements.txt").read_text("utf-8"),
        **{f"library/{one}": (root / one).read_text("utf-8") for one in library},
    }
    folders = {
        root / "vglib": "library/vglib",
        root / "grading": "grading",
        assignments.FOLDER / assignment.name: f"assignments/{assignment.name}",
    }
    for folder, to in folders.items():
        for one in sorted(folder.rglob("*")):
            if one.is_file() and "__pycache__" not in one.parts:
                files[f"{to}/{one.relative_to(folder).as_posix()}"] = one.read_text("utf-8")
    out.touch(mode=0o600)
    with zipfile.ZipFile(out, "w") as file:
        for name, text in files.items():
            member = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))  # the same bytes each time
            member.external_attr = (
                0o755 if name in ("setup.sh", "run_autograder") else 0o644
            ) << 16
            member.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(member, text)


def in_gradescope(name: str, top: Path, *, trust_students: bool = False) -> None:
    """Judge the submission in Gradescope's folder ``top`` and write results/results.json there.

    Its student is known by the address that Gradescope knows. Without bubblewrap, which containers
    seldom allow, the notebook runs as a user who has nothing. Raises NoSandboxError where neither
    can be, unless ``trust_students``, and RuntimeError where there is no mark by a fault of ours:
    Gradescope then shows no mark.
    """
    places = [top / one for one in ("source", "submission", "results")]
    top.chmod(0o755)  # in a folder that others may write they could put others in place of these
    for one in places:
        one.chmod(0o700)
    if trust_students:
        within = None
    elif sandbox.available():
        within = sandbox.BUBBLEWRAP
    else:
        within = sandbox.lone_user(STUDENT, *places)
    users = json.loads((top / "submission_metadata.json").read_text("utf-8"))["users"]
    if len(users) != 1:
        raise ValueError(f"{len(users)} students handed in together; inputs belong to one")
    secret = (top / "source" / "secret").read_text("utf-8").encode()
    submission = submissions.only(users[0]["email"], users[0]["name"], top / "submission")
    with tempfile.TemporaryDirectory() as out:
        Path(out, "results").mkdir()
        limits = sandbox.Limits(total_s=300)
        result = classroom.grade_one(name, submission, Path(out), secret, limits, within)
    paragraphs = {one for one, mark in result["questions"].items() if "criteria" in mark}
    marks = {one: mark for one, mark in result["questions"].items() if one not in paragraphs}
    if any(mark["points"] is None for mark in marks.values()):
        raise RuntimeError("; ".join(result["person"]))
    tests = [
        {
            "name": one,
            "score": mark["points"],
            "max_score": mark["of"],
            "output": "\n".join(filter(None, (mark.get("feedback"), mark.get("fault")))),
        }
        for one, mark in marks.items()
    ]
    if result["person"]:
        told = {"name": "needs a person", "score": 0, "max_score": 0, "visibility": "hidden"}
        tests.append(told | {"output": "\n".join(result["person"])})
    told = {"score": sum(mark["points"] for mark in marks.values()), "tests": tests}
    told["execution_time"] = round(result["seconds"])
    told["output"] = "\n".join(f"A person marks {one}." for one in sorted(paragraphs))
    (top / "results" / "results.json").write_text(json.dumps(told, indent=1), "utf-8")
