"""Grading: marks of honest work, and of notebooks that try to get, or to do, what they must not."""

import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
import zipfile
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from grading import assignment as assignments
from grading import classroom, exports, judge, sandbox, submissions, trial

SECRET = b"a secret of thirty-two characters"
LIMITS = sandbox.Limits(total_s=30, cell_s=4, memory_mb=600, scratch_mb=50)
CHECKS = """
import random
from grading.assignment import Question
from grading.judge import near

TITLE = "Small"


def inputs(code):
    return {"n": random.Random(code).randint(10, 99)}


def calls(inputs, seed):
    return [[random.Random(seed).uniform(1, 2)] for _ in range(2)]


def check_triple(answer, inputs):
    return all(near(told, 3 * x) for [x], told in answer), "three times"


def check_square(answer, inputs):
    return near(answer, inputs["n"] ** 2), "the square"


def check_row(answer, inputs):
    if answer == [13]:
        raise ZeroDivisionError("a fault of ours")
    return answer == list(range(inputs["n"])), "a row"


QUESTIONS = (
    Question("triple", 4, "function", check_triple, calls),
    Question("square", 3, "number", check_square),
    Question("row", 2, "numbers", check_row),
    Question("why", 1, "paragraph"),
)
"""
WRONG = """
from grading.assignment import Wrong

WRONG = (Wrong("double", "triple", "return 2 * x", 0),)
"""
RUBRIC = """# Small

## why (1 point)

- **1 point**: a *reason*.

## An example
"""
START = 'import random\n\ncode = "your code"\nn = random.Random(code).randint(10, 99)'
TRIPLE = "def triple(x):\n    ### BEGIN SOLUTION\n    return 3 * x\n    ### END SOLUTION"
SQUARE = "### BEGIN SOLUTION\nsquare = n**2\n### END SOLUTION"
ROW = "### BEGIN SOLUTION\nrow = list(range(n))\n### END SOLUTION"

needs_sandbox = pytest.mark.skipif(not sandbox.available(), reason="bubblewrap is not here")


@pytest.fixture(scope="module")
def where(tmp_path_factory):
    """A folder with one small assignment."""
    folder = tmp_path_factory.mktemp("assignments")
    (folder / "small").mkdir()
    cells = [new_code_cell(START)]
    for name, source in (("triple", TRIPLE), ("square", SQUARE), ("row", ROW)):
        cells.append(new_code_cell(source, metadata={"question": name}))
    cells.append(new_markdown_cell("Why?\n\n**✎ why**\n"))
    nbformat.write(new_notebook(cells=cells), folder / "small" / "assignment.ipynb")
    for name, text in (("checks.py", CHECKS), ("wrong.py", WRONG), ("rubric.md", RUBRIC)):
        (folder / "small" / name).write_text(text)
    return folder


def honest(where, student):
    small = assignments.load("small", where)
    return assignments.reference(small, assignments.code_of(SECRET, "small", student))


def hand_in(folder, student, notebook):
    path = folder / f"name{student}_{student}_1_small.ipynb"
    text = notebook if isinstance(notebook, str) else json.dumps(notebook)
    path.write_text(text)
    return path


def graded(where, folder, out, **more):
    results = classroom.grade("small", folder, out, SECRET, limits=LIMITS, where=where, **more)
    return {one["student"]: one for one in results}


def points(result):
    return {name: one["points"] for name, one in result["questions"].items()}


ALL = {"triple": 4, "square": 3, "row": 2, "why": 0}


# What an author relies on ------------------------------------------------------------------------


def test_codes_need_the_secret_and_differ_by_student_and_assignment():
    codes = {
        assignments.code_of(secret, name, student)
        for secret in (SECRET, b"another secret, long enough")
        for name in ("small", "large")
        for student in ("1", "2")
    }
    assert len(codes) == 8
    probes = {
        assignments.probe_seed(SECRET, "small", student, work)
        for student in ("1", "2")
        for work in (b"first", b"second")
    }
    assert len(probes) == 4
    with pytest.raises(ValueError, match="the secret has 5 bytes; 16 or more are needed"):
        assignments.code_of(b"short", "small", "1")


def test_a_copy_has_no_line_of_a_solution(where):
    small = assignments.load("small", where)
    sources = [cell.source for cell in assignments.student_copy(small, "abc").cells]
    assert sources[1] == "def triple(x):\n    ..."
    assert sources[2:4] == ["square = ...", "row = ..."]
    assert 'code = "abc"' in sources[0]
    leaking = assignments.load("small", where)
    leaking.source.cells.append(new_markdown_cell("square = n**2"))
    with pytest.raises(ValueError, match=r"stand elsewhere in small too: \['square = n\*\*2'\]"):
        assignments.student_copy(leaking)


def test_an_unknown_assignment_is_refused_with_those_there_are(where):
    with pytest.raises(FileNotFoundError, match=r"no assignment 'smal' in .*; there are: small"):
        assignments.load("smal", where)


@needs_sandbox
def test_a_trial_tells_when_a_notebook_does_not_get_what_it_should(where, tmp_path):
    assert trial.check("small", where=where)[1]
    shutil.copytree(where, tmp_path / "assignments")
    checks = tmp_path / "assignments" / "small" / "checks.py"
    checks.write_text(CHECKS.replace("** 2, ", "** 3, ").replace('** 2), "the', '** 3), "the'))
    lines, right = trial.check("small", where=tmp_path / "assignments")
    assert not right
    assert "    square: 0 points, due are 3" in lines


@pytest.mark.parametrize(
    "name", sorted(one.parent.name for one in assignments.FOLDER.glob("*/assignment.ipynb"))
)
@needs_sandbox
def test_each_notebook_of_an_assignment_gets_what_it_should(name):
    lines, right = trial.check(name, students=["mary"])  # authors tried others
    assert right, "\n".join(lines)


@pytest.mark.parametrize(
    ("value", "so"),
    [
        *((1.0, True), (1.009, True), (1.011, False), (True, False), (float("nan"), False)),
        *((float("inf"), False), (10**400, False), ("1", False), ([1.0], False), (None, False)),
    ],
)
def test_near_takes_finite_numbers_alone(value, so):
    assert judge.near(value, 1.0) is so


# Attacks -----------------------------------------------------------------------------------------

FIND = """
import subprocess
names = "-name wrong.py -o -name rubric.md -o -name secret -o -name hand.csv -o -name *_small.ipynb"
skipped = "( -path /proc -o -path /sys -o -path /usr -o -name site-packages ) -prune -o"
found = subprocess.run(
    f"find / {skipped} ( {names} ) -print -o -name ld.so.cache -print".split(),
    capture_output=True, text=True,
)
row = found.stdout.split()
row.remove("/etc/ld.so.cache")  # it looked
"""
FORGE = """
import json, os
for fd in range(3, 30):
    for line in ({"question": "square", "answer": {"value": 1}, "points": 99, "share": 1},
                 {"points": {"square": 3}}, {"done": True, "total": 100}, [1], "x"):
        try:
            os.write(fd, (json.dumps(line) + "\\n").encode())
        except OSError:
            pass
"""
PATCH = """
import builtins, json, sys
json.dumps = lambda *a, **k: '{"question": "square", "answer": {"value": 0}, "points": 9}'
builtins.isinstance = lambda *a: True
sys.modules["__main__"].__dict__["square"] = 7
"""
OUTSIDE = """
import pathlib
row = []
for place in ("/usr/x", "/job/runner.py", "/job/x", "/x", "/dev/x", "OUT/x", "OUT/results/x"):
    try:
        pathlib.Path(place).write_text("x")
        row.append(place)
    except OSError:
        pass
row = [len(row)]
"""
NETWORK = """
import socket
row = []
for address in (("127.0.0.1", PORT), ("1.1.1.1", 80)):
    try:
        socket.create_connection(address, 1)
        row.append(1)
    except OSError:
        pass
"""
FAMILIES = """
import socket
row = []
for family in set(range(60)) - {1, 2, 10, 16}:
    try:
        socket.socket(family, socket.SOCK_STREAM)
    except PermissionError:
        row.append(family)
socket.socketpair(), socket.socket(), socket.socket(socket.AF_INET6)
"""
HIDDEN_MEMORY = """
import ctypes, os
row = []
try:
    os.memfd_create("x")
    row.append(1)
except OSError:
    pass
if ctypes.CDLL(None).shmget(0, 4096, 0o1600) >= 0:
    row.append(2)
"""
SETTINGS = """
import os
row = []
for top, folders, files in os.walk("/proc"):
    if top == "/proc":
        folders[:] = ["self", "sys"]
    for place in (os.path.join(top, one) for one in files):
        if os.access(place, os.W_OK) and "/fd/" not in place:
            row.append(place)
"""
FILL = """
import os
row = [0]
for folder in ("/tmp", "/scratch", "/dev/shm", "/dev", "/"):
    for k in range(40):
        try:
            with open(f"{folder}/{k}", "wb") as file:
                file.write(bytes(10**7))
            row[0] += 10
        except OSError:
            break
row = [row[0] > 200]
row = [int(row[0])]
"""
DETACHED = """
import subprocess, threading, time
subprocess.Popen(["sleep", "1000"], start_new_session=True)
threading.Thread(target=lambda: time.sleep(1000)).start()
"""
IGNORE = """
import signal
for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_IGN)
while True:
    try:
        while True: pass
    except BaseException: pass
"""
MANY_FILES = "import os\nkept = [open(os.devnull) for _ in range(10**5)]"
FLOOD = """
import os
while True:
    for fd in range(3, 30):
        try:
            os.write(fd, b"x" * 9999)
        except OSError:
            pass
"""
GROW = "kept = []\nwhile True:\n    kept.append(bytearray(10**7))\n    kept[-1][:] = b'x' * 10**7"
THREADS = """
import threading, time
threading.stack_size(32768)
for _ in range(10**5):
    threading.Thread(target=time.sleep, args=[60], daemon=True).start()
"""
PAGE_TABLES = """
import ctypes, mmap
size = 2**40
kept = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | 0x4000, prot=mmap.PROT_READ)
for at in range(0, size, 2**21):
    kept[at]
"""
EMPTY_FILES = """
import os
for k in range(10**7):
    os.mknod(f"{('/tmp', '/scratch', '/dev/shm')[k % 3]}/{k}")
"""
CHILDREN = """
import os
for _ in range(20):
    if not os.fork():
        kept = bytearray(10**8)
        kept[:] = b"x" * 10**8
        import time; time.sleep(60)
import time; time.sleep(60)
"""
# by kind: the cell, put before the last question, and the points of the whole notebook
FIRST = {"triple": 4, "square": 3, "row": 0, "why": 0}
HOSTILE = {
    "an infinite loop": ("while True: pass", ALL),
    "an infinite loop in a question": ("row = 1\nwhile True: pass", ALL),
    "os._exit": ("import os; os._exit(0)", ALL),
    "a segmentation fault": ("import ctypes; ctypes.string_at(0)", ALL),
    "a fork bomb": ("import os\nwhile True: os.fork()", ALL),
    "4 GB at once": ("kept = bytearray(4 * 10**9)", ALL),
    "memory that grows": (GROW, ALL),
    "memory in many processes": (CHILDREN, ALL),
    "memory of no process": (HIDDEN_MEMORY + "assert not row, row", ALL),
    "400 MB of output": ("for _ in range(400): print('x' * 10**6)", ALL),
    "output from below": ("import os\nwhile True: os.write(1, b'x' * 10**6)", ALL),
    "looking for checks and classmates": (FIND + "assert not row, row", ALL),
    "a forged result": (FORGE, None),
    "a flood of answers": (
        FLOOD,
        ALL,
    ),
    "a fake score in print": ("print('{\"points\": 100}', 'TOTAL 100/100')", ALL),
    "monkeypatching": (PATCH, None),
    "writing outside": (OUTSIDE + "assert row == [0], row", ALL),
    "the kernel's settings": (SETTINGS + "assert not row, row[:9]", ALL),
    "filling the disk": (FILL + "assert row == [0], row", ALL),
    "the network": (NETWORK + "assert not row, row", ALL),
    "other networks": (FAMILIES + "assert len(row) == 56, row", ALL),
    "input()": ("row = input()", ALL),
    "exit()": ("exit()\nquit()", ALL),
    "sys.exit": ("import sys; sys.exit(3)", ALL),
    "deaf to signals": (IGNORE, ALL),
    "left running": (DETACHED, ALL),
    "kill everybody": ("import os, signal\nos.kill(-1, signal.SIGKILL)", ALL),
    "kill the first process": (
        "import os, signal\nos.kill(1, signal.SIGKILL)\nos.kill(os.getppid(), 9)",
        ALL,
    ),
    "closing all files": ("import os\nos.closerange(0, 1000)", None),
    "too many files": (MANY_FILES, ALL),
    "the environment": ("import os\nassert 'GRADER_SECRET' not in os.environ", ALL),
    "a cell that is no Python": ("def (", ALL),
    "shell escapes": ("!cat /etc/shadow ; rm -rf /", ALL),
}


@pytest.fixture(scope="module")
def class_of_attackers(where, tmp_path_factory):
    """All of them graded in one class, with honest classmates before, between and after them."""
    top = tmp_path_factory.mktemp("class")
    folder, out = top / "submissions", top / "out"
    folder.mkdir()
    os.environ["GRADER_SECRET"] = SECRET.decode()
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        for number, (source, _) in enumerate(HOSTILE.values()):
            notebook = honest(where, str(100 + number))
            source = source.replace("OUT", str(out)).replace(
                "PORT", str(listening.getsockname()[1])
            )
            notebook.cells.insert(3, new_code_cell(source))
            hand_in(folder, str(100 + number), notebook)
        for student in ("050", "115", "950"):
            hand_in(folder, student, honest(where, student))
        before = {path: path.read_bytes() for path in folder.iterdir()}
        results = graded(where, folder, out, jobs=2)
    del os.environ["GRADER_SECRET"]
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    return results, out


@pytest.mark.parametrize(("number", "kind"), list(enumerate(HOSTILE)))
@needs_sandbox
def test_an_attack_gets_what_its_answers_deserve(class_of_attackers, number, kind):
    results, _ = class_of_attackers
    one = results[str(100 + number)]
    assert one["status"] == "graded", one["reason"]
    due = HOSTILE[kind][1]
    if due:
        assert points(one) == due, (kind, one["questions"], one["other_faults"])
    assert all(got <= ALL[name] for name, got in points(one).items())
    if kind in (
        "memory of no process",
        "looking for checks and classmates",
        "writing outside",
        "the kernel's settings",
        "filling the disk",
        "the network",
        "other networks",
        "the environment",
    ):
        assert not one["other_faults"]
        assert not any(question.get("fault") for question in one["questions"].values())


@needs_sandbox
def test_classmates_of_attackers_get_their_marks(class_of_attackers):
    results, out = class_of_attackers
    for student in ("050", "115", "950"):
        assert points(results[student]) == ALL
    assert sorted(path.name for path in out.iterdir()) == [
        *("class.json", "feedback", "hand.csv", "marks.csv", "results", "summary.txt")
    ]
    running = subprocess.check_output(["ps", "-eo", "args"], text=True)
    assert "sleep 1000" not in running


VALUES = {
    "nan": "square = float('nan')",
    "infinite": "square = 1e999",
    "a huge whole number": "square = 10**5000",
    "a number beyond floats": "square = 10**400",
    "true": "square = True",
    "text": "square = str(n**2)",
    "a long list": "square = [1] * 10**6",
    "lists in lists": "square = [[[[[[[[[[[[[[[[n]]]]]]]]]]]]]]]]",
    "a list of itself": "square = []\nsquare.append(square)",
    "an object": "class A:\n    def tolist(self): return self\nsquare = A()",
    "a dict": "square = {'value': n**2}",
    "half a character": "square = '\\ud800'",
    "bytes": "square = b'1'",
    "a tensor that lies": "class A(float):\n    def __repr__(self): return 'x'\nsquare = A('nan')",
    "what raises": "class A:\n    @property\n    def tolist(self): raise SystemExit\nsquare = A()",
}


@pytest.mark.parametrize("source", list(VALUES.values()), ids=list(VALUES))
@needs_sandbox
def test_an_answer_of_another_kind_gets_nothing_and_costs_nothing_else(where, tmp_path, source):
    notebook = honest(where, "7")
    notebook.cells.insert(3, new_code_cell(source))
    hand_in(tmp_path, "7", notebook)
    one = graded(where, tmp_path, tmp_path / "out")["7"]
    assert one["status"] == "graded", one["reason"]
    assert points(one) == ALL | {"square": 0}


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        (THREADS, "a cell started more than 512 threads"),
        (PAGE_TABLES, "a cell took more than 250 MB of memory"),
        (EMPTY_FILES, "a cell took more than 250 MB of memory"),
    ],
    ids=["threads", "page tables", "empty files"],
)
@needs_sandbox
def test_what_belongs_to_no_process_is_watched_too(source, fault):
    limits = sandbox.Limits(total_s=40, cell_s=20, memory_mb=250)
    assert sandbox.run([source], [], limits).other_faults == [fault]


TELL = """
import fcntl, json, os, random
def tell(line):
    for fd in range(3, 30):
        try:
            if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY:
                left = (line if isinstance(line, str) else json.dumps(line)).encode() + b"\\n"
                while left:
                    left = left[os.write(fd, left):]
        except OSError:
            pass
some = str(random.random())
"""
FORGED = {
    **{
        f"{depth} lists": f"tell('{{\"x\": ' + '[' * {depth} + ']' * {depth} + '}}')"
        for depth in (450, 700, 960)
    },
    "deaths at no place": "tell({'start': some, 'questions': []})\nos._exit(1)",
    "answers to no question": "tell({'question': some, 'answer': {'value': 0}})",
    "very many faults": "for k in range(5000): tell({'error': some + str(k), 'questions': []})",
    "a place that is true": "tell({'start': True, 'questions': []})\nos._exit(1)",
    "half a message": "tell({'start': 0})\ntell({'start': 0, 'questions': [[]]})",
    "a long answer": "tell({'question': 'row', 'answer': {'value': [[]] * 10**6}})",
}


@pytest.mark.parametrize("source", list(FORGED.values()), ids=list(FORGED))
@needs_sandbox
def test_forged_messages_take_no_time_and_no_memory(where, source):
    notebook = honest(where, "7")
    notebook.cells.append(new_code_cell(TELL + source))
    asked = [{"name": "row", "kind": "numbers", "calls": []}]
    asked.append(asked[0] | {"name": "square"})
    outcome = sandbox.run(assignments.cells_of(notebook), asked, LIMITS)
    assert set(outcome.answers) == {"row", "square"}
    assert all(set(told) == {"value"} for told in outcome.answers.values())
    assert len(outcome.other_faults) <= sandbox.FAULTS
    assert outcome.seconds < 20


FUNCTIONS = {
    "never ends": "while True: pass",
    "exits": "import os; os._exit(1)",
    "raises": "raise SystemExit",
    "returns a string": "return 'x'",
    "returns nan": "return float('nan')",
    "copies what was seen": "return 4.5",
}


@pytest.mark.parametrize("body", list(FUNCTIONS.values()), ids=list(FUNCTIONS))
@needs_sandbox
def test_a_function_that_misbehaves_costs_its_own_question(where, tmp_path, body):
    notebook = honest(where, "7")
    notebook.cells.insert(4, new_code_cell(f"def triple(x):\n    {body}"))
    hand_in(tmp_path, "7", notebook)
    one = graded(where, tmp_path, tmp_path / "out")["7"]
    assert points(one) == ALL | {"triple": 0}


FILES = {
    "empty": "",
    "cut off": '{"cells": [{"cell_type": "code", "source": "x',
    "no notebook": "[1, 2]",
    "cells of another kind": '{"cells": {"a": 1}}',
    "a cell that is a number": '{"cells": [1]}',
    "deep": "[" * 100_000,
    "not text": "\x00\x01\x02",
    "too long": " " * (classroom.LARGEST + 1),
    "very many lists": '{"cells": [{"source": [' + "[]," * 5_000_000 + "[]]}]}",
}


@pytest.mark.parametrize("text", list(FILES.values()), ids=list(FILES))
@needs_sandbox
def test_a_file_that_is_no_notebook_is_for_a_person_and_stops_nobody(where, tmp_path, text):
    hand_in(tmp_path, "7", text)
    hand_in(tmp_path, "8", honest(where, "8"))
    results = graded(where, tmp_path, tmp_path / "out")
    assert results["7"]["person"]
    assert sum(points(results["7"]).values()) == 0
    assert points(results["8"]) == ALL


@needs_sandbox
def test_links_and_pipes_are_not_followed(where, tmp_path):
    folder = tmp_path / "submissions"
    folder.mkdir()
    whole = tmp_path / "other.ipynb"
    whole.write_text(json.dumps(honest(where, "7")))
    (folder / "a_7_1_small.ipynb").symlink_to(whole)
    os.mkfifo(folder / "b_8_1_small.ipynb")
    hand_in(folder, "9", honest(where, "9"))
    results = graded(where, folder, tmp_path / "out")
    for student in ("7", "8"):
        assert sum(points(results[student]).values()) == 0
        assert "1 of its files are links or no plain files" in results[student]["person"]
    assert points(results["9"]) == ALL


@pytest.mark.parametrize(
    ("link", "to"),
    [
        ("7/small", "8/small"),
        ("7", "8"),
        ("Ada_7_assignsubmission_file", "Bob_8_assignsubmission_file"),
    ],
)
def test_a_link_in_place_of_a_folder_is_refused_and_told(tmp_path, link, to):
    (tmp_path / to).mkdir(parents=True)
    (tmp_path / to / "small").mkdir(exist_ok=True)
    for path in (tmp_path / to / "a.ipynb", tmp_path / to / "small" / "a.ipynb"):
        path.write_text("{}")
    (tmp_path / link).parent.mkdir(exist_ok=True)
    (tmp_path / link).symlink_to(tmp_path / to)
    found = {one.student: one for one in submissions.find(tmp_path, "small")[1]}
    assert found["8"].path
    assert (found["7"].path, found["7"].remark) == (
        None,
        "1 of its files are links or no plain files",
    )


@needs_sandbox
def test_the_library_is_there_wherever_it_lies(tmp_path, monkeypatch):
    (tmp_path / "vglib").mkdir()
    (tmp_path / "vglib" / "__init__.py").write_text("")
    monkeypatch.setattr(sandbox.vglib, "__file__", str(tmp_path / "vglib" / "__init__.py"))
    asked = [{"name": "found", "kind": "text", "calls": []}]
    outcome = sandbox.run(["import vglib; found = vglib.__file__"], asked, LIMITS)
    assert outcome.answers["found"] == {"value": sandbox.vglib.__file__}


@needs_sandbox
def test_nothing_is_graded_where_notebooks_could_read_it(where, tmp_path, monkeypatch):
    hand_in(tmp_path, "7", honest(where, "7"))
    monkeypatch.setattr(sys, "prefix", str(tmp_path.parent))  # an environment around all of it
    with pytest.raises(ValueError, match="which notebooks may read: move it"):
        graded(where, tmp_path, tmp_path / "out")
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"/usr/out lies in /usr, which notebooks may read"):
        graded(where, tmp_path, Path("/usr/out"))


@needs_sandbox
def test_a_cell_that_takes_long_to_read_costs_no_other(where):
    cells = assignments.cells_of(honest(where, "7"))
    cells.insert(3, "x = [" + "1, " * 3_000_000 + "]")
    asked = [{"name": "square", "kind": "number", "calls": []}]
    outcome = sandbox.run(cells, asked, LIMITS)
    assert outcome.other_faults
    assert not outcome.faults


@needs_sandbox
def test_metadata_and_doubled_cells_do_not_matter(where, tmp_path):
    notebook = honest(where, "7")
    for cell in notebook.cells:
        cell.metadata.clear()
    notebook.cells += notebook.cells[1:4]
    notebook.metadata.clear()
    hand_in(tmp_path, "7", notebook)
    assert points(graded(where, tmp_path, tmp_path / "out")["7"]) == ALL


@needs_sandbox
def test_another_students_notebook_gets_little_and_is_told(where, tmp_path):
    hand_in(tmp_path, "7", honest(where, "8"))
    one = graded(where, tmp_path, tmp_path / "out")["7"]
    assert points(one) == {"triple": 4, "square": 0, "row": 0, "why": 0}  # triple is for all
    assert "not this student's" in one["person"][0]


# A class -----------------------------------------------------------------------------------------


@needs_sandbox
def test_a_fault_of_ours_is_no_mark(where, tmp_path, monkeypatch):
    notebook = honest(where, "7")
    notebook.cells.insert(4, new_code_cell("row = [13]"))
    notebook.cells.pop(5)
    hand_in(tmp_path, "7", notebook)
    one = graded(where, tmp_path, tmp_path / "out")["7"]
    assert points(one) == ALL | {"row": None}
    assert "row: its check raised ZeroDivisionError: a fault of ours" in one["person"]
    monkeypatch.setattr(sandbox, "run", lambda *a, **k: 1 / 0)
    one = graded(where, tmp_path, tmp_path / "out2")["7"]
    assert (one["status"], one["reason"]) == ("UNGRADED", "ZeroDivisionError: division by zero")
    (row,) = csv.DictReader((tmp_path / "out2" / "marks.csv").open())
    assert row["Small"] == ""


def test_without_a_sandbox_nothing_runs(where, tmp_path, monkeypatch):
    hand_in(tmp_path, "7", honest(where, "7"))
    monkeypatch.setattr(sandbox, "available", lambda: False)
    with pytest.raises(
        sandbox.NoSandboxError, match="there is no sandbox here: install bubblewrap"
    ):
        graded(where, tmp_path, tmp_path / "out")
    assert points(graded(where, tmp_path, tmp_path / "out", trust_students=True)["7"]) == ALL


@needs_sandbox
def test_nothing_is_graded_twice_that_has_not_changed(where, tmp_path, monkeypatch):
    folder, out = tmp_path / "submissions", tmp_path / "out"
    folder.mkdir()
    for student in ("7", "8"):
        hand_in(folder, student, honest(where, student))
    graded(where, folder, out)
    first, ran = (out / "marks.csv").read_bytes(), []
    real = sandbox.run
    monkeypatch.setattr(sandbox, "run", lambda *a, **k: ran.append(1) or real(*a, **k))
    graded(where, folder, out)
    assert not ran
    assert (out / "marks.csv").read_bytes() == first
    notebook = honest(where, "8")
    notebook.cells[2].source = "square = 0"
    hand_in(folder, "8", notebook)
    assert points(graded(where, folder, out)["8"]) == ALL | {"square": 0}
    assert len(ran) == 1
    classroom.grade(
        "small", folder, out, b"another secret, long enough", limits=LIMITS, where=where
    )
    assert len(ran) == 3


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one processor")
@needs_sandbox
def test_no_notebook_can_keep_the_processors_of_another_busy(where, tmp_path):
    source = """
        import os, time
        try:
            os.sched_setaffinity(0, range(os.cpu_count()))
        except PermissionError:
            row = sorted(os.sched_getaffinity(0))
        time.sleep(3)
    """
    folder, out, every = tmp_path / "submissions", tmp_path / "out", os.sched_getaffinity(0)
    folder.mkdir()
    for student in "78":
        notebook = honest(where, student)
        notebook.cells[3] = new_code_cell(textwrap.dedent(source))
        hand_in(folder, student, notebook)
    results = graded(where, folder, out, jobs=2).values()
    one, other = (set(result["questions"]["row"]["answer"]) for result in results)
    assert one | other == every
    assert not one & other


@needs_sandbox
def test_a_run_that_was_killed_goes_on(where, tmp_path):
    folder, out = tmp_path / "submissions", tmp_path / "out"
    folder.mkdir()
    for number in range(6):
        notebook = honest(where, str(number))
        notebook.cells.append(new_code_cell("import time; time.sleep(0.3)"))
        hand_in(folder, str(number), notebook)
    call = (
        f"from pathlib import Path; from grading import classroom, sandbox; "
        f"classroom.grade('small', Path({str(folder)!r}), Path({str(out)!r}), {SECRET!r}, "
        f"limits=sandbox.{LIMITS!r}, where=Path({str(where)!r}))"
    )
    root = Path(classroom.__file__).parents[1]
    process = subprocess.Popen([sys.executable, "-c", call], cwd=root, start_new_session=True)
    while len(list((out / "results").glob("*.json")) if out.exists() else []) < 2:
        time.sleep(0.02)
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "marks.csv").exists()
    done = {path: path.stat().st_mtime_ns for path in (out / "results").glob("*.json")}
    assert 2 <= len(done) < 6
    subprocess.run([sys.executable, "-c", call], cwd=root, check=True)
    assert all(path.stat().st_mtime_ns == when for path, when in done.items())
    whole = tmp_path / "whole"
    graded(where, folder, whole)
    assert (whole / "marks.csv").read_bytes() == (out / "marks.csv").read_bytes()


@pytest.mark.parametrize(
    ("system", "path"),
    [
        ("canvas", "lovelaceada_LATE_7_99_small.ipynb"),
        ("moodle", "Ada Lovelace_7_assignsubmission_file/my work.ipynb"),
        ("nbgrader", "7/small/small.ipynb"),
    ],
)
def test_layouts_of_three_systems_are_read(where, tmp_path, system, path):
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_text(json.dumps(honest(where, "7")))
    found, [one] = submissions.find(tmp_path, "small")
    assert (found, one.student) == (system, "7")
    assert one.path == tmp_path / path


def test_nobody_is_lost_and_nobody_is_another(tmp_path):
    for name in (
        *("ada_7_1_a.ipynb", "von_neumann_8_1_a.IPYNB", "grace_9_1_a.html", "é\n_10_1_x\ny.ipynb"),
        *("real_11_1_a.ipynb", "bob_11_12_1_a.ipynb"),
    ):
        (tmp_path / name).write_text("{}")
    found = {one.student: one for one in submissions.find(tmp_path, "small")[1]}
    assert set(found) == {"7", "8", "9", "10", "11"}
    assert found["8"].called == "von_neumann"
    assert found["10"].called == "é?"
    assert (found["9"].path, found["9"].remark) == (None, "no notebook was handed in")
    assert found["11"].doubt == "bob / real have the same id 11"


def test_copies_that_an_editor_or_an_archive_made_do_not_count(tmp_path):
    folder = tmp_path / "Ada Lovelace_7_assignsubmission_file"
    for name in ("a.ipynb", ".ipynb_checkpoints/a-checkpoint.ipynb", "__MACOSX/._a.ipynb"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    [one] = submissions.find(tmp_path, "small")[1]
    assert (one.path.name, one.remark) == ("a.ipynb", "")


def test_very_deep_folders_stop_nobody(tmp_path, monkeypatch):
    top = tmp_path / "Ada_7_assignsubmission_file"
    top.mkdir()
    (top / "a.ipynb").write_text("{}")
    monkeypatch.chdir(top)
    for _ in range(1_500):
        os.mkdir("b")
        os.chdir("b")
    Path("c.ipynb").write_text("{}")
    try:
        [one] = submissions.find(tmp_path, "small")[1]
        assert one.path.name == "a.ipynb"
    finally:
        subprocess.run(["rm", "-r", top / "b"], check=True)


@needs_sandbox
def test_whose_work_is_not_known_has_no_mark(where, tmp_path):
    for name, student in (("real_8_1_a", "8"), ("bob_8_7_99_a", "7")):
        (tmp_path / f"{name}.ipynb").write_text(json.dumps(honest(where, student)))
    hand_in(tmp_path, "9", honest(where, "9"))
    results = graded(where, tmp_path, tmp_path / "out")
    assert results["8"]["status"] == "UNGRADED"
    assert points(results["9"]) == ALL
    rows = list(csv.DictReader((tmp_path / "out" / "marks.csv").open()))
    assert [(row["ID"], row["Small"]) for row in rows] == [("8", ""), ("9", "9")]


@needs_sandbox
def test_names_steer_no_terminal_and_stop_nobody(where, tmp_path):
    folder = tmp_path / "submissions"
    for student, file in (("7", "\x1b[2J\udcff"), ("\udcff\x1b[2J", "a"), ("9", "a")):
        for name in ("b", file):
            path = folder / student / "small" / f"{name}.ipynb"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(honest(where, student)))
    results = graded(where, folder, tmp_path / "out")
    assert all(points(one) == ALL for one in results.values())
    text = classroom.summary(list(results.values()))
    assert text.replace("\n", "").isprintable()
    assert "the last is ?[2J?.ipynb" in text


def test_another_layout_is_refused(tmp_path):
    (tmp_path / "notebook.ipynb").write_text("{}")
    with pytest.raises(ValueError, match="none of the layouts of Canvas"):
        submissions.find(tmp_path, "small")


def test_of_two_notebooks_the_last_counts_and_it_is_said(tmp_path):
    for age, name in ((100, "b.ipynb"), (50, "a.ipynb")):
        path = tmp_path / "7" / "small" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
        os.utime(path, (time.time() - age, time.time() - age))
    _, [one] = submissions.find(tmp_path, "small")
    assert one.path.name == "a.ipynb"
    assert one.remark == "2 notebooks were handed in; the last is a.ipynb"


@needs_sandbox
def test_marks_by_hand_are_merged_and_stay(where, tmp_path):
    folder, out = tmp_path / "submissions", tmp_path / "out"
    folder.mkdir()
    notebook = honest(where, "7")
    notebook.cells[-1].source += "\n=HYPERLINK(1) <script>alert(1)</script> \ud800" + "x" * 10**6
    hand_in(folder, "7", notebook)
    hand_in(folder, "8", honest(where, "8"))
    assert points(graded(where, folder, out)["7"]) == ALL | {"why": None}
    assert all(path.stat().st_size < 10**5 for path in (out / "results").iterdir())
    marks = lambda: [row["Small"] for row in csv.DictReader((out / "marks.csv").open())]  # noqa: E731
    assert marks() == ["", "9"]
    assert "9 + …   10" in (out / "summary.txt").read_text()
    hand = (out / "hand.csv").read_text()
    assert ",'=HYPERLINK" in hand
    (out / "hand.csv").write_text(hand.replace("7,why,1,,,", "7,why,1,0.5,<b>good</b>,"))
    classroom.merge(out)
    assert marks() == ["9.5", "9"]
    assert "mark the paragraph" not in (out / "summary.txt").read_text()
    graded(where, folder, out)
    assert marks() == ["9.5", "9"]
    page = next(path for path in (out / "feedback").glob("7_*")).read_text()
    assert "&lt;b&gt;good&lt;/b&gt;" in page
    assert "<script" not in page
    (out / "hand.csv").write_text(hand.replace("7,why,1,,,", "7,why,1,5,,"))
    with pytest.raises(ValueError, match=r"hand\.csv, 7, why: '5'; points from 0 to 1 are wanted"):
        classroom.merge(out)


@needs_sandbox
def test_no_paragraph_breaks_the_table_for_marks_by_hand(where, tmp_path):
    folder, out = tmp_path / "submissions", tmp_path / "out"
    folder.mkdir()
    endings = ("good\rx", "good\r\n8,square,3,3", '"\r8,square,3,3,', "=\r8", "\x00\x0b\u2028\x85x")
    for student, ending in enumerate(endings):
        notebook = honest(where, str(student))
        notebook.cells[-1].source += ending
        hand_in(folder, str(student), notebook)
    graded(where, folder, out)
    rows = list(csv.DictReader((out / "hand.csv").open(newline="")))
    assert [row["student"] + row["question"] for row in rows] == [f"{n}why" for n in range(5)]
    classroom.merge(out)
    hand = (out / "hand.csv").read_text()
    (out / "hand.csv").write_text("\ufeff" + hand.replace("0,why,1,,", "0,why,1,+1,"))
    for _ in range(2):
        assert points(classroom.merge(out)[0])["why"] == 1
    (out / "hand.csv").write_text("a;b\n1;2\n")
    with pytest.raises(ValueError, match=r"has no column student, question, of, points, comment"):
        classroom.merge(out)


def test_the_command_hands_out_and_grades(where, tmp_path, monkeypatch, capsys):
    from grading import __main__ as command

    monkeypatch.setattr(assignments, "FOLDER", where)
    secret, students = tmp_path / "secret", tmp_path / "students.csv"
    students.write_text("id,name\n7,Ada\n8,Grace\n")

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["grading", *map(str, words)])
        return command.main()

    assert call("secret", secret) == 0
    assert secret.stat().st_mode & 0o077 == 0
    with pytest.raises(FileExistsError):
        call("secret", secret)
    assert call("handout", "small", students, "--out", tmp_path / "h", "--secret", secret) == 0
    made = sorted((tmp_path / "h").glob("*/small.ipynb"))
    assert len(made) == 2
    assert made[0].read_text() != made[1].read_text()
    students.write_text("name\nAda\n")
    assert call("handout", "small", students, "--out", tmp_path / "h", "--secret", secret) == 2
    assert "needs a line of names with the column id" in capsys.readouterr().err


# Other systems -----------------------------------------------------------------------------------


@needs_sandbox
def test_a_paragraph_in_the_wrong_place_waits_for_a_person(where, tmp_path):
    places = {
        "1": lambda cells: cells.append(new_markdown_cell("It is so.")),
        "2": lambda cells: cells.append(new_code_cell("It is so.")),
        "3": lambda cells: cells[-1].update(source="Why?\nIt is so.\n**✎ why**"),
        "4": lambda cells: cells[-1].update(source="It is so."),
        "5": lambda cells: None,
        "6": lambda cells: cells.insert(1, new_code_cell("mine = 1")),
        "7": lambda cells: cells.append(new_markdown_cell("Why?\n\n**✎ why**\nIt is so.")),
    }
    for student, write in places.items():
        notebook = honest(where, student)
        write(notebook.cells)
        hand_in(tmp_path, student, notebook)
    results = graded(where, tmp_path, tmp_path / "out")
    for student, one in results.items():
        why, lost = one["questions"]["why"], student in "1234"
        written = (0, "") if student in "56" else (None, "It is so.")
        assert (why["points"], why["answer"]) == written, student
        assert (
            "why: mark the paragraph, which stands in other cells than its own" in one["person"]
        ) is lost
    rows = list(csv.DictReader((tmp_path / "out" / "hand.csv").open()))
    assert [(row["student"], row["criteria"]) for row in rows] == [
        (student, "• 1 point: a *reason*.") for student in "12347"
    ]
    page = next((tmp_path / "out" / "feedback").glob("1_*")).read_text()
    assert "<li><strong>1 point</strong>: a <em>reason</em>.</li>" in page


def test_a_rubric_says_how_each_paragraph_is_marked(where, tmp_path):
    shutil.copytree(where, tmp_path / "a")
    (tmp_path / "a" / "small" / "rubric.md").write_text(RUBRIC.replace("1 point)", "2 points)"))
    with pytest.raises(ValueError, match=r"small has no section '## why \(1 point\)'"):
        assignments.load("small", tmp_path / "a")


def test_nbgrader_gets_all_points_and_no_solution_outside_of_its_marks(where, tmp_path):
    path = exports.nbgrader(assignments.load("small", where), tmp_path)
    assert path == tmp_path / "source" / "small" / "small.ipynb"
    cells = nbformat.read(path, as_version=4).cells
    marked = [cell for cell in cells if "nbgrader" in cell.metadata]
    names = [cell.metadata.nbgrader.grade_id for cell in marked]
    assert len(names) == len(set(names)) == 7
    assert sum(cell.metadata.nbgrader.get("points", 0) for cell in marked) == 10
    for cell in cells:
        if assignments.SOLUTION.search(cell.source):
            assert cell.metadata.nbgrader.solution
            assert "### BEGIN" not in assignments.SOLUTION.sub("", cell.source)
    assert assignments.SOLUTION.sub("", marked[0].source) == "def triple(x):\n    ...\n"
    assert assignments.SOLUTION.sub("", marked[1].source) == "square = ...\n"


@pytest.mark.parametrize(
    ("square", "due"), [("n**2", 3), ("n", 0), ("...", 0), ("float('nan')", 0)]
)
def test_nbgraders_hidden_tests_give_the_points_of_the_checks(where, capsys, square, due):
    namespace = {}
    exec(f"{START}\nsquare = {square}\ntriple = lambda x: 3 * x", namespace)
    assert exports.in_nbgrader("small", "square", namespace, where) == due
    assert capsys.readouterr().out.strip()
    assert exports.in_nbgrader("small", "triple", namespace, where) == 4


def in_a_container(folder, *command):
    """Runs it as root of a container without bubblewrap, and ``folder`` is /mnt there."""
    mounted = ["--bind", "/", "/", "--proc", "/proc", "--dev", "/dev"]
    mounted += ["--unshare-pid", "--die-with-parent"]
    mounted += ["--perms", "0755", "--tmpfs", "/root", "--bind", str(folder), "/mnt"]
    for path in {sys.base_prefix, sys.prefix, str(Path(classroom.__file__).parents[1])}:
        if path.startswith("/root/"):
            for above in list(Path(path).parents)[-3::-1]:  # below /root, from the top
                mounted += ["--perms", "0755", "--dir", str(above)]
            mounted += ["--ro-bind", path, path]
    mounted += ["--ro-bind", "/dev/null", os.path.realpath(shutil.which("bwrap"))]
    for one in ("SETUID", "SETGID", "KILL", "CHOWN", "DAC_OVERRIDE", "FOWNER"):
        mounted += ["--cap-add", f"CAP_{one}"]
    told = {"capture_output": True, "text": True, "timeout": 200}  # it waits for all processes
    return subprocess.run(["bwrap", *mounted, *command], **told)


INTRUDE = """
import os, pathlib, subprocess
subprocess.Popen(["sleep", "1000"], start_new_session=True)
for place in (
    *("/mnt/source", "/mnt/source/secret", "/mnt/source/assignments/small/checks.py"),
    *("/mnt/submission", "/mnt/results", "/mnt/results/results.json", "/proc/1/environ"),
):
    assert not os.access(place, os.R_OK) and not os.access(place, os.W_OK), place
assert os.getuid() and os.getgid() and not os.getgroups()
row = list(range(n))
"""
KILL = "import os, signal\nos.kill(-1, signal.SIGKILL)"


@pytest.fixture
def autograder(where, tmp_path, monkeypatch):
    """Gradescope's folder with what was exported, and a notebook that would do harm."""
    monkeypatch.setattr(assignments, "FOLDER", where)
    exports.gradescope(assignments.load("small"), tmp_path / "small.zip", SECRET)
    for name in ("source", "submission", "results"):
        (tmp_path / name).mkdir()
    with zipfile.ZipFile(tmp_path / "small.zip") as file:
        file.extractall(tmp_path / "source")
        assert file.getinfo("run_autograder").external_attr >> 16 == 0o755
    student = "ada@example.org"
    told = {"users": [{"email": student, "id": 7, "name": "Ada"}]}
    (tmp_path / "submission_metadata.json").write_text(json.dumps(told))
    notebook = honest(where, student)
    notebook.cells[3] = new_code_cell(INTRUDE)
    notebook.cells.insert(3, new_code_cell(KILL))
    notebook.cells[-1].source += "\nBecause."
    (tmp_path / "submission" / "mine.ipynb").write_text(json.dumps(notebook))
    return tmp_path


@pytest.mark.skipif(os.getuid() != 0, reason="only root can run as another user")
@needs_sandbox
def test_gradescope_runs_notebooks_as_a_user_who_has_nothing(autograder):
    judge_it = f"cd /mnt/source && {sys.executable} -m grading gradescope small /mnt; ps -eo args"
    autograder.chmod(0o755)
    done = in_a_container(autograder, "sh", "-c", judge_it)
    assert "sleep 1000" not in done.stdout
    assert "Traceback" not in done.stderr, done.stderr
    told = json.loads((autograder / "results" / "results.json").read_text())
    tests = {one["name"]: one for one in told["tests"]}
    got = {name: one["score"] for name, one in tests.items()}
    assert (got, told["score"]) == ({"triple": 4, "square": 3, "row": 2, "needs a person": 0}, 9)
    assert tests["row"]["output"] == "a row"
    assert tests["needs a person"]["visibility"] == "hidden"
    assert told["output"] == "A person marks why."


def test_gradescope_gives_no_mark_where_it_cannot_be_trusted(autograder, monkeypatch):
    monkeypatch.setattr(sandbox, "available", lambda: False)
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    with pytest.raises(sandbox.NoSandboxError, match="only root can run a notebook as another"):
        exports.in_gradescope("small", autograder)
    monkeypatch.setattr(sandbox, "run", lambda *a, **k: 1 / 0)
    with pytest.raises(RuntimeError, match="not graded, by no fault of the student's: ZeroDiv"):
        exports.in_gradescope("small", autograder, trust_students=True)
    assert not list((autograder / "results").iterdir())


@pytest.mark.skipif(os.getuid() != 0, reason="only root can run as another user")
def test_a_lone_user_who_could_read_the_checks_is_refused():
    with pytest.raises(sandbox.NoSandboxError, match=r"user 60606, whom .*, can open /usr"):
        sandbox.lone_user(exports.STUDENT, Path("/usr"))
