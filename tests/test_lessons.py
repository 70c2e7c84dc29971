"""What hurts a reader of a lesson: one test a rule, which lists the lessons that break it.

nbval runs the lessons. How long they are and how they are told is judged by reading.
"""

import ast
import builtins
import copy
import re
from functools import cache

import nbformat
from IPython.core.inputtransformer2 import TransformerManager

from tools.lessons import FOLDED, fold, is_fresh, lessons, name_of
from tools.outputs import CHART
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


CUT = {"seen": 76, "folded": 74}  # columns that fit the page at 1280 pixels


def is_seen(cell):
    return not tags(cell) & FOLDED


def names(cell, kind):
    """The names that a cell gives a value (Store) or uses (Load)."""
    tree = ast.parse(TransformerManager().transform_cell(cell.source))
    found = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, kind)}
    if kind is ast.Store:
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found.add(node.name)
            elif isinstance(node, ast.arg):
                found.add(node.arg)
            elif isinstance(node, ast.Import | ast.ImportFrom):
                found |= {(a.asname or a.name).split(".")[0] for a in node.names}
    return found


@every_lesson
def test_no_line_is_cut_on_the_page(path):
    for cell in code(read(path)):
        limit = CUT["seen" if is_seen(cell) else "folded"]
        if "remove-cell" not in tags(cell):
            for line in cell.source.splitlines():
                if len(line) > limit:
                    yield f"{len(line)} columns, {limit} fit: {line}"


@every_lesson
def test_what_is_seen_uses_only_names_that_were_seen(path):
    known = {*dir(builtins), "display"}
    for cell in code(read(path)):
        if is_seen(cell):
            known |= names(cell, ast.Store)
            if unknown := names(cell, ast.Load) - known:
                yield f"{', '.join(sorted(unknown))} in: {cell.source.splitlines()[0]}"


@every_lesson
def test_code_is_folded_the_same_way_everywhere(path):
    folded = copy.deepcopy(read(path))
    fold(folded)
    for cell, again in zip(read(path).cells, folded.cells, strict=True):
        if cell.metadata != again.metadata:
            yield f"run tools.lessons.fold on: {cell.source[:60]!r}"


@every_lesson
def test_nothing_but_numbers_for_the_chapter_is_removed(path):
    for cell in code(read(path)):
        if "remove-input" in tags(cell) or ("remove-cell" in tags(cell)) > ("glue(" in cell.source):
            yield f"fold it with hide-input: {cell.source[:60]!r}"


def test_there_are_lessons():
    assert lessons()


@every_lesson
def test_setup_cell_is_the_same_everywhere(path):
    setup = code(read(path))[0]
    if setup.source != code(read(lessons()[0]))[0].source:
        yield "its first cell is not that of the first lesson"
    if "--no-deps" not in setup.source or is_seen(setup):
        yield "its first cell is not folded, or takes Colab's torch away"


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


def is_picture(kind, shown):
    return kind == "image/png" or (kind == "text/html" and CHART in shown[kind])


@every_lesson
def test_images_have_alt_text_a_caption_and_an_assertion(path):
    for cell in code(read(path)):
        pictures = [kind for shown in data(cell) for kind in shown if is_picture(kind, shown)]
        if not pictures or "remove-output" in tags(cell):
            continue
        settings = cell.metadata.get("mystnb", {})
        has_own = CHART in str(data(cell))  # a chart says itself what it shows
        wanted = [("alt", "image")] * (not has_own) + [("caption", "figure")]
        for what, kind in wanted:
            text = settings.get(kind, {}).get(what, "")
            if len(text) <= 60 or re.search(r"\.(png|svg)", text):
                yield f"{what} text is missing or too short: {text!r}"
        cells = code(read(path))
        if not any("assert " in other.source for other in cells[cells.index(cell) :]):
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
