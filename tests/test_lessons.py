"""What hurts a reader of a lesson: one test a rule, which lists the lessons that break it.

nbval runs the lessons. How long they are and how they are told is judged by reading.
"""

import re
from functools import cache

import nbformat

from tools.lessons import is_fresh, lessons, name_of
from vglib.claims import VERDICT_MIME, all_claims


@cache
def read(path):
    return nbformat.read(path, as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def data(cell):
    """What a code cell shows, a dict for each of its outputs."""
    return [output.get("data", {}) for output in cell.get("outputs", [])]


def tags(cell):
    return set(cell.metadata.get("tags", []))


def every_lesson(rule):
    """The test that lists what ``rule(path)`` yields, whatever is wrong, over all lessons."""

    def test():
        found = [f"{name_of(path)}: {wrong}" for path in lessons() for wrong in rule(path)]
        assert not found, "\n" + "\n".join(found)

    return test


def test_there_are_lessons():
    assert lessons()


@every_lesson
def test_setup_cell_is_the_same_everywhere(path):
    setup = code(read(path))[0].source
    if setup != code(read(lessons()[0]))[0].source:
        yield "its first cell is not that of the first lesson"
    for word in ("--no-deps", "VGLIB_SEED"):
        if word not in setup:
            yield f"its first cell has no {word}"


def judged_in(lesson):
    """The claims that a lesson decides, and those on which it has another opinion."""
    for claim, entry in all_claims().items():
        if entry.get("lesson") == lesson:
            yield claim
        for name, opinion in entry.get("opinions", {}).items():
            if opinion["lesson"] == lesson:
                yield f"{claim}/{name}"


@every_lesson
def test_claims_that_a_lesson_decides_have_their_verdict_in_it(path):
    shown = [each for cell in code(read(path)) for each in data(cell)]
    found = [each[VERDICT_MIME]["claim"] for each in shown if VERDICT_MIME in each]
    if sorted(found) != sorted(judged_in(name_of(path))):
        yield f"it shows verdicts on {found}"


@every_lesson
def test_a_claim_is_announced_before_it_is_decided(path):
    announced = ""
    for cell in code(read(path)):
        for shown in data(cell):
            text = shown.get("text/plain", "")
            announced += text if text.startswith("On trial: ") else ""
            claim = shown.get(VERDICT_MIME, {}).get("claim")
            if claim and f"On trial: {claim}." not in announced:
                yield f"{claim} is decided before on_trial says that it will be"


@every_lesson
def test_images_have_alt_text_a_caption_and_an_assertion(path):
    for cell in code(read(path)):
        if not any("image/png" in shown for shown in data(cell)):
            continue
        settings = cell.metadata.get("mystnb", {})
        for what, kind in (("alt", "image"), ("caption", "figure")):
            text = settings.get(kind, {}).get(what, "")
            if len(text) <= 60 or re.search(r"\.(png|svg)", text):
                yield f"{what} text is missing or too short: {text!r}"
        if "assert " not in cell.source:
            yield f"nothing asserts what this caption says: {settings}"


@every_lesson
def test_captions_state_no_decimal_number(path):
    for cell in code(read(path)):
        caption = cell.metadata.get("mystnb", {}).get("figure", {}).get("caption", "")
        if re.search(r"\d[.,]\d|10⁻|\d e-", caption):
            yield caption


@every_lesson
def test_exercises_have_hidden_solutions(path):
    cells = read(path).cells
    tasks = [i for i, cell in enumerate(cells) if re.search(r"^\*\*\d\. ", cell.source, re.M)]
    if not tasks:
        yield "no exercise was found"
    for i in tasks:
        if i + 1 == len(cells) or "hide-cell" not in tags(cells[i + 1]):
            yield f"no hidden solution after: {cells[i].source[:60]!r}"


@every_lesson
def test_live_cells_are_marked_and_keep_no_output(path):
    for cell in code(read(path)):
        if "interact(" in cell.source or "live" in tags(cell):
            if not {"live", "nbval-ignore-output", "remove-output"} <= tags(cell):
                yield f"a live cell has only the tags {sorted(tags(cell))}"
            if cell.outputs:
                yield f"a live cell keeps its output: {cell.source[:60]!r}"


@every_lesson
def test_outputs_are_stored_and_fresh(path):
    if not is_fresh(read(path)):
        yield "its outputs are stale: run `make lessons`"
    for cell in code(read(path)):
        if not cell.execution_count:
            yield f"a cell was never run: {cell.source[:60]!r}"
        if any(output.output_type == "error" for output in cell.outputs):
            yield f"an error is stored: {cell.source[:60]!r}"
    if "widgets" in read(path).metadata:
        yield "it keeps the state of widgets"


@every_lesson
def test_no_path_of_a_machine_is_stored(path):
    text = path.read_text("utf-8")
    yield from set(re.findall(r"[\"' (]/(?:home|tmp|work|root|Users)/\S*", text))
