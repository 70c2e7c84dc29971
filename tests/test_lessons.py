"""The lessons as documents: anatomy, alt text, captions, stored outputs. nbval runs them."""

import re
import statistics
from functools import cache
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest

from tools.lessons import is_fresh, lessons
from vglib.claims import VERDICT_MIME, all_claims

PATHS = lessons()
NAMES = [path.parent.name + "/" + path.stem for path in PATHS]
every_lesson = pytest.mark.parametrize("path", PATHS, ids=NAMES)


@cache
def read(path):
    return nbformat.read(path, as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def prose(notebook):
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def tags(cell):
    return cell.metadata.get("tags", [])


def statements(cell):
    lines = [line.strip() for line in cell.source.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def setup_cell(path):
    return code(read(path))[0].source


def test_there_are_lessons():
    assert PATHS


@every_lesson
def test_setup_cell_is_the_same_everywhere(path):
    assert setup_cell(path) == setup_cell(PATHS[0])
    assert "--no-deps" in setup_cell(path)
    assert "VGLIB_SEED" in setup_cell(path)


@every_lesson
def test_size(path):
    notebook = read(path)
    shown = [cell for cell in code(notebook) if "remove-cell" not in tags(cell)]
    lengths = [len(statements(cell)) for cell in shown]
    words = len(prose(notebook).split())
    assert 12 <= len(lengths) <= 25
    assert statistics.median(lengths) <= 12
    assert max(lengths) <= 25
    assert 800 <= words <= 1500


@every_lesson
def test_sections_come_in_order(path):
    headings = re.findall(r"^#+ (.*)$", prose(read(path)), flags=re.MULTILINE)
    assert headings[0].endswith("?")
    wanted = ["Predict", "The rules, before the measurement", "Measure", "Compare"]
    wanted += ["Where the simple story fails", "Exercises", "What we learned"]
    assert [heading for heading in headings if heading in wanted] == wanted
    text = prose(read(path))
    for phrase in ("**Question.**", "**Before you start.**", "**Afterwards**", "**Time.**"):
        assert phrase in text
    assert "write your guess down" in text
    assert "**References.**" in text
    assert "**Next question.**" in text
    assert "**Your own network.**" in text


@every_lesson
def test_prose_between_code(path):
    cells = [cell for cell in read(path).cells if "remove-cell" not in tags(cell)]
    kinds = [cell.cell_type for cell in cells]
    pairs = list(pairwise(kinds))
    assert pairs.count(("code", "code")) <= 0.3 * kinds.count("code")


@every_lesson
def test_rules_come_before_measurements_and_own_their_claims(path):
    name = path.relative_to(path.parents[1]).with_suffix("").as_posix()
    cells = read(path).cells
    owned = [claim for claim, entry in all_claims().items() if entry.get("lesson") == name]
    stored = [
        output.data[VERDICT_MIME]["claim"]
        for cell in code(read(path))
        for output in cell.outputs
        if VERDICT_MIME in output.get("data", {})
    ]
    assert set(owned) <= set(stored)

    def first(text):
        return next(i for i, cell in enumerate(cells) if text in cell.source)

    for claim in stored:
        rule = first(f'"{claim}"')
        assert first("## The rules, before the measurement") < rule < first("## Measure")
        assert rule < first(f"{claim}.verdict(")


@every_lesson
def test_images_have_alt_text_a_caption_and_an_assertion(path):
    for cell in code(read(path)):
        if not any("image/png" in output.get("data", {}) for output in cell.outputs):
            continue
        settings = cell.metadata.get("mystnb", {})
        alt = settings.get("image", {}).get("alt", "")
        caption = settings.get("figure", {}).get("caption", "")
        assert len(alt) > 60, f"alt text is missing or too short: {alt!r}"
        assert len(caption) > 60
        assert not re.search(r"\.(png|svg)", alt)
        assert "assert " in cell.source


@every_lesson
def test_there_is_a_figure_with_sliders(path):
    html = [o.get("data", {}).get("text/html", "") for c in code(read(path)) for o in c.outputs]
    assert any("<vg-slider-" in text for text in html)


@every_lesson
def test_captions_state_no_decimal_number(path):
    for cell in code(read(path)):
        caption = cell.metadata.get("mystnb", {}).get("figure", {}).get("caption", "")
        assert not re.search(r"\d[.,]\d|10⁻|\d e-", caption), caption


@every_lesson
def test_exercises_have_hidden_solutions(path):
    cells = read(path).cells
    texts = [cell.source for cell in cells]
    start = next(i for i, text in enumerate(texts) if "## Exercises" in text)
    stop = next(i for i, text in enumerate(texts) if "## What we learned" in text)
    tasks = [i for i in range(start, stop) if re.search(r"^\*\*\d\. ", texts[i], re.MULTILINE)]
    assert len(tasks) >= 3
    for i in tasks:
        assert cells[i + 1].cell_type == "code"
        assert "hide-cell" in tags(cells[i + 1])


@every_lesson
def test_live_cells_are_marked_and_keep_no_output(path):
    cells = read(path).cells
    live = [i for i, cell in enumerate(cells) if "interact(" in cell.source]
    assert live
    for i in live:
        assert {"live", "nbval-ignore-output", "remove-output"} <= set(tags(cells[i]))
        assert cells[i].outputs == []
        assert "needs a running Python" in cells[i - 1].source


@every_lesson
def test_outputs_are_stored_and_fresh(path):
    notebook = read(path)
    assert is_fresh(notebook), f"{path} has stale outputs: run `make lessons`"
    assert all(cell.execution_count for cell in code(notebook))
    assert not [o for c in code(notebook) for o in c.outputs if o.output_type == "error"]
    assert "widgets" not in notebook.metadata
    assert path.stat().st_size < 400_000
    assert not re.search(r"[\"' (]/(home|tmp|work|root|Users)/", Path(path).read_text())
