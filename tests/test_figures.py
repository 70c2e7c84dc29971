import json
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest

from vglib import plots
from vglib.figures import SliderFigure, State, compared


def distinct():
    """A state whose prediction is not its median."""
    return State(np.full((3, 2), 10.0), np.full(2, 100.0), "<1", "a <!-- <script> b")


def test_text_cannot_break_out_and_predictions_are_predictions():
    figure = SliderFigure(
        controls={"depth": np.array([5])},
        states={(5,): distinct()},
        start=(5,),
        position="layer",
        quantity="RMS",
        value="v",
    )
    html = figure._repr_mimebundle_()["text/html"]
    data = re.search(r"<script type='application/json'>(.*?)</script>", html)[1]
    assert "<" not in data
    data = json.loads(data)
    assert data["states"][0] == ["a <!-- <script> b", [2.0, 2.0], [1.0, 1.0], [0.0] * 2, [0.0] * 2]
    assert "<td>&lt;1</td>" in html
    assert data["line"] == "predicted by theory"
    assert data["over"] == "seeds"


def state(value, sentence="</script>", seeds=3, positions=4):
    measured = np.full((seeds, positions), float(value))
    measured[0] /= 10
    return State(measured, np.full(positions, value), f"{value}", sentence)


def figure(**change):
    controls = {"depth": [5, 10], "init": ["he", "<b>"]}
    states = {(d, i): state(d * len(i)) for d in (5, 10) for i in ("he", "<b>")}
    keywords = dict(controls=controls, states=states, start=(10, "he"))
    keywords |= dict(position="layer", quantity="RMS", value="what is left")
    return SliderFigure(**keywords | change)


def test_data_in_the_html_are_the_states_in_order():
    html = figure()._repr_mimebundle_()["text/html"]
    data = re.search(r"<script type='application/json'>(.*?)</script>", html)[1]
    data = json.loads(data)
    assert data["controls"] == [["depth", [5, 10]], ["init", ["he", "<b>"]]]
    assert data["start"] == [1, 0]
    assert data["gradients"] is True
    sentence, predicted, median, below, above = data["states"][1]  # depth 5, init <b>
    assert sentence == "</script>"
    assert predicted == [1.18] * 4 == median
    assert below == [1.0] * 4
    assert above == [0.0] * 4


def test_without_javascript_there_is_a_table():
    html = figure()._repr_mimebundle_()["text/html"]
    assert "<caption>what is left</caption>" in html
    assert "<th scope='row'>&lt;b&gt;</th><td>15</td><td>30</td>" in html


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"states": {(5, "he"): state(1.0)}}, "3 states are missing"),
        (
            {"states": {(d, i): state(1.0) for d in (5, 7, 10) for i in ("he", "<b>")}},
            "0 states are missing and 2 surplus, such as (7, '<b>')",
        ),
        (
            {
                "controls": {"depth": [5]},
                "states": {(5,): State(np.ones((2, 3)), np.ones(4), "", "")},
                "start": (5,),
            },
            "predicted (positions,), not (2, 3) and (4,)",
        ),
        ({"start": (7, "he")}, "start must be one of the states, not (7, 'he')"),
        (
            {
                "controls": {"depth": [5], "init": ["he"]},
                "states": {(5, "he"): state(0.0)},
                "start": (5, "he"),
            },
            "state (5, 'he') has values that a log axis cannot show",
        ),
    ],
)
def test_bad_input_is_refused(change, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        figure(**change)


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (2.87, "stretched that much would be 2.9 kilometres"),
        (1.02, "would stay a kilometre"),
        (0.155, "would be 160 metres"),
        (0.0028, "would be 2.8 metres"),
        (3.7e-4, "would be 37 centimetres"),
        (9e-6, "would be 9.0 millimetres"),
        (9e-7, "smaller than a grain of sand"),
        (1e-12, "smaller than a virus"),
        (1e-14, "smaller than an atom"),
        (1e-25, "smaller than a proton"),
    ],
)
def test_compared(ratio, words):
    assert words in compared(ratio)


def test_charts_leave_the_reader_s_settings_alone():
    before = plt.rcParams.copy()
    plots.ladder({"a": [[1.0, 2.0]]})
    plots.curves({"a": [[1.0, 2.0]]}, at=[1, 2], x="x", y="y")
    assert plt.rcParams == before
    assert not plt.get_fignums()


@pytest.mark.browser
@pytest.mark.parametrize("gradients", [True, False])
def test_states_are_named_beside_what_is_next_to_the_loss(browser, gradients):
    values = np.array([[0.1, 0.11, 9.9, 10, 1]])  # layer 5 is next to the loss
    states = {(5,): State(7 * values, np.ones(5), "", ""), (6,): State(values, np.ones(5), "", "")}
    keywords = dict(controls={"depth": [5, 6]}, states=states, start=(5,), value="v")
    shown = SliderFigure(**keywords, position="layer", quantity="RMS δ", gradients=gradients)
    page = browser.new_page()
    page.set_content(shown._repr_mimebundle_()["text/html"])
    names = ["starved", "fed", "fed", "exploding", "fed"] if gradients else ["plain"] * 5
    for kind in ("rect", "circle.point"):  # the boxes say how well fed a layer is, and no more
        found = page.locator(kind).evaluate_all(
            "all => all.map((one) => one.getAttribute('class').split(' ').at(-1))"
        )
        assert found == (names if gradients or kind != "rect" else [])
    assert page.get_by_text("exploding: ten times").count() == gradients
    page.close()


@pytest.mark.browser
def test_a_page_may_have_several_figures(browser, tmp_path):
    html = "".join(figure()._repr_mimebundle_()["text/html"] for _ in range(3))
    (tmp_path / "page.html").write_text(f"<!doctype html><meta charset='utf-8'>{html}", "utf-8")
    page, troubles = browser.new_page(), []
    page.on("pageerror", lambda error: troubles.append(error))
    page.goto((tmp_path / "page.html").as_uri())
    assert page.locator("circle.point").count() == 3 * 4
    assert troubles == []
    page.close()
