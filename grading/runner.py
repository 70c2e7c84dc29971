"""Runs a student's notebook inside the sandbox and exports plain answers. Nothing here is trusted.

It is started with two files in its folder, this one and ``job.json``, and tells what it does by
lines of JSON on a pipe: the start of each cell, what went wrong in it, and after it the
answers so far. Whatever a student's code does to this process, it can only change these answers.

An answer is what a name stands for once the notebook has run: a number, a text, a list of them; or
a function, which is called here on arguments that the student has not seen, so that its answer is
what it returned for each.
"""

import ast
import contextlib
import json
import math
import os
import sys
import types
from pathlib import Path

LONGEST = 200_000  # characters of one answer


def plain(value):
    """Numbers, texts, lists and dicts of them; tensors and arrays as lists."""
    if hasattr(value, "detach"):
        value = value.detach()
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):  # JSON has no word for these
        return value if math.isfinite(value) else {"not finite": str(value)}
    raise TypeError(f"an answer must be numbers, text or lists of them, not {type(value).__name__}")


def answer(namespace, question):
    """What the student's notebook says to one question, as {"value": …} or {"error": …}."""
    name = question["name"]
    if name not in namespace:
        return {"missing": f"nothing is called {name}"}
    if namespace[name] is ...:
        return {"missing": "not answered"}
    try:
        value = namespace[name]
        if question["kind"] == "function":
            if not callable(value):
                raise TypeError(f"{name} must be a function, not {type(value).__name__}")
            value = [value(*map(given, arguments)) for arguments in question["calls"]]
        text = json.dumps(plain(value))
        if len(text) > LONGEST:
            raise ValueError(f"{name} is too long: {len(text):,} characters of {LONGEST:,}")
        return {"value": json.loads(text)}
    except BaseException as error:  # a student's function may raise anything, SystemExit too
        return {"error": f"{type(error).__name__}: {error}"[:500]}


def given(argument):
    """An argument as the student's function gets it: lists as tensors."""
    if isinstance(argument, list):
        import torch

        return torch.tensor(argument, dtype=torch.float64)
    return argument


def assigned(source):
    """The names that a cell defines at its top level, as far as it can be read."""
    with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
        return {
            one.id if isinstance(one, ast.Name) else one.name
            for one in ast.walk(ast.parse(source))
            if (isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store))
            or isinstance(one, ast.FunctionDef | ast.ClassDef)
        }
    return set()


def main():
    channel = os.fdopen(int(sys.argv[1]), "w", encoding="utf-8")

    def tell(**message):
        channel.write(json.dumps(message) + "\n")
        channel.flush()

    job = json.loads((Path(__file__).parent / "job.json").read_text("utf-8"))
    from IPython.core.interactiveshell import InteractiveShell

    tell(ready=True)
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    shell = InteractiveShell.instance(user_module=module)
    shell.colors = "NoColor"
    shell.history_manager.enabled = False
    shell.ask_exit = lambda: None  # exit() ends nothing here
    names = {question["name"] for question in job["questions"]}
    for position, source in enumerate(job["cells"]):
        if position in job["skip"]:
            continue
        if len(source) > 10_000:  # only to read it may take long
            tell(start=position, questions=[])
        here = sorted(assigned(source) & names)
        tell(start=position, questions=here)
        result = shell.run_cell(source, store_history=False)
        error = result.error_before_exec or result.error_in_exec
        if error is not None:
            tell(failed=position, questions=here, error=f"{type(error).__name__}: {error}"[:500])
        for question in job["questions"]:
            if question["name"] in here and question["kind"] != "function":
                tell(question=question["name"], answer=answer(module.__dict__, question))
    for question in job["questions"]:
        tell(start=question["name"], questions=[question["name"]])
        tell(question=question["name"], answer=answer(module.__dict__, question))
    tell(done=True)
    os._exit(0)  # threads and exit handlers of the student's do not hold up the class


if __name__ == "__main__":
    main()
