import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vglib.claims import VERDICT_MIME, Rule, all_claims, glue, readable, verdict_table

UP = Rule("C1", quantity="the number", at_least=0.5, because="it is half.")
DOWN = Rule("C7", quantity="the number", at_most=0.5, because="it is half.")
TRUE, FALSE, MIXED = [0.9] * 10, [0.1] * 10, [0.9] * 5 + [0.1] * 5


@pytest.mark.parametrize(
    ("measured", "answer"),
    [
        ({"a": TRUE}, "holds"),
        ({"a": TRUE, "b": TRUE}, "holds"),
        ({"a": FALSE, "b": FALSE}, "does not hold"),
        ({"a": TRUE, "b": FALSE}, "holds when"),
        ({"a": MIXED}, "undecided"),
        ({"a": TRUE, "b": MIXED}, "undecided"),
        ({"a": FALSE, "b": MIXED}, "undecided"),
        ({"a": TRUE, "b": FALSE, "c": MIXED}, "holds when"),
    ],
)
def test_answers(measured, answer):
    assert UP.verdict(measured, meaning="").answer == answer
    opposite = {"holds": "does not hold", "does not hold": "holds"}.get(answer, answer)
    assert DOWN.verdict(measured, meaning="").answer == opposite


@pytest.mark.parametrize(
    ("passing", "answer"), [(10, True), (9, True), (8, None), (2, None), (1, False)]
)
def test_nine_tenths_of_the_seeds_must_agree(passing, answer):
    values = [1.0] * passing + [0.0] * (10 - passing)
    assert UP.verdict({"a": values}, meaning="").conditions[0].answer is answer


def test_also_must_be_true_as_well():
    rule = Rule("C1", quantity="q", because="b", at_least=0.5, also="it is blue")
    assert rule.bound == "at least 0.5, and it is blue"
    blue, red = [True] * 10, [False] * 10
    measured = {"a": TRUE, "b": TRUE, "c": FALSE}
    verdict = rule.verdict(measured, also={"a": blue, "b": red, "c": blue}, meaning="")
    assert [c.answer for c in verdict.conditions] == [True, False, False]
    assert [c.median for c in verdict.conditions] == [0.9, 0.9, 0.1]
    for also in (None, {}, {"b": blue}, {"a": blue, "b": blue}):
        with pytest.raises(ValueError, match="also must have one entry for each of"):
            rule.verdict({"a": TRUE}, also=also, meaning="")
    with pytest.raises(ValueError, match="for each of no condition"):
        UP.verdict({"a": TRUE}, also={"a": blue}, meaning="")
    with pytest.raises(ValueError, match="one truth value for each of 10 seeds"):
        rule.verdict({"a": TRUE}, also={"a": [True]}, meaning="")


def test_the_bound_itself_counts_as_true():
    assert UP.verdict({"a": [0.5] * 5}, meaning="").answer == "holds"
    assert DOWN.verdict({"a": [0.5] * 5}, meaning="").answer == "holds"


@given(values=st.lists(st.floats(-10, 10), min_size=5, max_size=30))
def test_median_and_range_are_of_the_seeds(values):
    condition = UP.verdict({"a": values}, meaning="").conditions[0]
    assert (condition.low, condition.high) == (min(values), max(values))
    assert condition.median == pytest.approx(np.median(values), abs=1e-12)


def test_what_a_verdict_shows():
    verdict = UP.verdict({"a < b": TRUE, "c": FALSE}, meaning="Half & half.")
    data, metadata = verdict._repr_mimebundle_()
    assert data["text/plain"] == "holds when a < b"
    assert "Claim C1 holds when …" in data["text/html"]
    assert "Half &amp; half." in data["text/html"]
    assert "a &lt; b" in data["text/html"]
    assert metadata["scrapbook"] == {"name": "verdict-C1", "mime_prefix": ""}
    record = json.loads(json.dumps(data[VERDICT_MIME]))
    assert record["conditions"][0] == {
        "name": "a < b",
        "answer": "true",
        "median": "0.900",
        "range": "0.900 to 0.900",
    }
    assert "at least 0.5" in verdict_table(record)
    assert verdict.holding == 1
    assert str(DOWN.verdict({"a": TRUE}, meaning="")) == "does not hold"


def test_what_a_rule_and_a_verdict_say_is_escaped():
    rule = Rule("C1", quantity="a < b", at_least=0.0, because="c < d", also="e < f")
    assert "a &lt; b" in rule._repr_html_()
    assert "c &lt; d" in rule._repr_html_()
    values = np.arange(5.0)
    verdict = rule.verdict({"x": values}, also={"x": values >= 0}, meaning="")
    table = verdict_table(verdict.as_json())
    assert "a &lt; b: at least 0, and e &lt; f" in table
    assert "<td>2.00</td><td>0.00 to 4.00</td>" in table


def test_glue_rounds_to_the_digits_asked_for(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, **_: shown.extend(data.values()))
    glue("a", 0.123456, 2)
    glue("b", np.str_("words"))
    assert shown == ["'0.12'", "'words'"]


def test_a_rule_shows_the_claim_and_its_reason():
    html = DOWN._repr_html_()
    assert all_claims()["C7"]["wording"] in html
    assert "at most 0.5" in html
    assert "it is half." in html


@pytest.mark.parametrize(
    ("measured", "message"),
    [
        ({}, "claim C1 needs at least one condition; none was given"),
        (
            {"a": [1.0] * 4},
            "condition 'a' needs one value for each of 5 seeds or more, not an array of",
        ),
        ({"a": np.ones((5, 2))}, "not an array of shape (5, 2)"),
        ({"a": [1, 2, 3, 4, np.nan]}, "condition 'a' has values that are not finite"),
    ],
)
def test_bad_measurements_are_refused(measured, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        UP.verdict(measured, meaning="")


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        (dict(claim="Z9", at_least=1.0), "unknown claim 'Z9'; choose one of: B1, B2, C1"),
        (dict(claim="C1"), "a rule needs exactly one bound"),
        (dict(claim="C1", at_least=float("nan")), "must be a finite number"),
        (dict(claim="C1", at_least=1.0, at_most=2.0), "a rule needs exactly one bound"),
    ],
)
def test_bad_rules_are_refused(keywords, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Rule(quantity="q", because="b", **keywords)


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.2346, 3, "0.235"),
        (1.0, 3, "1.00"),
        (0.32, 3, "0.320"),
        (12345, 3, "1.23 × 10⁴"),
        (1234, 3, "1230"),
        (999.9, 3, "1000"),
        (0.00123, 2, "0.0012"),
        (1.234e-19, 2, "1.2 × 10⁻¹⁹"),
        (-0.5, 2, "-0.50"),
        (0, 2, "0.0"),
        (-0.0, 3, "0.00"),
        (9.999e-5, 2, "1.0 × 10⁻⁴"),
    ],
)
def test_readable(value, digits, text):
    assert readable(value, digits) == text


def test_readable_refuses_what_is_not_a_number():
    with pytest.raises(ValueError, match="only finite numbers can be written out, not nan"):
        readable(float("nan"))


@pytest.mark.parametrize(("value", "text"), [(0.97, "'0.970'"), ("in words", "'in words'")])
def test_glue_makes_an_output_that_myst_nb_finds(value, text, monkeypatch):
    shown = []
    monkeypatch.setattr(
        "IPython.display.display", lambda data, **keywords: shown.append((data, keywords))
    )
    glue("a-name", value)
    ((data, keywords),) = shown
    prefix = keywords["metadata"]["scrapbook"]["mime_prefix"]
    assert keywords["metadata"]["scrapbook"]["name"] == "a-name"
    assert keywords["raw"] is True
    assert data == {f"{prefix}text/plain": text}


def test_every_claim_is_complete():
    for name, claim in all_claims().items():
        assert re.fullmatch(r"[BCKDRH]\d+", name)
        assert claim["wording"].endswith(".")
        assert set(claim) <= {"part", "short", "wording", "lesson", "source", "history"}


def test_every_claim_has_a_short_form_of_its_own():
    shorts = {name: claim["short"] for name, claim in all_claims().items()}
    assert len(shorts) == len(set(shorts.values())) == 62
    for name, short in shorts.items():
        assert re.fullmatch(r"[A-Za-z][^\n]{6,58}[^\s.:;,]", short), f"{name}: {short!r}"
        assert not re.search(r"\b(yes|undecided|it depends|not tested|we)\b", short.lower()), name
