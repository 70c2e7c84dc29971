import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vglib import claims
from vglib.claims import (
    FIELDS,
    KINDS,
    VERDICT_MIME,
    all_claims,
    astray,
    check_rule,
    decide,
    explained,
    on_trial,
    rule,
    verdict_table,
)

TRUE, FALSE, MIXED = [0.9] * 10, [0.1] * 10, [0.9] * 5 + [0.1] * 5
BASE = dict(wording="A is B.", short="A is B", kind="always", quantity="number", says="It is.")
BASE |= dict(at_least=0.5, because="It is half.", usual=["a", "b"], stress=["c"])
SIGN = dict(kind="sign", at_least=None, usual=["s"], stress=[], ill=["i", "j"], healthy=["h", "k"])
SIGN |= dict(recall_at_least=0.9, false_alarms_at_most=0.1)


@pytest.fixture
def trial(monkeypatch):
    """Puts a made-up claim X on trial: its fields, and what was measured."""

    def put(fields=None, measured=None, **more):
        entry = {k: v for k, v in (BASE | (fields or {})).items() if v is not None}
        monkeypatch.setattr(claims, "all_claims", lambda: {"X": entry})
        return decide("X", measured, **more)

    return put


def three(a, b, c):
    return {"a": a, "b": b, "c": c}


@pytest.mark.parametrize(
    ("measured", "answer"),
    [
        ((TRUE, TRUE, TRUE), "yes"),
        ((TRUE, TRUE, FALSE), "usually"),
        ((TRUE, TRUE, MIXED), "usually"),
        ((TRUE, FALSE, TRUE), "it depends"),
        ((TRUE, MIXED, TRUE), "it depends"),
        ((FALSE, FALSE, TRUE), "not usually"),
        ((FALSE, FALSE, MIXED), "not usually"),
        ((FALSE, FALSE, FALSE), "no"),
        ((FALSE, MIXED, TRUE), "undecided"),
        ((MIXED, MIXED, TRUE), "undecided"),
    ],
)
def test_always_is_judged_by_every_setting(trial, measured, answer):
    assert trial(None, three(*measured)).answer == answer
    opposite = {"yes": "no", "no": "yes", "usually": "not usually", "not usually": "usually"}
    turned = trial(dict(at_least=None, at_most=0.5), three(*measured)).answer
    if MIXED not in measured:
        assert turned == opposite.get(answer, answer)


def test_one_setting_is_enough_for_can(trial):
    can = dict(kind="can")
    verdict = trial(can, three(FALSE, FALSE, TRUE))
    assert verdict.answer == "it can"
    assert verdict.effect == {"seen": 0, "of": 2, "text": "in 0 of 2 usual settings"}
    assert trial(can, three(FALSE, TRUE, FALSE)).effect["seen"] == 1
    rare = trial(dict(kind="can", usual=[], stress=["a", "b", "c"]), three(FALSE, FALSE, TRUE))
    assert rare.effect["text"] == "in 1 of 3 settings"
    assert trial(can, three(FALSE, FALSE, FALSE)).answer == "no"
    assert trial(can, three(FALSE, FALSE, MIXED)).answer == "undecided"


def test_more_is_judged_by_the_direction_alone(trial):
    more = dict(kind="more", at_least=1)
    barely, hardly = [1.01] * 10, [0.99] * 10
    assert trial(more, three(barely, barely, barely)).answer == "yes"
    assert trial(more, three(hardly, hardly, hardly)).answer == "no"
    assert trial(more, three([1.0] * 10, [1.0] * 10, barely)).answer == "not usually"
    less = dict(kind="more", at_least=None, at_most=1)
    assert trial(less, three(barely, barely, barely)).answer == "no"
    assert trial(more, three(barely, [8.0] * 10, barely)).effect["text"] == "1.0 to 8.0"
    for bound in (2, 0.5):
        with pytest.raises(ValueError, match=f"claim X: .* not {bound}: another one tests"):
            trial(dict(kind="more", at_least=bound), {})


def test_because_needs_an_effect_that_its_control_lacks(trial):
    because = dict(kind="because", control="its twin")
    measured, twins = three(TRUE, TRUE, TRUE), three(FALSE, FALSE, FALSE)
    assert trial(because, measured, control=twins).answer == "yes"
    assert trial(because, measured, control=measured).answer == "not as said"
    assert trial(because, twins, control=twins).answer == "not as said"
    with pytest.raises(ValueError, match="claim X: 'a' has 10 seeds, and its control 9"):
        trial(because, measured, control=three(TRUE[:9], FALSE, FALSE))
    verdict = trial(because, measured, control=three(TRUE, FALSE, FALSE))
    assert verdict.answer == "it depends"
    assert "<td>0.100</td>" in verdict_table(verdict.as_json())
    assert verdict.rule.bound == "at least 0.5, and it is not so for the control, its twin"


def test_a_sign_is_judged_by_what_it_catches_and_by_false_alarms(trial):
    on, off = [1] * 5, [0] * 5

    def alarms(i, j, h, k):
        return {"s": {"i": i, "j": j, "h": h, "k": k}}

    good = trial(SIGN, alarms(on, on, off, off))
    assert good.answer == "yes"
    assert good.effect["text"] == "catches 2 of 2, false alarms 0 of 2"
    assert trial(SIGN, alarms(off, off, on, on)).answer == "no"
    assert trial(SIGN, alarms(on, off, off, off)).answer == "no"  # it misses one
    assert trial(SIGN, alarms(on, on, on, off)).answer == "no"  # it cries for nothing
    split = [1, 0, 1, 0, 1]
    assert trial(SIGN, alarms(on, split, off, off)).answer == "undecided"
    assert trial(SIGN, alarms(off, split, off, off)).answer == "no"  # whatever the split one says
    for odd in ([0.4] * 5, [-1] * 5):  # how loud is not asked
        with pytest.raises(ValueError, match="'j' needs truth values"):
            trial(SIGN, alarms(on, odd, off, off))
    with pytest.raises(ValueError, match="claim X is about a sign, which has no premise"):
        trial(SIGN, alarms(on, on, off, off), premise={"s": on})
    with pytest.raises(ValueError, match="claim X, sign 's': wanted are alarms for"):
        trial(SIGN, {"s": {"i": on}})
    assert "<td>2 of 2</td><td>0 of 2</td>" in verdict_table(good.as_json())


def test_what_something_is_is_checked_once(trial):
    kind = dict(kind="is", at_least=None, at_most=1e-12)
    assert trial(kind, three(0.0, 1e-16, 1e-15)).answer == "yes"
    assert trial(kind, three(1.0, 1.0, 1.0)).answer == "no"
    with pytest.raises(ValueError, match="'a' needs one value for each of 5 seeds or more"):
        trial(None, three(1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match=r"'a' needs one number, not an array of shape \(10,\)"):
        trial(kind, three([0.0] * 9 + [1.0], 0.0, 0.0))  # nine tenths are not enough here


@pytest.mark.parametrize(
    ("passing", "answer"), [(10, True), (9, True), (8, None), (2, None), (1, False)]
)
def test_nine_tenths_of_the_seeds_must_agree(trial, passing, answer):
    values = [1.0] * passing + [0.0] * (10 - passing)
    assert trial(None, three(values, TRUE, TRUE))["a"] is answer


def test_also_must_be_true_as_well(trial):
    blue, red = [True] * 10, [False] * 10
    fields = dict(also="it is blue")
    verdict = trial(fields, three(TRUE, TRUE, FALSE), also=three(blue, red, blue))
    assert [s.answer for s in verdict.settings] == [True, False, False]
    assert verdict.rule.bound == "at least 0.5, and it is blue"
    for also in (None, {}, {"b": blue}):
        with pytest.raises(ValueError, match="claim X: also must have one entry for each setting"):
            trial(fields, three(TRUE, TRUE, TRUE), also=also)
    with pytest.raises(ValueError, match="claim X has a rule without also"):
        trial(None, three(TRUE, TRUE, TRUE), also=three(blue, blue, blue))
    with pytest.raises(ValueError, match="one truth value for each of 10 seeds"):
        trial(fields, three(TRUE, TRUE, TRUE), also=three([True], blue, blue))
    for odd in (0.3, np.nan):  # both would be true to Python
        with pytest.raises(ValueError, match="'a' needs truth values, not"):
            trial(fields, three(TRUE, TRUE, TRUE), also=three([odd] * 10, blue, blue))


def test_where_the_premise_fails_a_setting_is_silent_and_not_counted(trial):
    verdict = trial(None, three(TRUE, FALSE, FALSE), premise={"b": [False] * 10, "c": [True] * 10})
    assert [s.answer for s in verdict.settings] == [True, "silent", False]
    assert (verdict.answer, verdict.holding, verdict.tried) == ("usually", 1, 2)
    split = trial(None, three(TRUE, TRUE, TRUE), premise={"c": [True] * 5 + [False] * 5})
    assert split["c"] is None
    nowhere = {name: [False] * 10 for name in "abc"}
    silent = trial(None, three(TRUE, TRUE, TRUE), premise=nowhere)
    assert (silent.answer, silent.effect) == ("undecided", {"text": "none to be seen"})
    assert "<td>silent</td>" in silent._repr_mimebundle_()[0]["text/html"]
    with pytest.raises(KeyError):
        silent["z"]
    with pytest.raises(ValueError, match="premise of 'z', which is no setting"):
        trial(None, three(TRUE, TRUE, TRUE), premise={"z": [True] * 10})


@pytest.mark.parametrize(
    ("cut", "bound", "value", "answer"),
    [
        ("more_than", "at_least", 0.9, True),
        ("more_than", "at_least", 0.1, None),
        ("more_than", "at_most", 0.9, False),
        ("more_than", "at_most", 0.1, None),
        ("less_than", "at_least", 0.9, None),
        ("less_than", "at_least", 0.1, False),
        ("less_than", "at_most", 0.9, None),
        ("less_than", "at_most", 0.1, True),
    ],
)
def test_a_value_cut_off_before_the_bound_decides_nothing(trial, cut, bound, value, answer):
    fields = {"at_least": None, bound: 0.5, cut: ["a"]}
    verdict = trial(fields, three([value] * 5, TRUE, TRUE))
    assert verdict["a"] is answer
    word = {"more_than": "more than", "less_than": "at most"}[cut]
    assert verdict.settings[0].marks == (word,)
    assert f"<td>{word} {value:.3f}</td>" in verdict_table(verdict.as_json())
    assert word in verdict.effect["text"]


@pytest.mark.parametrize("value", [0.1, 0.9])
def test_what_is_false_wherever_a_cut_off_value_lies_is_false(trial, value):
    fields = dict(also="it is blue", more_than=["a"])
    blue = [True] * 10
    verdict = trial(fields, three([value] * 10, TRUE, TRUE), also=three([False] * 10, blue, blue))
    assert verdict["a"] is False
    fields = dict(kind="because", control="its twin", more_than=["a"])
    verdict = trial(fields, three([value] * 10, TRUE, TRUE), control=three(TRUE, FALSE, FALSE))
    assert verdict["a"] is False


def test_what_repeats_another_setting_counts_once(trial):
    fields = dict(repeats={"b": "a"}, recorded=["c"])
    verdict = trial(fields, three(TRUE, TRUE, FALSE))
    assert (verdict.holding, verdict.tried) == (1, 2)
    with pytest.raises(ValueError, match="claim X: 'b' is said to repeat 'a' and answers other"):
        trial(fields, three(TRUE, FALSE, FALSE))
    table = verdict_table(verdict.as_json())
    assert "b <small>(the same as a)</small>" in table
    assert "c <small>(from a record)</small>" in table


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        (dict(kind=None), "kind, one of always, can, .*; it has None"),
        (dict(kind="often"), "kind, one of .*; it has 'often'"),
        (dict(undecide=["a"]), "no field 'undecide'; a rule has quantity, .*undecided"),
        (dict(usual="ab"), "usual as a list of names, each once; it has 'ab'"),
        (dict(fails=["a", "a"]), "fails as a list of names, each once"),
        (dict(fails=["a"], silent=["a"]), "each setting in one of fails, .*; 'a' is in two"),
        (dict(more_than=["a"], less_than=["a"]), "each setting in one of more_than, less_than"),
        (dict(repeats={"a": "a"}), "repeats to name what counts; 'a' itself repeats another"),
        (dict(repeats={"a": "b", "b": "a"}), "repeats to name what counts"),
        (dict(wording=None), "wording; it has none"),
        (dict(at_least="0.5"), "one finite bound"),
        (dict(at_least=True), "one finite bound"),
        (dict(ill=["i"]), "ill for a sign only"),
        (dict(kind="credit"), "no rule for a credit"),
        (dict(because=None), "because, why the bound stands where it does; it has none"),
        (dict(quantity=""), "quantity; it has none"),
        (dict(says=None), "says; it has none"),
        (dict(says="Yes, it is."), "says without the answer 'yes' in front"),
        (dict(says="It depends: no."), "says without the answer 'it depends' in front"),
        (dict(at_least=None), "one finite bound, at_least or at_most; it has none"),
        (dict(at_most=1.0), r"one finite bound, .*; it has \[0.5, 1.0\]"),
        (dict(at_least=float("nan")), "one finite bound"),
        (dict(kind="because"), "control for a 'because'"),
        (dict(control="its twin"), "control for a 'because'"),
        (dict(usual=[], stress=[]), "usual and stress, each setting once; it has none"),
        (dict(stress=["a"]), "usual and stress, each setting once"),
        (dict(fails=["z"]), "only settings that are usual or stress; 'z' is neither"),
        (dict(more_than=["z"]), "only settings .* 'z' is neither"),
        (dict(repeats={"a": "z"}), "only settings .* 'z' is neither"),
        (SIGN | dict(ill=[]), "for a sign ill and healthy"),
        (SIGN | dict(ill=["i", "h"]), "for a sign ill and healthy, .* each in one"),
        (SIGN | dict(healthy=["h", "h"]), "healthy as a list of names, each once"),
        (SIGN | dict(also="it is blue"), "no also for a sign"),
        (SIGN | dict(more_than=["s"]), "no more_than for a sign"),
        (SIGN | dict(recall_at_least=None), "recall_at_least and false_alarms_at_most"),
        (SIGN | dict(recall_at_least=2), ".* both shares from 0 to 1"),
    ],
)
def test_a_rule_that_lacks_something_is_refused_by_name(fields, wanted):
    entry = {k: v for k, v in (BASE | fields).items() if v is not None}
    with pytest.raises(ValueError, match=f"claim X: vglib/claims.toml wants {wanted}"):
        check_rule("X", entry)


def test_only_what_the_rule_lists_is_decided(trial):
    with pytest.raises(ValueError, match=r"claim X is tried on .*: 'c' was not measured"):
        trial(None, {"a": TRUE, "b": TRUE})
    with pytest.raises(ValueError, match=r"claim X is tried on .*: 'd' is neither"):
        trial(None, three(TRUE, TRUE, TRUE) | {"d": TRUE})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.9] * 4, "one value for each of 5 seeds or more"),
        (np.ones((5, 2)), r"not an array of shape \(5, 2\)"),
        ([0.9] * 4 + [np.nan], "not finite"),
    ],
)
def test_values_that_cannot_be_judged_are_refused(trial, values, message):
    with pytest.raises(ValueError, match=message):
        trial(None, three(values, TRUE, TRUE))


def test_another_outcome_than_the_sentence_was_written_for_is_told(trial):
    fields = dict(fails=["c"], silent=["b"])
    premise = {"b": [False] * 10}
    assert trial(fields, three(TRUE, TRUE, FALSE), premise=premise).astray() == []
    other = trial(fields, three(MIXED, TRUE, TRUE))
    assert other.astray() == ["a: undecided, not true", "b: true, not silent", "c: true, not false"]
    assert "written for another outcome" in other._repr_mimebundle_()[0]["text/html"]
    assert astray(other.rule, {"a": "true", "b": "silent"}) == ["c: not tried, not false"]
    assert astray(other.rule, dict(a="true", b="silent", c="false", d="true")) == [
        "d: true, not listed"
    ]


@given(values=st.lists(st.floats(-10, 10), min_size=5, max_size=30))
def test_median_and_range_are_of_the_seeds(values):
    numbers = claims._quantiles(np.array(values))
    wanted = [np.median(values), min(values), max(values)]
    assert numbers == pytest.approx(wanted, rel=1e-3, abs=1e-12)


def test_what_a_verdict_shows(trial):
    fields = dict(wording="A < B.", says="Half & half.", at_init=True, quantity="a < b")
    verdict = trial(fields, {"a": TRUE, "b": TRUE, "c": FALSE})
    data, metadata = verdict._repr_mimebundle_()
    assert data["text/plain"] == "X: usually"
    assert "A &lt; B." in data["text/html"]
    assert "Usually.</strong> Half &amp; half." in data["text/html"]
    assert "at initialisation only" in data["text/html"]
    assert metadata["scrapbook"] == {"name": "verdict-X", "mime_prefix": ""}
    record = json.loads(json.dumps(data[VERDICT_MIME]))
    assert (record["usual"], record["general"]) == ("yes", "it depends")
    assert record["conditions"][2] == {
        "name": "c",
        "usual": False,
        "answer": "false",
        "median": 0.1,
        "low": 0.1,
        "high": 0.1,
        "marks": [],
    }
    assert "<td>stress</td><td>false</td><td>0.100</td>" in verdict_table(record)


def test_a_trial_is_announced_in_one_line(trial, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda *objects: shown.extend(objects))
    trial(dict(quantity="a < b"), three(TRUE, TRUE, TRUE))
    on_trial("X")
    assert repr(shown[0]) == "On trial: X. A is B."
    assert "“A is B.” <small>(Claim X:" in shown[0]._repr_html_()
    assert "True where the a < b is at least 0.5." in explained(rule("X"))
    assert explained(rule("X")).startswith("The claim says that something happens")


def test_another_lesson_has_its_own_rule_on_a_claim(trial):
    opinion = dict(quantity="accuracy", at_least=0.9, usual=["d"], stress=[])
    opinion |= dict(because="Nine of ten is a lot.", says="It does.")
    fields = dict(opinions={"recall": opinion}, also="it is blue", fails=["c"], at_init=True)
    blue = {name: [True] * 10 for name in "abc"}
    trial(fields, three(TRUE, TRUE, TRUE), also=blue)
    assert decide("X/recall", {"d": TRUE}).answer == "yes"  # not by what the other rule asks
    assert not rule("X/recall").at_init
    assert (rule("X/recall").kind, rule("X/recall").wording) == ("always", "A is B.")
    assert decide("X/recall", {"d": [0.8] * 5}).answer == "no"
    with pytest.raises(ValueError, match="claim X has no opinion 'y'; choose one of: recall"):
        rule("X/y")
    with pytest.raises(ValueError, match="unknown claim 'Y'; choose one of: X"):
        rule("Y")


def test_every_claim_is_complete():
    for name, claim in all_claims().items():
        assert re.fullmatch(r"[BCKDRMH]\d+[abc]?", name)
        assert claim["wording"].endswith(".")
        assert claim["kind"] in KINDS, name
        others = {"part", "short", "wording", "kind", "lesson", "source", "treated", "history"}
        assert set(claim) <= others | {"opinions", "place", "answer"} | set(FIELDS), name


def test_every_claim_has_a_short_form_of_its_own():
    shorts = {name: claim["short"] for name, claim in all_claims().items()}
    assert len(shorts) == len(set(shorts.values()))
    assert len({name.rstrip("abc") for name in shorts}) == 64
    for name, short in shorts.items():
        assert re.fullmatch(r"[A-Za-z][^\n]{6,58}[^\s.:;,]", short), f"{name}: {short!r}"
        assert not re.search(r"\b(yes|undecided|it depends|not tested|we)\b", short.lower()), name
