"""Judges plain answers. It never runs, imports or unpickles anything of a student's."""

import math
import numbers
from typing import Any

from grading import assignment as assignments
from grading.assignment import Assignment
from grading.sandbox import Outcome

LONGEST = 20_000  # characters kept of a paragraph


def requests(assignment: Assignment, inputs: dict, seed: int) -> list[dict]:
    """What the sandbox is asked to bring back."""
    asked = [{"name": "code", "kind": "text", "calls": []}]
    for one in assignment.questions:
        if one.kind != "paragraph":
            calls = one.calls(inputs, seed) if one.kind == "function" else []
            asked.append({"name": one.name, "kind": one.kind, "calls": calls})
    return asked


def judge(
    assignment: Assignment,
    notebook: dict,
    outcome: Outcome,
    inputs: dict,
    asked: list[dict],
    code: str,
) -> dict:
    """Points and feedback by question, and what a person has to look at.

    ``asked`` is what `requests` made for the same inputs.
    """
    questions, person = {}, []
    calls = {one["name"]: one["calls"] for one in asked}
    for one in assignment.questions:
        told = outcome.answers.get(one.name, {"missing": f"nothing is called {one.name}"})
        mark = {"of": one.points, "points": 0.0, "fault": outcome.faults.get(one.name)}
        if one.kind == "paragraph":
            written = assignments.paragraph(notebook, one.name)
            mark["answer"] = written or assignments.stray(assignment, notebook, one.name)
            mark["answer"] = mark["answer"][:LONGEST]
            mark["criteria"] = assignments.criteria(assignment, one)
            mark["feedback"] = "Marked by a person." if mark["answer"] else "Nothing was written."
            if mark["answer"]:
                mark["points"] = None
                where = "" if written else ", which stands in other cells than its own"
                person.append(f"{one.name}: mark the paragraph{where}")
        elif "value" not in told:
            mark["feedback"] = str(told.get("error") or told.get("missing"))[:500]
        else:
            answer = mark["answer"] = told["value"]
            if one.kind == "function":
                answer = _in_pairs(calls[one.name], answer)
            if not OF_KIND[one.kind](answer):
                mark["feedback"] = f"{one.name} should be {WANTED[one.kind]}."
            else:
                try:
                    share, mark["feedback"] = one.check(answer, inputs)
                    mark["points"] = round(one.points * float(share), 2)
                except Exception as error:  # of ours: nobody loses a point by it
                    mark |= {"points": None, "feedback": "Our check failed; a person will look."}
                    person.append(f"{one.name}: its check raised {type(error).__name__}: {error}")
        questions[one.name] = mark
    carried = outcome.answers.get("code", {}).get("value")
    if carried != code:
        person.append(f"the notebook carries the code {repr(carried)[:40]}, not this student's")
    return {"questions": questions, "person": person}


def _in_pairs(calls, answer):
    """Arguments and what came back, or None where it is not one answer for each call."""
    if not isinstance(answer, list) or len(answer) != len(calls):
        return None
    return list(zip(calls, answer, strict=True))


def number(value: Any) -> bool:
    """Whether it is one finite number."""
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return real and abs(value) < 1e308 and math.isfinite(value)


def near(value: Any, expected: float, *, within: float = 0.01) -> bool:
    """Whether a number is right to a share ``within`` of the expected one (0.01: a hundredth)."""
    if not number(value):
        return False
    return abs(value - expected) <= within * abs(expected)


OF_KIND = {
    "number": number,
    "numbers": lambda value: isinstance(value, list) and all(map(number, value)),
    "text": lambda value: isinstance(value, str),
    "function": lambda value: value is not None,
}
WANTED = {
    "number": "one finite number",
    "numbers": "a list of finite numbers",
    "text": "a text",
    "function": "a function",
}
