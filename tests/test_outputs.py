"""Numbers that survive other arithmetic: which digits are stored, and what is compared."""

import copy
import json
import re
import subprocess
import sys

import nbformat
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_notebook, new_output

from tools import lessons as tool
from tools.outputs import (
    CHART,
    NUMBER,
    SCALE,
    TOLERANCES,
    Number,
    agree,
    differences,
    keep_what_survives,
    texts,
)
from vglib.lesson import readable, table


def notebook(text, *, kind="text/plain", tags=()):
    """A lesson of one cell that shows ``text``, or other data."""
    output = new_output("display_data", {kind: text})
    cell = new_code_cell("show()", outputs=[output], metadata={"tags": [*tags]}, execution_count=1)
    return new_notebook(cells=[cell])


def stored(*versions, **keywords):
    """The cell that is stored when the runs show ``versions``, the first where nothing is odd."""
    first, *others = (notebook(text, **keywords) for text in versions)
    assert keep_what_survives(first, others) == {}
    return first.cells[0]


def shown(cell, kind="text/plain"):
    return cell.outputs[0].data[kind]


def later(cell, text, kind="text/plain"):
    """What a later run that shows ``text`` says otherwise."""
    return differences(cell, notebook(text, kind=kind).cells[0].outputs)


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("0.496", 0.496, 0.001),
        ("-12", -12, 1),
        ("−4.0", -4, 0.1),
        ("1.15 × 10¹³", 1.15e13, 1e11),
        ("6.78e+04", 6.78e4, 1e2),
        ("2 × 10⁻⁹", 2e-9, 1e-9),
        ("200,000", 2e5, 1),
    ],
)
def test_a_number_has_a_value_and_a_unit(text, value, unit):
    assert NUMBER.findall(f"got {text}, so") == [text]
    assert Number(text).value == pytest.approx(value, rel=1e-12, abs=0)
    assert Number(text).unit == pytest.approx(unit, rel=1e-12, abs=0)


def test_digits_of_a_word_are_no_number():
    words = "C11 vg-slider-fef75cda torch 2.13.0 <Figure size 960x360> layer_1 h1"
    assert NUMBER.findall(words) == []
    assert NUMBER.findall("[100,200,305]") == ["100", "200", "305"]


@pytest.mark.parametrize(
    ("versions", "kept"),
    [
        (["0.496", "0.496"], "0.496"),
        (["2.82", "2.83"], "2.82"),
        (["4.0", "3.9"], "4.0"),
        (["4.0", "3.4"], "4"),
        (["1.15 × 10¹³", "1.31 × 10¹³"], "1.1 × 10¹³"),
        (["6.79 × 10¹³", "4.00 × 10¹⁴"], "7 × 10¹³"),
        (["9.62 × 10⁸", "9.11 × 10⁸"], "9 × 10⁸"),
        (["6.78e+04", "7.06e+04"], "6.8e+04"),
        (["0.00318", "1.19 × 10⁻⁴"], "0.003"),
        (["5400", "6870"], "5000"),
        (["4,000 steps", "3,963 steps"], "4,000 steps"),
        (["12,345.6", "12,399.9"], "12,300"),
        (["007, 0.31", "007, 0.38"], "007, 0.3"),
        (["97 %", "92 %"], "97 %"),
        (["97 %", "91 %"], "100 %"),
        (["-0.652", "-0.658"], "-0.65"),
        (["0.00", "0.01"], "0.00"),
        (["0.00", "0.06"], "0.0"),
        (["layer 1: 1.58e13, 0.5", "layer 1: 1.03e13, 0.5"], "layer 1: 2e13, 0.5"),
    ],
)
def test_stored_are_the_digits_that_all_runs_confirm(versions, kept):
    assert shown(stored(*versions)) == kept


def test_the_order_of_the_other_runs_does_not_matter():
    runs = ["2.46 × 10⁵", "2.31 × 10⁵", "2.60 × 10⁵"]
    one, other = stored(*runs), stored(runs[0], runs[2], runs[1])
    assert (one.outputs, one.metadata) == (other.outputs, other.metadata)


numbers = st.lists(st.floats(1e-30, 1e30), min_size=1, max_size=6)


@given(values=numbers, noise=st.sampled_from([1e-14, 1e-3, 0.1, 1, 10]), seed=st.integers(0, 99))
def test_every_run_agrees_with_what_is_stored_of_them(values, noise, seed):
    generator = np.random.default_rng(seed)
    runs = []
    for _ in range(4):
        factors = np.exp(noise * generator.uniform(-1, 1, len(values)))
        runs.append(", ".join(map(readable, factors * values)))
    try:
        cell = stored(*runs)
    except StopIteration:  # further apart than the scale goes
        assert noise == 10
        return
    for text in runs:
        assert later(cell, text) == []


def test_what_no_run_moved_may_differ_by_one_unit_and_counts_not_at_all():
    cell = stored(
        "layer 3 of 12 gets 0.496 of 1.5 × 10⁻⁹", "layer 3 of 12 gets 0.496 of 1.5 × 10⁻⁹"
    )
    assert TOLERANCES not in cell.metadata
    assert later(cell, "layer 3 of 12 gets 0.495 of 1.6 × 10⁻⁹") == []
    assert later(cell, "layer 3 of 12 gets 0.494 of 1.5 × 10⁻⁹") == [
        "text/plain: 0.496 became 0.494, which is off by more than 1 of its last digit"
    ]
    assert later(cell, "layer 3 of 12 gets 0.496 of 1.5 × 10⁻⁸")
    assert later(cell, "layer 2 of 12 gets 0.496 of 1.5 × 10⁻⁹")
    assert later(cell, "layer 3 of 13 gets 0.496 of 1.5 × 10⁻⁹")


def test_a_power_in_a_table_is_a_number_as_well():
    rows = [table(["net", "left"], [["tanh", [3e-8, v]]]).data for v in (9e-9, 9.8e-9, 1.1e-8)]
    assert "\u00a0" in rows[0]
    cell = stored(*rows)
    assert later(cell, rows[2]) == []
    assert later(cell, rows[0].replace("⁻⁹", "⁻⁸"))


def test_a_number_far_beyond_the_distance_of_the_runs_fails():
    cell = stored("1.15 × 10¹³", "1.31 × 10¹³", "1.05 × 10¹³")
    assert later(cell, "1.44 × 10¹³") == []
    assert later(cell, "3.5 × 10¹³")
    assert later(cell, "2.7 × 10¹²")
    assert later(cell, "1.2 × 10¹⁰")
    assert later(cell, "-1.15 × 10¹³")


def test_words_names_and_answers_are_compared_exactly():
    verdict = {"answer": "holds when", "conditions": [{"name": "gain 16", "median": "1.15"}]}
    kind = "application/vnd.vglib.verdict+json"
    moved = json.loads(json.dumps(verdict).replace("1.15", "1.31"))
    cell = stored(verdict, moved, kind=kind)
    assert shown(cell, kind)["conditions"] == [{"name": "gain 16", "median": "1.1"}]
    assert later(cell, moved, kind) == []
    assert later(cell, dict(reversed(moved.items())), kind) == []  # as a file has them sorted
    for old, new in (("holds when", "holds"), ("gain 16", "gain 8"), ("gain 16", "gains 16")):
        other = json.loads(json.dumps(verdict).replace(old, new))
        assert later(cell, other, kind), (old, new)


def test_a_large_number_among_data_is_compared_by_its_own_digits():
    kind = "application/vnd.vglib.verdict+json"
    cell = stored({"median": 1.152e13}, {"median": 1.31e13}, kind=kind)
    assert shown(cell, kind) == {"median": 1.2e13}
    assert later(cell, {"median": 1.44e13}, kind) == []
    assert later(cell, {"median": 3.5e13}, kind)
    assert later(cell, {"median": 1.2e10}, kind)
    cell = stored({"median": 1.152e13}, {"median": 1.152e13}, kind=kind)
    assert shown(cell, kind) == {"median": 1.152e13}
    assert later(cell, {"median": 1.154e13}, kind)


def test_spaces_that_line_numbers_up_are_no_words():
    cell = stored("layer  1: 0.5  0.25", "layer  1: 0.5  0.25")
    assert later(cell, "layer 1:  0.5  0.25") == []
    assert later(cell, "layer 1: 0.5\n0.25")


def test_outputs_that_are_missing_or_new_are_a_difference():
    cell = stored("0.5", "0.5")
    assert differences(cell, [])
    more = [*cell.outputs, new_output("stream", name="stdout", text="a warning")]
    assert differences(cell, more)


def test_curves_of_a_slider_keep_a_digit_more_than_its_sentences():
    runs = [f"<vg-slider>Layer 1 gets 0.1{n}4.[0.1{n}4,0.50]" for n in (1, 5, 9)]
    assert shown(stored(*runs)) == "<vg-slider>Layer 1 gets 0.1.[0.11,0.50]"


def test_a_neighbour_of_what_moved_is_not_taken_for_sure():
    cell = stored("0.31 0.50 70 %, layer 9", "0.38 0.50 70 %, layer 9")
    assert later(cell, "0.31 0.55 72 %, layer 9") == []
    assert later(cell, "0.31 0.50 70 %, layer 8")


def test_words_that_differ_are_reported_unless_the_cell_is_ignored():
    first, other = notebook("It vanishes: 0.12"), notebook("It explodes: 0.12")
    assert keep_what_survives(first, [other]) == {0: ["It explodes: 0.12", "It vanishes: 0.12"]}
    tags = ["nbval-ignore-output"]
    first = notebook("It vanishes: 0.12\nand 0.341", tags=tags)
    other = notebook("It explodes: 0.19\nand 0.349", tags=tags)
    assert keep_what_survives(first, [other]) == {}
    # The line whose words agree is rounded all the same.
    assert shown(first.cells[0]) == "It vanishes: 0.12\nand 0.34"
    assert TOLERANCES not in first.cells[0].metadata


def compared():
    """Every cell of the course whose stored outputs are compared, with the lesson's name."""
    for path in tool.lessons():
        for cell in nbformat.read(path, as_version=4).cells:
            ignored = "nbval-ignore-output" in cell.metadata.get("tags", [])
            if cell.cell_type == "code" and not ignored:
                yield tool.name_of(path), cell


def test_every_stored_number_fails_when_it_is_wrong_by_more_than_its_tolerance():
    count = 0
    for name, cell in compared():
        notes = cell.metadata.get(TOLERANCES, "").split(" ")
        for i, (_, text) in enumerate(texts(cell.outputs)):
            found = NUMBER.findall(text)
            note = notes[i] if TOLERANCES in cell.metadata else "." * len(found)
            for number, tolerance in zip(found, note, strict=True):
                n = Number(number)
                units = SCALE.get(tolerance, 0 if n.is_whole else 1)
                assert agree(number, number, tolerance)
                wrong = f"{n.value + (units + 1) * n.unit:.9e}"
                assert not agree(number, wrong, tolerance), (name, number, tolerance)
                count += 1
    assert count > 10_000


def test_a_wrong_number_in_any_kind_of_output_is_a_difference():
    kinds = set()
    for name, cell in compared():
        for i, output in enumerate(cell.outputs):
            for kind, content in output.get("data", {}).items():
                text = content if isinstance(content, str) else json.dumps(content)
                measured = re.search(r"(?<![\w.])\d\.\d+", text)
                if kind == "image/png" or CHART in text or not measured:
                    continue
                wrong = text.replace(measured[0], "9" + measured[0], 1)
                outputs = copy.deepcopy(cell.outputs)
                outputs[i].data[kind] = wrong if isinstance(content, str) else json.loads(wrong)
                assert differences(cell, outputs), (name, kind, measured[0])
                kinds.add(kind)
    wanted = {"text/plain", "text/html", "text/markdown", "application/vnd.vglib.verdict+json"}
    assert wanted | {"application/papermill.record/text/plain"} <= kinds


def test_tolerances_cannot_be_widened_by_hand():
    lesson = notebook("0.31")
    before = tool.outputs_hash(lesson)
    lesson.cells[0].metadata[TOLERANCES] = "9"
    assert tool.outputs_hash(lesson) != before


@pytest.fixture
def one(tmp_path, monkeypatch):
    """A course of one lesson; gives a function that refreshes it and returns its only cell."""
    for name in ("vglib/records", "lessons/causes"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "vglib" / "claims.toml").touch()
    (tmp_path / "requirements.txt").touch()
    path = tmp_path / "lessons" / "causes" / "one.ipynb"
    monkeypatch.setattr(tool, "ROOT", tmp_path)
    monkeypatch.setattr(tool, "README_PICTURE", None)

    def refresh(source, *, arithmetic=None, nudges=()):
        monkeypatch.setattr(tool, "ARITHMETIC", arithmetic or {})
        monkeypatch.setattr(tool, "NUDGES", nudges)
        nbformat.write(new_notebook(cells=[new_code_cell(source)]), path)
        tool.refresh(fresh=False)
        assert tool.is_fresh(nbformat.read(path, as_version=4))
        return nbformat.read(path, as_version=4).cells[0]

    return refresh


def test_refresh_runs_a_lesson_in_every_arithmetic(one):
    other = {"other": {"OTHER": "1"}}
    source = "import os\nprint(1.31 if 'OTHER' in os.environ else 1.15)"
    assert one(source, arithmetic=other).outputs[0].text == "1.1\n"
    with pytest.raises(SystemExit, match=r"say what holds in all:\ncauses/one, cell 0:\nno\n\nyes"):
        one(source.replace("1.31", "'no'").replace("1.15", "'yes'"), arithmetic=other)


def test_refresh_nudges_what_is_drawn(one):
    source = (
        "import torch\nx = torch.randn(1, generator=torch.Generator().manual_seed(0)).double()\n"
    )
    source += "print(f'{x.item():.12f}')"
    with_nudge, without = one(source, nudges=(1.0,)), one(source)
    digits, all_digits = with_nudge.outputs[0].text.strip(), without.outputs[0].text.strip()
    assert 6 <= len(digits) - 2 <= 8  # those of a float32
    assert all_digits.startswith(digits[:-1])
    assert with_nudge.source == source


def test_nbval_compares_by_number_and_in_other_arithmetic(root, tmp_path):
    cells = ["print(0.2)", "import os; print(os.environ.get('MKL_CBWR'))"]
    outputs = [new_output("stream", name="stdout", text=text) for text in ("0.3\n", "None\n")]
    lesson = new_notebook(
        cells=[
            new_code_cell(source, outputs=[output], execution_count=1)
            for source, output in zip(cells, outputs, strict=True)
        ]
    )
    nbformat.write(lesson, tmp_path / "one.ipynb")
    command = [sys.executable, "-m", "pytest", "-p", "lessons.conftest", "--nbval"]
    command += ["--nbval-current-env", "-q", "-rA", "--rootdir", str(tmp_path), str(tmp_path)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert "5 passed" in done.stdout
    assert "1 failed" in done.stdout
    assert "one.ipynb[plain code]::Cell 1" in done.stdout
    assert "the words 'None\\n' became 'COMPATIBLE\\n'" in done.stdout
