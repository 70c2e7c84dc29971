"""A diagnosis as it is read: as a page, as plain data, beside another one, in a logger."""

import json
import math
from dataclasses import replace
from importlib.util import find_spec

import jsonschema
import pytest
from axe_playwright_python.sync_playwright import Axe
from bs4 import BeautifulSoup
from test_causes import FAULTS, STARVED, evidence, run

from vglib.diagnosis import CAUSES, SCHEMA, Diagnosis, compare, page, report

FOUND = {cause: report(e) for cause, e in FAULTS.items()}
FOUND |= {
    "healthy": report(evidence(0.95, delta=STARVED)),
    "abstain": report(evidence(0.09, run("path", 0.1))),
    "nothing measured": Diagnosis("abstain", "Three samples are needed <so far>."),
    "not finite": report(
        evidence(
            -math.inf,
            replace(FAULTS["learning rate"].runs[1], losses=(1.0, 0.5)),
            plain={"words": "as it is"},
            delta=(math.nan,) * 4,
        )
    ),
}


@pytest.fixture(scope="module")
def pages():
    return {name: BeautifulSoup(page.page(found), "html.parser") for name, found in FOUND.items()}


@pytest.mark.parametrize("name", FOUND)
def test_plain_data_has_the_form_of_the_schema(name):
    jsonschema.validate(json.loads(json.dumps(FOUND[name].as_json(), allow_nan=False)), SCHEMA)


def test_every_cause_is_explained():
    assert page.MEANS.keys() == CAUSES.keys()


@pytest.mark.parametrize("name", FOUND)
def test_a_page_says_verdict_place_and_one_recommendation(pages, name):
    found, shown = FOUND[name], pages[name]
    text = shown.get_text(" ")
    assert page.VERDICTS[found.verdict] in shown.h1.text
    assert found.reason in shown.p.text
    assert "; or " not in shown.p.text
    if found.cause:
        card = shown.select_one(".card")
        assert found.said == card.h2.text
        assert page.MEANS[found.cause] in card.details.text
        for place in () if isinstance(found.where, range) else found.where:
            assert place in card.table.text
    assert not shown.select("script, link, img, [src], [href]")
    assert "nan" not in text.split()


def test_the_strip_has_every_layer_and_says_what_is_starved(pages):
    strip = pages["weight scale"].select_one(".strip")
    states = [cell["class"][0] for cell in strip.select("span")]
    assert states == ["starved", "starved", "starved", "fed"]
    assert strip["aria-label"].startswith("3 of 4 layers get at most a tenth of the gradient")
    time = pages["forget gate"].select_one(".strip")
    assert time["aria-label"].startswith("8 of 9 time steps get at most a tenth")
    assert time.select("span")[-1]["class"] == ["fed"]  # the last step is next to the loss
    grows = pages["explosion"].select_one(".strip")
    assert grows["aria-label"].startswith("3 of 4 layers get ten times or more")


def test_losses_and_gradients_are_drawn_with_what_was_tried():
    losses = tuple(1.0 / (1 + i) for i in range(20))
    flat = (1.0,) * 20
    runs = (run(), replace(run("path", 0.9, "weights rescaled"), losses=losses))
    runs = (replace(runs[0], losses=flat), runs[1])
    starved = replace(FAULTS["weight scale"], runs=runs)
    (loss, said), (path, _) = page.pictures(report(starved))
    assert said == "The loss as it is; changed: weights rescaled."
    assert "as it is 1.0; changed 0.050" in loss.alt
    assert "10⁻⁵" in path.alt
    dead = page.pictures(FOUND["dead units"])[-1]
    assert "exactly zero stands at the left edge" in dead[1]
    assert FOUND["weight scale"].plot().svg.count("<svg") == 1


def test_a_page_without_matplotlib_says_what_to_install(monkeypatch):
    monkeypatch.setattr(page, "find_spec", lambda name: name != "matplotlib" and find_spec(name))
    shown = page.page(FOUND["weight scale"])
    assert "pip install matplotlib" in shown
    assert "<svg" not in shown
    assert "<svg" not in FOUND["weight scale"]._repr_html_()


def test_before_and_after_line_by_line():
    lines = compare(FOUND["weight scale"], FOUND["healthy"]).splitlines()
    assert lines[:2] == ["verdict      gradient: activation × weight scale", "         now healthy"]
    assert lines[-4:] == [
        *("learnt       0%", "         now 95%"),
        *("decades lost 5.0", "         now 5.0"),
    ]
    assert compare(FOUND["nothing measured"], FOUND["healthy"]).splitlines()[-2:] == [
        *("decades lost -", "         now 5.0"),
    ]


def test_numbers_go_to_a_logger_by_one_call():
    class Writer(dict):
        def add_scalar(self, name, value, step):
            self[name] = value, step

    writer = Writer()
    FOUND["weight scale"].log(writer, step=7)
    assert writer["decades lost"] == (pytest.approx(5.0), 7)
    assert writer["gradient/a"] == (pytest.approx(1e-5), 7)
    assert writer["learnt/weights rescaled"] == (pytest.approx(0.9), 7)
    assert FOUND["nothing measured"].scalars() == {}
    assert all(math.isfinite(x) for found in FOUND.values() for x in found.scalars().values())


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_page_is_readable_by_everybody(browser, tmp_path, theme):
    for name in ("weight scale", "forget gate", "explosion", "data", "healthy", "nothing measured"):
        context = browser.new_context(viewport={"width": 390, "height": 900}, color_scheme=theme)
        shown = context.new_page()
        shown.goto(FOUND[name].save(tmp_path / "report.html").as_uri())
        shown.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true })")
        found = Axe().run(shown).response["violations"]
        assert [(each["id"], each["nodes"][0]["html"][:99]) for each in found] == [], name
        assert shown.evaluate("document.documentElement.scrollWidth") == 390, name
        context.close()
