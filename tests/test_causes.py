"""The table of causes, asked with made-up evidence: no network is trained here."""

import json
import math
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vglib.diagnosis import CAUSES, TRAPS, Evidence, Limits, judge
from vglib.diagnosis.causes import RULES
from vglib.diagnosis.evidence import Run, Trap

LAYERS = ("a", "b", "c", "d")


def run(change="", learnt=0.0, words="", steps=100, **more):
    """A run whose loss without knowledge is 1."""
    return Run(
        change, words or change or "as it is", steps, (1.0,), 1.0 - learnt, {"[0]": 1.0}, **more
    )


def evidence(own=0.0, *runs, delta=(1.0, 1.0, 1.0, 1.0), **more):
    """A network of four layers that learns ``own`` as it is, with the gradients ``delta``."""
    count = len(delta)
    names = tuple(f"{i}" for i in range(count)) if count != 4 else LAYERS
    sample = {
        "delta": list(delta),
        "slope": [0.7] * count,
        "saturated": [0.5] * count,
        "dead": [0.0] * count,
    }
    sample |= more.pop("rows", {})
    plain = run(learnt=own, update=0.01, **more.pop("plain", {}))
    given = {
        "start": {"loss": 1.0, "dealt": {"[0]": 1.0}},
        "paired": ("[0]", "[1]"),
        "runs": (plain, *runs),
        "layers": names,
        "steps": (0,),
        "samples": (sample,),
        "entries": dict.fromkeys(names, 1),
        "gains": dict.fromkeys(names, 1.0),
        "activations": dict.fromkeys(names, "relu"),
        "looks": (0, 50, 99),
        "gradients": {name: [size] * 3 for name, size in zip(names, delta, strict=True)},
        "optimizer": {"rates": [0.1]},
    }
    return Evidence(**given | more)


def said(e):
    found = judge(e)
    return found.verdict, found.cause


PATH = run("path", 0.9, "weights rescaled")
STARVED = (1e-5, 1e-3, 1e-1, 1.0)
TANH = dict.fromkeys(LAYERS, "tanh")

FAULTS = {
    "weight scale": evidence(0, PATH, delta=STARVED, gains=dict.fromkeys(LAYERS, 0.01)),
    "activation": evidence(
        0, PATH, delta=STARVED, activations=TANH, squash=LAYERS, rows={"slope": [0.01] * 4}
    ),
    "saturation": evidence(
        0, PATH, delta=STARVED, activations=TANH, squash=LAYERS, rows={"saturated": [0.9] * 4}
    ),
    "dead units": evidence(0, PATH, delta=(0, 0, 1, 1), rows={"dead": [0, 1.0, 0, 0]}),
    "depth": evidence(0, PATH, delta=tuple(10 ** (0.08 * i) for i in range(30))),
    "recurrent factor": evidence(0, run("memory", 0.9), lags={"rnn": [10.0**-i for i in range(9)]}),
    "forget gate": evidence(
        0, run("memory", 0.9), lags={"rnn": [10.0**-i for i in range(9)]}, gated=("rnn",)
    ),
    "explosion": evidence(0, PATH, delta=(1e4, 1e3, 1e1, 1.0)),
    "low precision": evidence(0, run("low precision", 0.9), halves=True),
    "learning rate": evidence(0, run("learning rate", 0.9, factor=100.0)),
    "data": evidence(0, run("data", 0.9)),
    "detached": evidence(0.3, silent=("a",)),
    "optimizer epsilon": evidence(0, run("optimizer epsilon", 0.9)),
    "weight decay": evidence(0, run("weight decay", 0.9)),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_every_cause_is_found(cause):
    found = judge(FAULTS[cause])
    assert (found.verdict, found.cause) == (CAUSES[cause][0], cause)
    assert found.advice
    assert found.reason.endswith(".")


def test_every_cause_and_trap_has_a_rule():
    assert FAULTS.keys() == CAUSES.keys()
    assert {row.cause for row in RULES} <= CAUSES.keys()
    assert {cause for cause, _ in TRAPS.values()} <= CAUSES.keys()


TRIED = {"no activation": "activation", "bounded outputs": "range", "sorted batches": "order"}


@pytest.mark.parametrize("name", TRIED)
def test_a_trap_that_a_trial_shows_is_named(name):
    assert judge(evidence(0, run(TRIED[name], 0.9))).trap == name


@pytest.mark.parametrize("name", [name for name in TRAPS if name not in TRIED])
def test_every_trap_is_named(name):
    stuck = {layer: [0.0 if name == "softmax over one unit" else 1.0] * 3 for layer in LAYERS}
    e = evidence(0.3, traps=(Trap(name, "seen at the end", ("d",)),), gradients=stuck)
    found = judge(e)
    assert (found.trap, found.cause, found.where) == (name, TRAPS[name][0], ("d",))
    assert found.reason == "Seen at the end."


def test_healthy_is_absolute_and_slow_is_a_hint():
    faster = run("learning rate", 0.97, "a learning rate 10 times as high", factor=10.0)
    found = judge(evidence(0.55, faster))
    assert found.verdict == "healthy"
    assert "10 times as high is faster: 97% learnt in 100 steps, as it is 55%" in found.hints[0]


def test_it_abstains_where_every_trial_learns_little():
    found = judge(evidence(0.09, run("path", 0.1), run("learning rate", 0.1)))
    assert found.verdict == "abstain"
    assert "little" in found.reason


def test_without_pairs_it_says_that_the_loss_falls_and_no_more():
    found = judge(evidence(0.3, paired=()))
    assert (found.verdict, found.reason) == ("healthy", "Your loss falls, from 1 to 0.7.")


def test_gradients_may_end_at_zero_with_nothing_left_to_learn():
    spent = {layer: [1.0, *[0.0] * 3] for layer in LAYERS}
    assert judge(evidence(0.95, looks=(0, 50, 80, 99), gradients=spent)).verdict == "healthy"
    assert judge(evidence(0.6, looks=(0, 50, 80, 99), gradients=spent)).verdict != "healthy"


def test_nothing_whose_gradient_is_zero_everywhere_is_healthy():
    stuck = {layer: [0.0] * 3 for layer in LAYERS}
    found = judge(evidence(0.95, delta=(0.0,) * 4, gradients=stuck))
    assert found.verdict == "gradient"
    assert "exactly zero" in found.reason


def test_unused_is_a_note_and_not_an_accusation():
    found = judge(evidence(0.95, unused=("pooler",)))
    assert found.verdict == "healthy"
    assert found.hints == ("Unused: pooler.",)


def test_a_bad_batch_is_named():
    broken = {"step": 7, "batch": "7", "batches": 100, "loss": math.nan, "modules": []}
    broken |= {"forward": None, "backward": None}
    bad = {"7": "its loss is not finite"}
    found = judge(evidence(-math.inf, broken=broken, bad_batches=bad))
    assert (found.cause, "Batch 7" in found.reason) == ("data", True)
    learns = judge(evidence(0.95, broken=broken, bad_batches=bad))
    assert (learns.verdict, "Batch 7" in learns.hints[0]) == ("healthy", True)


def test_divergence_names_the_step_and_where_the_gradient_grows():
    broken = {"step": 3, "batch": "3", "batches": 100, "loss": math.nan, "modules": []}
    broken |= {"forward": "d", "backward": None}
    # The head gets much: growth is told from the smallest δ.
    found = judge(evidence(-math.inf, delta=(5.0, 0.1, 0.01, 1.0), broken=broken))
    assert (found.cause, found.where) == ("explosion", ("b", "c"))
    assert "Not finite at step 3" in found.reason
    flat = judge(evidence(-math.inf, run("learning rate", 0.9, factor=0.01), broken=broken))
    assert flat.cause == "learning rate"


def test_a_uniform_decay_blames_all_layers():
    even = evidence(0, PATH, delta=tuple(10.0 ** (i / 2) for i in range(9)), gains={})
    assert len(judge(even).where) == 8
    one = evidence(0, PATH, delta=(1e-4, 1e-4, 1.0, 1.0), gains={})
    assert judge(one).where == ("c",)


def test_layers_that_alone_do_not_mend_it_are_not_all_that_is_named():
    one = dict(delta=(1e-4, 1e-4, 1.0, 1.0), gains={})
    alone = evidence(0, PATH, run("place", 0.8), **one)
    assert judge(alone).where == ("c",)
    little = evidence(0, PATH, run("place", 0.1), **one)
    assert judge(little).where == ("c", "a", "b", "d")


def test_a_rate_is_advised_in_numbers():
    found = judge(evidence(0, run("learning rate", 0.9, factor=100.0)))
    assert "near 1e+01 in place of 0.1" in found.advice


def test_evidence_survives_json():
    for e in FAULTS.values():
        again = Evidence.read(json.loads(json.dumps(e.plain())))
        assert judge(again) == judge(e)


shares = st.floats(-2, 1)
deltas = st.lists(
    st.sampled_from([0.0, 1e-30, 1e-5, 1e-2, 1.0, 1e3, math.inf]), min_size=4, max_size=4
)
kinds = st.sampled_from(["path", "learning rate", "data", "memory", "weight decay", "trap"])


@st.composite
def anything(draw):
    runs = [run(draw(kinds), draw(shares)) for _ in range(draw(st.integers(0, 4)))]
    long = (run(learnt=draw(shares), steps=300),) if draw(st.booleans()) else ()
    return evidence(
        draw(shares),
        *runs,
        delta=tuple(draw(deltas)),
        longer=long,
        halves=draw(st.booleans()),
        flat_loss=draw(st.booleans()),
        paired=draw(st.sampled_from([(), ("[0]", "[1]")])),
        lags=draw(st.sampled_from([{}, {"rnn": [1.0, 1e-3, 1e-6]}, {"rnn": [1.0, 1e4]}])),
    )


@given(e=anything(), order=st.randoms())
def test_any_evidence_has_an_answer_that_no_order_of_trials_changes(e, order):
    found = judge(e)
    assert found.verdict in ("healthy", "gradient", "other", "abstain")
    assert (found.cause in CAUSES) == (found.verdict in ("gradient", "other"))
    trials = list(e.runs[1:])
    order.shuffle(trials)
    again = judge(replace(e, runs=(e.runs[0], *trials)))
    assert (again.verdict, again.cause, again.where) == (found.verdict, found.cause, found.where)


@given(e=anything(), exponent=st.integers(-20, 20))
def test_the_unit_of_the_loss_does_not_matter(e, exponent):
    def scaled(one):
        dealt = {name: value * 2.0**exponent for name, value in one.dealt.items()}
        return replace(one, loss=one.loss * 2.0**exponent, dealt=dealt)

    start = {"loss": 2.0**exponent, "dealt": {"[0]": 2.0**exponent}}
    again = replace(
        e, runs=tuple(map(scaled, e.runs)), longer=tuple(map(scaled, e.longer)), start=start
    )
    assert (judge(again).verdict, judge(again).cause) == said(e)


@pytest.mark.parametrize("name", [one.name for one in fields(Limits)])
def test_limits_are_used(name):
    """No limit stands there for nothing: at the extremes some answer is another."""
    extremes = [replace(Limits(), **{name: value}) for value in (0, 10**9)]
    every = [*FAULTS.values(), evidence(0.55), evidence(0.3), *OTHERS]
    answers = [[judge(e, limits) for e in every] for limits in extremes]
    assert answers[0] != answers[1]


OTHERS = [
    evidence(0, PATH, run("place", 0.5), delta=STARVED, gains=dict.fromkeys(LAYERS, 0.01)),
    evidence(0, run("path", 0.5), fresh={"blind": 1.0, "loss": 0.99, "own": 0.5, "words": ""}),
    evidence(0, halves=True, plain={"unmoved": 0.9}),
    evidence(0, delta=STARVED),
    evidence(0, PATH, gains={"a": 1.0, "b": 1.0, "c": 100.0, "d": 1.0}),
    evidence(0.3, run("path", 0.32)),
    evidence(0.1, run("path", 0.32)),
]
