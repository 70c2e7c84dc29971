"""What lessons share: seeds, numbers in words, tables; and charts, read back from their SVG."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from vglib import plots
from vglib.lesson import glue, left, readable, seeds, spread, table
from vglib.nets import mlp
from vglib.probes import gradient_flow, state_of
from vglib.tasks import digits
from vglib.theory import predict_flow

SMALL = dict(depth=6, width=20, activation="tanh", init="normal", gain=0.5)


def test_seeds_follow_the_base_seed(monkeypatch):
    monkeypatch.delenv("VGLIB_SEED", raising=False)
    assert [*seeds(3)] == [0, 1, 2]
    monkeypatch.setenv("VGLIB_SEED", "7")
    assert [*seeds(3)] == [7000, 7001, 7002]


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


def test_spread_says_median_and_range():
    assert spread([3, 1, 2]) == "2.0 (1.0 to 3.0)"
    assert spread([2, 2]) == "2.0"
    assert spread([2, 2.001]) == "2.0 (2.0 to 2.0)"  # another processor may print 2.1


def test_a_table_has_words_numbers_and_ranges():
    assert "a \\| b" in table(["net"], [["a | b"]]).data  # or it would be two columns
    text = table(["net", "left"], [["relu", 0.5], ["tanh", [1, 2, 3]]]).data
    assert text.splitlines()[2:] == ["| relu | 0.50 |", "| tanh | 2.0 (1.0\u00a0to 3.0) |"]
    with pytest.raises(ValueError, match="a row has 1 entries and the head 2"):
        table(["net", "left"], [["relu"]])


def test_glue_names_numbers_after_the_lesson(monkeypatch):
    shown = []
    monkeypatch.setattr(
        "IPython.display.display", lambda data, **more: shown.append((data, more["metadata"]))
    )
    glue("depth", left_relu=[1, 2, 300], seeds="20")
    names = [metadata["scrapbook"]["name"] for _, metadata in shown]
    assert names == ["depth-left-relu", "depth-seeds"]
    assert [next(iter(data.values())) for data, _ in shown] == ["'2.0'", "'20'"]


@pytest.fixture(scope="module")
def pair():
    batch = digits().train.sample(32, seed=0)
    flow = gradient_flow([mlp(**SMALL, seed=seed) for seed in range(3)], batch)
    return flow, predict_flow(batch.inputs, **SMALL)


def test_left_is_the_product_of_all_factors(pair):
    flow, _ = pair
    np.testing.assert_allclose(left(flow), flow.factor**5, rtol=1e-12, atol=0)
    weight = flow.weight[:, 0] / flow.weight[:, 5]
    np.testing.assert_allclose(left(flow, "weight"), weight, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("ratio", "state"),
    [(0.1, "starved"), (0.11, "fed"), (1, "fed"), (9.9, "fed"), (10, "exploding")],
)
def test_states_begin_at_a_tenth_and_at_ten_times(ratio, state):
    assert state_of(ratio) == state


def marks(chart, colour):
    """The heights at which a chart has a mark of this colour, from the top of the picture."""
    root = ElementTree.fromstring(chart.svg)
    rules = dict(re.findall(r"\.(\w+)\{([^}]*)\}", root[-1].text))
    uses = root.iter("{http://www.w3.org/2000/svg}use")
    styled = [(use, use.get("style") or rules[use.get("class")]) for use in uses]
    return sorted({float(use.get("y")) for use, style in styled if colour in style})


def test_a_ladder_has_the_top_layer_on_top_and_layers_in_their_states(pair):
    flow, _ = pair
    chart = plots.ladder({"tanh": pair})
    fed, starved = marks(chart, "--vg-fed"), marks(chart, "--vg-starved")
    states = [state_of(m) for m in np.median(flow.delta / flow.delta[:, -1:], axis=0)]
    assert (states.count("fed"), states.count("starved")) == (len(fed[1:]), len(starved[1:]))
    assert max(fed) < min(starved[1:])  # but for the key above, what is fed is next to the loss
    assert "tanh " + readable(np.median(left(flow)), 2) in chart.alt


def test_a_ladder_moves_with_its_values_and_its_prediction(pair):
    flow, theory = pair
    assert plots.ladder({"a": (flow, theory)}).svg != plots.ladder({"a": flow}).svg
    values = flow.delta / flow.delta[:, -1:]
    assert plots.ladder({"a": values}).svg == plots.ladder({"a": flow}).svg
    assert plots.ladder({"a": values**1.1}).svg != plots.ladder({"a": flow}).svg


def test_curves_name_their_ends_and_leave_gaps():
    rising = np.array([[1.0, 2.0, 4.0], [1.0, 2.0, 5.0]])
    gone = np.array([[1.0, np.nan, np.nan]])
    chart = plots.curves(
        {"rises": (rising, [1, 2, 4.5]), "stops": gone}, at=[1, 2, 3], x="s", y="l"
    )
    assert chart.alt == "l, by s. Last medians: rises 4.5; stops 1.0."
    names = [
        t.text for t in ElementTree.fromstring(chart.svg).iter("{http://www.w3.org/2000/svg}text")
    ]
    assert {"rises", "stops", "predicted"} <= {*names}


def test_charts_follow_the_page_and_say_what_they_show(pair):
    chart = plots.ladder({"a & b": pair}, title="one")
    both = plots.beside(chart, chart)
    assert both.svg.count("<svg") == 2
    for root in ElementTree.fromstring(both.svg):
        assert root.get("role") == "img"
        assert "a & b" in root.get("aria-label")
    assert "#000000" not in both.svg
    drawn = " ".join(re.findall(r' d="([^"]*)"', both.svg))
    assert not re.search(r"\.\d\d", drawn), "a tenth of a point is enough"


def test_numbers_on_a_chart_keep_their_digits():
    chart = plots.ladder({"a": np.array([[0.03, 0.1, 0.3, 1.0]])}, title="at 0.25")
    shown = [*ElementTree.fromstring(chart.svg).itertext()]
    assert {"0.05", "0.1", "0.2", "at 0.25"} <= {*shown}


def test_numbers_to_read_keep_their_digits():
    chart = plots.curves({"rate 0.001": [[0.82, 0.86]]}, at=[1, 2], x="s", y="l")
    texts = [t.text for t in ElementTree.fromstring(chart.svg).iter(f"{plots._SVG}text")]
    assert "rate 0.001" in texts
    assert len(texts) == len({*texts}), "two marks of an axis say the same"
