"""Runs a notebook where it can do no harm, and brings back what it answered.

Linux's bubblewrap gives the student's code a file system of its own: the system's programs, this
Python and vglib to read, an empty scratch folder in memory to write, no network, no environment,
nobody else's files or processes. This process, which is trusted, watches from outside: seconds,
memory, processes and output. It reads lines of JSON from a pipe, and nothing else.
"""

import contextlib
import json
import os
import selectors
import shutil
import signal
import site
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

import vglib
from grading import system_calls

HERE = Path(__file__).resolve().parent
CALM = {"OMP_NUM_THREADS": "1", "PYTHONUTF8": "1", "TQDM_DISABLE": "1", "MPLBACKEND": "agg"}
# What bubblewrap itself made in memory; and /proc, where root may write to the kernel's settings.
SEALED = ["--remount-ro", "/proc", "--remount-ro", "/dev", "--remount-ro", "/"]
SCRATCH = "/tmp", "/scratch", "/dev/shm"  # in memory, too
DEEPEST = 12  # lists in lists of an answer
LONGEST = 250_000  # bytes of one line; the runner keeps answers below that
FAULTS = 50  # so many are told of cells that answer no question
THREADS = 8  # for each process that is allowed
FILE = 2  # kilobytes that the kernel needs for an empty file
AGAIN = 20  # at most so often a notebook is run again without a cell that killed it
SHOWN = 20_000  # bytes kept of what a notebook prints
BUBBLEWRAP = "bubblewrap"
# Ends all processes of a user at once, and cannot be ended by them: to be allowed that, they would
# have to be the second user, whom nobody is.
KILL_ALL = """
import contextlib, os, signal, sys
user = int(sys.argv[1])
os.setgroups([])
os.setresuid(user + 1, user, user + 1)
with contextlib.suppress(ProcessLookupError):
    os.kill(-1, signal.SIGKILL)
"""


@dataclass(frozen=True)
class Limits:
    """What one submission may use. ``cell_s``: for one cell, or one function that is called."""

    total_s: float = 600
    cell_s: float = 180
    memory_mb: int = 2_000
    processes: int = 64
    scratch_mb: int = 200
    output_mb: float = 20
    answers_mb: float = 5


@dataclass
class Outcome:
    """What came of one run: answers by question, faults by question, and how it ended."""

    answers: dict = field(default_factory=dict)
    faults: dict = field(default_factory=dict)  # by question: what went wrong in its cells
    other_faults: list = field(default_factory=list)  # in cells that answer no question
    output: str = ""
    seconds: float = 0.0


class NoSandboxError(RuntimeError):
    """There is no sandbox here, or it did not start: nobody's mark is known."""


def available() -> bool:
    """Whether bubblewrap is installed and may make a sandbox on this machine."""
    if not shutil.which("bwrap"):
        return False
    return subprocess.run([*_bwrap(1), *SEALED, "/bin/true"], capture_output=True).returncode == 0


def refuse_visible(*paths: Path) -> None:
    """Raise ValueError if one of them lies in a folder that notebooks may read."""
    for path in paths:
        for folder in (Path("/usr").resolve(), *(Path(one).resolve() for one in _python())):
            if path.resolve().is_relative_to(folder):
                raise ValueError(f"{path} lies in {folder}, which notebooks may read: move it")


def lone_user(user: int, *closed: Path) -> int:
    """``user``, if a notebook may run as this user: a weaker sandbox, for a container of its own.

    Raises NoSandboxError where this is not root, or where the user could open one of ``closed``.
    """
    if os.getuid():
        raise NoSandboxError("only root can run a notebook as another user")
    for path in closed:
        tried = ["sh", "-c", 'test -r "$1" || test -w "$1" || test -x "$1"', "sh", str(path)]
        if not subprocess.run(tried, user=user, group=user, extra_groups=[]).returncode:
            raise NoSandboxError(f"user {user}, whom notebooks run as, can open {path}")
    return user


def _bwrap(scratch_mb):
    """The command that makes the sandbox; what it runs comes after it."""
    command = ["bwrap", "--unshare-all", "--unshare-user", "--disable-userns", "--cap-drop", "ALL"]
    command += ["--die-with-parent", "--new-session", "--clearenv", "--hostname", "sandbox"]
    command += ["--uid", "1000", "--gid", "1000", "--ro-bind", "/usr", "/usr"]
    for name in ("lib", "lib64", "bin", "sbin"):
        if (top := Path("/", name)).is_symlink():
            command += ["--symlink", os.readlink(top), str(top)]
        elif top.exists():
            command += ["--ro-bind", str(top), str(top)]
    command += ["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
    command += ["--proc", "/proc", "--dev", "/dev"]
    for folder in SCRATCH:
        command += ["--size", str(scratch_mb * 2**20), "--tmpfs", folder]
    for path in _python():  # after /tmp, which would hide what lies in it
        command += ["--ro-bind", path, path]
    variables = {"HOME": "/scratch", "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "USER": "student"}
    variables["PYTHONPATH"] = str(Path(vglib.__file__).parents[1])  # where it is editable
    for name, value in (variables | CALM).items():
        command += ["--setenv", name, value]
    return [*command, "--chdir", "/scratch"]


def _python():
    """Folders to be read: this Python, its packages, and vglib itself where it is editable."""
    folders = {
        sys.prefix,
        sys.base_prefix,
        *site.getsitepackages(),
        str(Path(vglib.__file__).parent),
    }
    inside = [
        one for one in folders if not any(Path(one).is_relative_to(o) for o in folders - {one})
    ]
    return sorted(one for one in inside if not Path(one).is_relative_to("/usr"))


def run(
    cells: Sequence[str],
    questions: Sequence[dict],
    limits: Limits = Limits(),
    *,
    within: str | int | None = BUBBLEWRAP,
) -> Outcome:
    """Run ``cells`` and bring back the answers to ``questions`` (each: name, kind, calls).

    A cell that kills the process, or does not end, is left out and the notebook runs again, so that
    a fault costs the questions of its own cell. ``within``: what the notebook is kept in. That is
    BUBBLEWRAP; or, where there is none, the number of a user who has nothing (`lone_user`); or None
    for notebooks of one's own, which are not kept in at all. Raises NoSandboxError if it did not
    start.
    """
    outcome, skip, began = Outcome(), [], time.monotonic()
    questions = list(questions)
    while True:
        left = limits.total_s - (time.monotonic() - began)
        ended, at = _once(cells, questions, skip, limits, left, within, outcome)
        if ended is None:
            break
        _blame(outcome, at["questions"], ended)
        too_late = limits.total_s - (time.monotonic() - began) < 1
        if at["start"] is None or too_late or len(skip) == AGAIN:
            break
        if isinstance(at["start"], str):  # a function that was called
            questions = [one for one in questions if one["name"] != at["start"]]
            outcome.answers[at["start"]] = {"error": ended}
        else:
            skip.append(at["start"])
    outcome.seconds = time.monotonic() - began
    return outcome


def _blame(outcome, questions, fault):
    for one in questions:
        outcome.faults.setdefault(one, fault)
    told = outcome.other_faults
    if not questions and len(told) < FAULTS and fault not in told:
        told.append(fault)


def _once(cells, questions, skip, limits, seconds, within, outcome):
    """One run: (None, …) if it came to its end, else (what ended it, the message of where)."""
    with tempfile.TemporaryDirectory() as folder:
        job = {"cells": list(cells), "questions": questions, "skip": skip}
        Path(folder, "job.json").write_text(json.dumps(job), "utf-8")
        shutil.copy(HERE / "runner.py", folder)
        process, answers = _start(folder, limits, within)
        heard = _Heard(outcome, {*range(len(cells)), *(one["name"] for one in questions)})
        try:
            fault, outcome.output = _watch(process, answers, limits, seconds, heard, within)
        finally:
            _kill(process, within)
            process.stdout.close()
            os.close(answers)
    if fault and not heard.ready:
        raise NoSandboxError(f"the sandbox did not start: {outcome.output[-500:]}")
    return fault, heard.place


def _start(folder, limits, within):
    """The process, and the end of the pipe from which its messages come."""
    ours, theirs = os.pipe()
    refused = os.memfd_create("refused")
    os.write(refused, system_calls.refuse())
    os.lseek(refused, 0, os.SEEK_SET)
    confined = ["prlimit", f"--data={limits.memory_mb * 2**20}", "--core=0", "--nofile=256"]
    confined += [f"--fsize={limits.scratch_mb * 2**20}"]
    runner, environment, who = Path(folder, "runner.py"), os.environ | CALM, {}
    if isinstance(within, int):
        confined += [f"--nproc={limits.processes}", "setpriv", "--no-new-privs", "--"]
        environment = CALM | {"HOME": _scratch(folder, within), "PATH": "/usr/bin:/bin"}
        who = {"user": within, "group": within, "extra_groups": []}
    elif os.getuid():  # Linux does not count root's processes; the watch below does
        confined += [f"--nproc={_running() + limits.processes}"]
    if within == BUBBLEWRAP:
        confined += [*_bwrap(limits.scratch_mb), "--ro-bind", folder, "/job"]
        confined += ["--seccomp", str(refused), *SEALED, "--"]
        runner, environment = "/job/runner.py", {"PATH": os.environ.get("PATH", "/usr/bin:/bin")}
    try:
        process = subprocess.Popen(
            [*confined, sys.executable, "-u", str(runner), str(theirs)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(theirs, refused),
            env=environment,
            cwd=environment["HOME"] if who else folder,
            start_new_session=True,
            **who,
        )
    except OSError as error:
        os.close(ours)
        raise NoSandboxError(f"the sandbox did not start: {error}") from error
    finally:
        os.close(theirs)
        os.close(refused)
    return process, ours


def _scratch(folder, user):
    """A folder that the user may write, in one that they may only pass through."""
    scratch = Path(folder, "scratch")
    scratch.mkdir()
    os.chown(scratch, user, user)
    os.chmod(folder, 0o711)
    return str(scratch)


def _running():
    """How many tasks this user has, which its limit counts in."""
    return sum(
        one.info["num_threads"] or 0
        for one in psutil.process_iter(["uids", "num_threads"])
        if one.info["uids"] and one.info["uids"].real == os.getuid()
    )


class _Heard:
    """What a notebook has told on its pipe so far; the answers go into ``outcome``.

    ``places``: the positions of cells and the questions that it may speak of.
    """

    def __init__(self, outcome, places):
        self.outcome, self.places = outcome, places
        self.place, self.since = {"start": None, "questions": []}, time.monotonic()
        self.ready = self.done = False
        self.size, self.begun = 0, b""

    def take(self, chunk):
        self.size += len(chunk)
        *lines, self.begun = (self.begun + chunk).split(b"\n")
        for message in filter(None, (_message(one, self.places) for one in lines)):
            self.ready = self.ready or "ready" in message
            if "start" in message:
                self.place = {"start": message["start"], "questions": message["questions"]}
                self.since = time.monotonic()
            if message.get("done"):
                self.done = True
                break
            _take(message, self.outcome)


def _watch(process, answers, limits, seconds, heard, within):
    """Listen until it has ended: what ended it (None where it came to its end), what it printed."""
    text, printed = bytearray(), 0
    until, looked = time.monotonic() + seconds, 0.0
    with selectors.DefaultSelector() as selector:
        selector.register(answers, selectors.EVENT_READ)
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            told = selector.select(timeout=0.05)
            for key, _ in told:
                chunk = os.read(key.fd, 65536)
                if not chunk:
                    selector.unregister(key.fileobj)
                elif key.fd == answers:
                    heard.take(chunk)
                else:
                    printed += len(chunk)
                    text += chunk[: max(0, SHOWN - len(text))]
            now, fault = time.monotonic(), None
            if answers not in selector.get_map() or (not told and process.poll() is not None):
                fault = _how_it_died(process)
            elif now > until:
                fault = f"the notebook took more than {limits.total_s:.0f} s"
            elif now - heard.since > limits.cell_s:
                fault = f"a cell took more than {limits.cell_s:.0f} s"
            elif printed > limits.output_mb * 2**20:
                fault = f"a cell printed more than {limits.output_mb:.0f} MB"
            elif heard.size > limits.answers_mb * 2**20:
                fault = f"the answers are longer than {limits.answers_mb:.0f} MB"
            elif now - looked > 0.05:
                looked, fault = now, _too_much(_family(process, within), limits)
            if heard.done or fault:
                text += _rest(process.stdout.fileno())
                return None if heard.done else fault, text.decode("utf-8", "replace")


def _rest(stream):
    """What has been printed and not yet read."""
    os.set_blocking(stream, False)
    with contextlib.suppress(BlockingIOError):
        return os.read(stream, SHOWN)
    return b""


def _message(line, places):
    """A line as a dict of the form that runner.py writes, or None: anybody may have written it.

    ``places``: the positions of cells and the questions that it may speak of.
    """
    try:
        message = json.loads(line, parse_constant=_refuse) if len(line) < LONGEST else None
        depth = _depth(message)
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, dict):
        return None
    start, question = message.get("start", ""), message.get("question", "")
    named = message.get("questions", [])
    if type(start) not in (int, str) or not isinstance(question, str) or not _texts(named):
        return None
    if not {start, question, *named} - {""} <= places:
        return None
    if depth > DEEPEST:
        message = {"question": question, "answer": {"error": f"more than {DEEPEST} lists in lists"}}
    return message if "start" not in message or "questions" in message else None


def _depth(value):
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, inside), default=0)


def _refuse(word):
    raise ValueError(word)


def _texts(value):
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _take(message, outcome):
    """Keep an answer or a fault that was told."""
    if message.get("question") and isinstance(message.get("answer"), dict):
        outcome.answers[message["question"]] = message["answer"]
    if isinstance(message.get("error"), str) and "questions" in message:
        _blame(outcome, message["questions"], message["error"][:500])


def _how_it_died(process):
    try:
        code = process.wait(timeout=1)
    except subprocess.TimeoutExpired:
        return "the process closed its answers and did not end"
    number = code - 128 if code > 128 else -code
    if number in set(signal.Signals):
        return f"the process was ended by {signal.Signals(number).name}"
    return f"the process ended itself with status {code}"


def _family(process, within):
    """All processes of a notebook: the user's, or those below the first."""
    if isinstance(within, int):
        every = psutil.process_iter(["uids"])
        return [one.pid for one in every if one.info["uids"] and within in one.info["uids"]]
    with contextlib.suppress(psutil.NoSuchProcess):
        return [one.pid for one in psutil.Process(process.pid).children(recursive=True)]
    return []


def _too_much(family, limits):
    """Whether there are too many processes or threads, or too much memory in all of them."""
    if len(family) > limits.processes:
        return f"a cell started more than {limits.processes} processes"
    used = [_used(one) for one in family]
    if sum(threads for threads, _ in used) > THREADS * limits.processes:
        return f"a cell started more than {THREADS * limits.processes} threads"
    memory = sum(kilobytes for _, kilobytes in used) + sum(map(_files, family[:1]))
    if memory > limits.memory_mb * 2**10:
        return f"a cell took more than {limits.memory_mb:,} MB of memory"
    return None


def _used(pid):
    """Threads of a process, and its kilobytes, also in swap and page tables; (0, 0) if it ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text("utf-8", "replace").splitlines()
    except OSError:
        return 0, 0
    told = dict(one.split(":", 1) for one in lines)
    threads, *memory = (
        int(told.get(name, "0").split()[0]) for name in ("Threads", "VmRSS", "VmSwap", "VmPTE")
    )
    return threads, sum(memory)


def _files(pid):
    """Kilobytes of what lies in the scratch folders of the sandbox that a process is in."""
    root, total = f"/proc/{pid}/root", 0
    with contextlib.suppress(OSError):
        if not os.path.samefile(root, "/"):
            for folder in SCRATCH:
                there = os.statvfs(root + folder)
                total += (there.f_blocks - there.f_bfree) * there.f_frsize // 2**10
                total += (there.f_files - there.f_ffree) * FILE
    return total


def _kill(process, within):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    if isinstance(within, int):
        subprocess.run([sys.executable, "-ISc", KILL_ALL, str(within)], check=True)
    process.wait()
