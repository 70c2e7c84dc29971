"""An assignment as its author wrote it, and the notebooks made from it.

A folder ``assignments/NAME/`` holds ``assignment.ipynb`` with its solutions, ``checks.py`` with
``TITLE``, ``QUESTIONS`` and ``inputs(code)``, ``rubric.md``, and ``wrong.py`` with ``WRONG``. A
cell whose metadata say ``{"question": "NAME"}`` answers that question. What stands between
``### BEGIN SOLUTION`` and ``### END SOLUTION`` is the author's. A student gets ``...`` instead, or
``NAME = ...`` where it is not indented.
"""

import copy
import hmac
import importlib.util
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from types import ModuleType

import nbformat
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "assignments"
SOLUTION = re.compile(r"^([ \t]*)### BEGIN SOLUTION\n.*?^[ \t]*### END SOLUTION\n?", re.M | re.S)
PARAGRAPH = "✎ "  # what a student writes under it, in the same cell, is the answer


@dataclass(frozen=True)
class Question:
    """One question: ``name`` is what the notebook calls its answer.

    ``kind``: number, numbers, text, function or paragraph. ``check(answer, inputs)`` returns the
    share of ``points`` that the answer deserves and a sentence to the student; for a function,
    ``calls(inputs, seed)`` lists the arguments that it is called with, and the answer is a list of
    pairs of arguments and what came back. A paragraph has no check: a person marks it.
    """

    name: str
    points: int
    kind: str
    check: Callable | None = None
    calls: Callable | None = None


@dataclass(frozen=True)
class Wrong:
    """A known-wrong answer: the misconception, the lines that stand for it, and the due points.

    ``carried``: later questions whose answers rest on it, and so may be wrong with it.
    """

    misconception: str
    question: str
    solution: str
    points: float
    carried: tuple[str, ...] = ()


@dataclass(frozen=True)
class Assignment:
    """All that one folder holds."""

    name: str
    source: NotebookNode
    checks: ModuleType
    rubric: str
    wrong: Sequence[Wrong]
    key: str  # over the folder's files

    @property
    def questions(self) -> Sequence[Question]:
        """The questions in the order of the notebook."""
        return self.checks.QUESTIONS


def load(name: str, folder: Path | None = None) -> Assignment:
    """The assignment ``name`` in ``folder``, or among the project's.

    Raises FileNotFoundError with the names that there are, and ValueError where the rubric does not
    say how a paragraph is marked.
    """
    folder = folder or FOLDER
    place = folder / name
    if not (place / "assignment.ipynb").is_file():
        there = ", ".join(sorted(one.parent.name for one in folder.glob("*/assignment.ipynb")))
        raise FileNotFoundError(f"there is no assignment {name!r} in {folder}; there are: {there}")
    files = sorted(one for one in place.iterdir() if one.is_file())
    made = Assignment(
        name=name,
        source=nbformat.read(place / "assignment.ipynb", as_version=4),
        checks=_module(place / "checks.py"),
        rubric=(place / "rubric.md").read_text("utf-8"),
        wrong=_module(place / "wrong.py").WRONG,
        key=sha256(b"".join(one.read_bytes() for one in files)).hexdigest()[:16],
    )
    for one in made.questions:
        if one.kind == "paragraph":
            criteria(made, one)
    return made


def criteria(assignment: Assignment, question: Question) -> str:
    """How a person marks a paragraph: its section of the rubric."""
    head = f"## {question.name} ({question.points} point{'s' * (question.points != 1)})"
    found = re.search(rf"^{re.escape(head)}\n(.*?)(?=^## |\Z)", assignment.rubric, re.M | re.S)
    if not found:
        raise ValueError(f"rubric.md of {assignment.name} has no section {head!r}")
    return found[1].strip()


def _module(path):
    spec = importlib.util.spec_from_file_location(f"{path.parent.name}_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def code_of(secret: bytes, assignment: str, student: str) -> str:
    """The eight letters that a student's inputs are drawn from: HMAC-SHA256 of who and what."""
    return _hmac(secret, "code", assignment, student)[:8]


def probe_seed(secret: bytes, assignment: str, student: str, work: bytes = b"") -> int:
    """Seed of the arguments that a student's functions are called with.

    It does not follow from the code, and other ``work`` is called with others: what one submission
    has told of them is of no use to the next.
    """
    return int(_hmac(secret, "probe", assignment, student, sha256(work).hexdigest())[:8], 16)


def _hmac(secret, *words):
    if len(secret) < 16:
        raise ValueError(f"the secret has {len(secret)} bytes; 16 or more are needed")
    return hmac.new(secret, json.dumps(words).encode(), sha256).hexdigest()


def reference(assignment: Assignment, code: str) -> NotebookNode:
    """The notebook with its solutions, for the inputs of ``code``."""
    return _with_code(assignment.source, code)


def mistaken(assignment: Assignment, wrong: Wrong, code: str) -> NotebookNode:
    """The reference with one known-wrong answer in it."""
    made = reference(assignment, code)
    for cell in made.cells:
        if cell.metadata.get("question") == wrong.question and SOLUTION.search(cell.source):
            cell.source = SOLUTION.sub(lambda m: _indented(wrong.solution, m[1]), cell.source)
            return made
    raise ValueError(f"no solution cell of {assignment.name} answers {wrong.question!r}")


def student_copy(assignment: Assignment, code: str = "") -> NotebookNode:
    """The notebook without solutions and outputs.

    Raises ValueError if a line of a solution stands elsewhere too.
    """
    made = _with_code(assignment.source, code)
    secret_lines = set()
    for cell in made.cells:
        for found in SOLUTION.finditer(cell.source):
            secret_lines |= {line.strip() for line in found[0].splitlines()[1:-1]}
        stub = partial(blank, name=cell.metadata.get("question"))
        cell.source = SOLUTION.sub(stub, cell.source).rstrip("\n")
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    kept = {line.strip() for cell in made.cells for line in cell.source.splitlines()}
    if left := sorted(line for line in secret_lines & kept if len(line) > 3):
        raise ValueError(f"lines of a solution stand elsewhere in {assignment.name} too: {left}")
    return made


def blank(found: re.Match, name: str | None) -> str:
    """What a student gets in place of a solution."""
    return f"{found[1]}...\n" if found[1] else f"{name} = ...\n"


def _with_code(source, code):
    made = copy.deepcopy(source)
    for cell in made.cells:
        if cell.cell_type == "code":
            cell.source = re.sub(r'^code = ".*"', f'code = "{code}"', cell.source, flags=re.M)
    return made


def _indented(text, indent):
    return "".join(f"{indent}{line}\n" for line in text.strip("\n").splitlines())


def cells_of(notebook: dict) -> list[str]:
    """The code of a notebook, cell by cell."""
    return [_text(one) for one in notebook["cells"] if one.get("cell_type") == "code"]


def paragraph(notebook: dict, question: str) -> str:
    """What a student wrote into the Markdown cells of a paragraph question, if there are copies."""
    cells = [_text(one) for one in notebook["cells"] if one.get("cell_type") == "markdown"]
    parts = [text.partition(f"{PARAGRAPH}{question}")[2].lstrip("*: \n").strip() for text in cells]
    return "\n".join(dict.fromkeys(filter(None, parts)))


def stray(assignment: Assignment, notebook: dict, question: str) -> str:
    """What a student wrote where no paragraph is looked for, for a person to read.

    That is text of their own in any text cell, and any cell of their own below the pencil.
    """
    ours = {line.strip() for cell in assignment.source.cells for line in cell.source.splitlines()}
    found, below = [], False
    for cell in notebook["cells"]:
        text = _text(cell).split(PARAGRAPH, 1)[0]
        lines = [line.strip() for line in text.splitlines()]
        own = [line for line in lines if line not in ours | {"", "**"}]
        of_nbgrader = isinstance(cell.get("metadata"), dict) and "nbgrader" in cell["metadata"]
        below = below and own == [line for line in lines if line] and not of_nbgrader
        if cell.get("cell_type") != "code" or below:
            found += own
        below = below or f"{PARAGRAPH}{question}" in _text(cell)
    return "\n".join(found)


def _text(cell):
    source = cell.get("source", "")
    return source if isinstance(source, str) else "".join(map(str, source))
