"""The drawings of the book: what they say to whom, and the directive that puts them into a page."""

import importlib.util
import math
import re
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from sphinx.application import Sphinx

from tools import slopes
from vglib.names import ACTIVATIONS

FOLDER = Path(__file__).parents[1] / "book" / "drawings"
STYLE = FOLDER.parent / "static" / "drawing.css"
FILES = sorted(FOLDER.rglob("*.svg"))
SVG = "{http://www.w3.org/2000/svg}"
WIDTH = 328  # two panels fit beside each other at 1280 pixels, one at 390 and does not shrink


@pytest.fixture(scope="module")
def directive():
    """The Sphinx extension, which is no package."""
    path = FOLDER.parent / "extensions" / "drawing.py"
    spec = importlib.util.spec_from_file_location("drawing", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def words(path):
    """All texts of a drawing, as one reads them."""
    root = ElementTree.parse(path).getroot()
    return ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]


def test_drawings_are_small_clean_and_say_what_they_show():
    for path in FILES:
        source = path.read_text("utf-8")
        root = ElementTree.fromstring(source)
        assert len(source.encode()) < 10_000, path
        assert root.get("role") == "img", path
        assert len(root.get("aria-label")) > 40, path
        assert words(path), path
        # A width or height would not give way on a phone; an id, a style sheet or a colour of its
        # own would reach into the other drawings of a page, or not follow its theme.
        assert root.get("viewBox").split()[:3] == ["0", "0", str(WIDTH)], path
        assert root.get("class") == "vg-drawing", path
        assert not {"width", "height"} & set(root.attrib), path
        assert {node.tag.removeprefix(SVG) for node in root.iter()} <= {
            "svg", "path", "rect", "circle", "text", "tspan",
        }, path  # fmt: skip
        for node in root.iter():
            assert not {"id", "style", "fill", "stroke", "font-size", "transform"} & set(
                node.attrib
            ), path
            where = [v for k, v in node.attrib.items() if k not in ("aria-label", "class")]
            assert not re.search(r"\d\.\d\d", " ".join(where)), f"{path}: round the coordinates"


def test_every_class_has_its_style():
    style = STYLE.read_text("utf-8")
    used = {c for path in FILES for c in re.findall(r' class="([^"]*)"', path.read_text("utf-8"))}
    for name in {name for names in used for name in names.split()}:
        assert re.search(rf"\.{name}\b", style), name


def test_every_drawing_is_used_once_or_waits():
    pages = [path.read_text("utf-8") for path in FOLDER.parent.rglob("*.md")]
    used = [name for page in pages for name in re.findall(r"^```\{drawing\} (\S+)", page, re.M)]
    assert sorted(used) == sorted({path.stem for path in FOLDER.iterdir()})


def test_the_numbers_worked_by_hand_are_autograds():
    x, w1, w2 = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (0.8, 0.5, 2.0))
    z1 = w1 * x
    h1 = z1.sigmoid()
    z2 = w2 * h1
    h2 = z2.sigmoid()
    loss = (h2 - 1) ** 2 / 2
    grads = torch.autograd.grad(loss, [h2, z2, z1, w2, w1])
    slope2, slope1 = h2 * (1 - h2), h1 * (1 - h1)

    def two(value):
        return f"{value.item():#.2g}".replace("-", "−")

    shown = words(FOLDER / "by-hand.svg")
    expected = ["h₁", h1, "h₂", h2, "z₂", z2, "δ₂", grads[1], "δ₁", grads[2]]
    for name, value in zip(expected[::2], expected[1::2], strict=True):
        assert f"{name} = {two(value)}" in shown
    assert {"target y = 1", "input x = 0.8", "w₁ = 0.5", "w₂ = 2", "z₁ = 0.4", "× w₂ = 2"} <= set(
        shown
    )
    assert {f"= {two(grads[k])}" for k in (0, 3, 4)} <= set(shown)
    assert f"× φ′(z₂) = {two(slope2)}" in shown
    assert f"× φ′(z₁) = {two(slope1)}" in shown
    # A reader who works on with the rounded numbers gets the same ones.
    slope1, slope2, top, delta2 = (
        torch.tensor(float(two(v).replace("−", "-"))) for v in (slope1, slope2, *grads[:2])
    )
    assert two(top * slope2) == two(grads[1])
    assert two(delta2 * 2 * slope1) == two(grads[2])


@pytest.mark.parametrize("path", ["1-starves", "2-explodes"])
def test_a_stack_multiplies_by_weight_and_slope_and_says_what_comes_of_it(path):
    path = FOLDER / "stack" / f"{path}.svg"
    weights = [text.removeprefix("weight ") for text in words(path) if text.startswith("weight ")]
    assert [f"× {w} × ¼" for w in weights] == [text for text in words(path) if "¼" in text]
    texts = [text for text in ElementTree.parse(path).iter(f"{SVG}text") if len(text)]
    rows = ["".join(text.itertext()) for text in texts]
    shares = np.cumprod([1, *(float(w) / 4 for w in weights)])
    for share, row in zip(shares, rows, strict=True):
        value, _, state = row.partition(" ")
        assert value == f"{share:.1g}" or float(value) == share, row
        assert state == ("starved" if share <= 0.1 else "exploding" if share >= 10 else ""), row


def test_the_norms_have_the_mean_and_deviation_that_they_show():
    for name, picked in (("1-batch", slice(0, None, 4)), ("2-layer", slice(0, 4))):
        shown = words(FOLDER / "norms" / f"{name}.svg")
        values = [int(text) for text in shown if text.isdigit()][picked]
        assert f"mean {np.mean(values):.0f}, deviation {np.std(values):.0f}" in shown
        assert np.std(values) == round(np.std(values))
        label = ElementTree.parse(FOLDER / "norms" / f"{name}.svg").getroot().get("aria-label")
        assert ", ".join(map(str, values[:-1])) + f" and {values[-1]}" in label


def test_signal_and_delta_fade_in_opposite_directions_and_their_product_is_level():
    shown = [text for text in words(FOLDER / "product.svg") if re.match(r"[\d.]+$", text)]
    for k in range(4):
        signal, delta, product = map(float, shown[3 * k : 3 * k + 3])
        assert math.isclose(delta, 3.0**-k, abs_tol=0.005)
        assert math.isclose(signal, 3.0 ** (k - 3), abs_tol=0.005)
        assert math.isclose(product, 3.0**-3, abs_tol=0.005)


def test_every_weight_of_the_chain_gets_the_same():
    fractions = {"½": 0.5, "¼": 0.25, "⅛": 0.125, "1/16": 0.0625}

    def result(text):
        number = text.split(" = ")[1]
        return fractions.get(number) or float(number)

    for path, weight in ("1-start", 0.5), ("2-later", 0.8):
        shown = words(FOLDER / "chain" / f"{path}.svg")
        w = torch.full((4,), weight, requires_grad=True)
        h = torch.cumprod(w, dim=0)
        (gradient,) = torch.autograd.grad(h[-1], w)  # in units of the error
        for name, values in ("h", h.detach()), ("δ", (h[-1] / h).detach()):
            told = [result(text) for text in shown if re.match(f"{name}[₁-₄] = ", text)]
            np.testing.assert_allclose(told[::-1], values, atol=0.005)
        told = [result(text) for text in shown if " × " in text and " = " in text]
        np.testing.assert_allclose(told, gradient, atol=0.005)


def test_the_timeline_has_the_years_and_names_of_papers_that_its_page_cites(root):
    page = (root / "book" / "frontier" / "credits.md").read_text("utf-8")
    cited = {key for keys in re.findall(r"\{cite:[pt]\}`([^`]+)`", page) for key in keys.split(",")}
    bib = (root / "references.bib").read_text("utf-8")
    papers = [e for e in re.split(r"\n(?=@)", bib)[1:] if re.search(r"\{(\w+),", e)[1] in cited]
    for path in ("1-found", "2-mended"):
        shown = words(FOLDER / "credits" / f"{path}.svg")[1:]
        years = shown[::4]
        assert years == sorted(years)
        for year, kind, who, what in zip(*(shown[k::4] for k in range(4)), strict=True):
            names = [re.search(r"author\s*= \{(.*)\}", e)[1] for e in papers if f"{{{year}}}" in e]
            first, *others = re.findall(r"\w+", who.removesuffix(" and others"))
            assert any(n.startswith(first) and all(o in n for o in others) for n in names), who
            assert kind in ("time", "depth"), what


def test_slopes_are_as_the_script_draws_them():
    stored = {path.name: path.read_text("utf-8") for path in (FOLDER / "slopes").iterdir()}
    assert stored == slopes.drawings(), "run `python -m tools.slopes`"
    assert set(slopes.ACTIVATIONS) == set(ACTIVATIONS), "draw every activation of the course"


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_curves_are_those_of_pytorch(name):
    root = ElementTree.fromstring(slopes.drawing(name))
    curves = [p.get("d") for p in root.iter(f"{SVG}path") if p.get("class") == "curve"]
    activation = ACTIVATIONS[name].module().double()
    for path, origin, order in zip(curves, (slopes.LEFT, slopes.RIGHT), (0, 1), strict=True):
        for piece in path.split("M")[1:]:
            pixels = np.array([pair.split(",") for pair in piece.split()], dtype=float)
            z = torch.tensor((pixels[:, 0] - origin) / slopes.UNIT)
            y = (slopes.ZERO - pixels[:, 1]) / slopes.UNIT
            # Where the slope jumps, a piece ends on its own side.
            z[0] += 1e-6
            z[-1] -= 1e-6
            z.requires_grad_()
            value = activation(z)
            if order:
                (value,) = torch.autograd.grad(value.sum(), z)
            # An end that leaves the picture stands on a chord a quarter of a unit long.
            np.testing.assert_allclose(y, value.detach(), atol=0.02)


def test_steepest_slopes_are_as_written():
    z = torch.linspace(-8, 8, 160_002, dtype=torch.float64).requires_grad_()
    written = {"¼": 0.25, "always 1": 1}
    for name, (make, *_) in ACTIVATIONS.items():
        (slope,) = torch.autograd.grad(make().double()(z).sum(), z)
        text = slopes.ACTIVATIONS[name][2]
        number = re.search(r"\d\.\d+|\d|¼", text)[0]
        top = written.get(number) or float(number)
        assert math.isclose(slope.max(), top, abs_tol=0.005), (name, text)


def luminance(colour):
    channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return np.dot(linear, [0.2126, 0.7152, 0.0722])


def contrast(one, other):
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(("theme", "page"), [("light", "#ffffff"), ("dark", "#121212")])
def test_states_differ_in_shade_in_both_themes(theme, page):
    colours = []
    for block in re.findall(r"\{([^}]*--vg-fed:[^}]*)\}", STYLE.read_text("utf-8")):
        short = dict(re.findall(r"--vg-([\w-]+): (#\w+)", block))
        colours.append({k: v if len(v) == 7 else "#" + v[1:] * 2 for k, v in short.items()})
    c = colours[theme == "dark"]
    for name in ("starved", "fed", "exploding", "direct"):
        assert contrast(c[name], page) >= 3, name
    assert contrast(c["fed"], c["exploding"]) >= 2
    assert contrast(c["exploding"], page) > contrast(c["fed"], page) * 1.5
    assert contrast(c["direct"], page) >= 4.5, "it colours words, too"
    for name in ("fed", "exploding"):
        assert contrast(c[name], c[f"on-{name}"]) >= 4.5, name


PAGE = """
# A page

See {{numref}}`fig-here`.

```{{drawing}} {name}
:name: fig-here
{caption}
```
"""


@pytest.fixture
def build(tmp_path, root):
    """Build a page that shows a drawing; gives its HTML and the warnings."""

    def build(name="stack", caption="A *caption* of it."):
        source = tmp_path / "source"
        source.mkdir()
        (source / "book").symlink_to(root / "book", target_is_directory=True)
        (source / "index.md").write_text(PAGE.format(name=name, caption=caption), "utf-8")
        warnings = StringIO()
        app = Sphinx(
            source,
            None,
            tmp_path / "html",
            tmp_path / "doctrees",
            "html",
            confoverrides={
                "extensions": ["myst_parser", "drawing"],
                "numfig": True,
                "html_theme": "basic",
                "exclude_patterns": ["book"],
            },
            status=None,
            warning=warnings,
        )
        app.build()
        return (tmp_path / "html" / "index.html").read_text("utf-8"), warnings.getvalue()

    return build


@pytest.fixture(autouse=True)
def importable(monkeypatch, root):
    monkeypatch.syspath_prepend(root / "book" / "extensions")


def test_a_drawing_is_a_numbered_figure_of_the_page_itself(build):
    html, warnings = build()
    assert not warnings
    figure = re.search(r"<figure.*?</figure>", html, re.S)[0]
    assert 'id="fig-here"' in figure
    assert figure.count("<svg") == figure.count('role="img"') == 2
    assert "<?xml" not in figure
    assert "<em>caption</em>" in figure
    assert 'href="#fig-here"><span class="std std-numref">Fig. 1</span></a>' in html


def test_an_unknown_drawing_is_refused(build):
    assert "unknown drawing 'stak'; choose one of: attention, " in build("stak")[1]


def test_a_drawing_without_caption_is_refused(build):
    assert "Content block expected" in build(caption="")[1]


@pytest.mark.parametrize(
    "source",
    [
        '<svg xmlns="http://www.w3.org/2000/svg" role="img"/>',
        '<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="stack"/>',
        '<svg xmlns="http://www.w3.org/2000/svg" aria-label="A network drawn as a stack"/>',
        '<p role="img" aria-label="A network drawn as a stack">no drawing</p>',
    ],
)
def test_a_drawing_that_says_nothing_is_refused(directive, tmp_path, source):
    path = tmp_path / "mute.svg"
    path.write_text(source, encoding="utf-8")
    with pytest.raises(ValueError, match=r"mute\.svg is no <svg"):
        directive.inline(path)


LOOK = """() => [...document.querySelectorAll("svg")].flatMap((svg) => {
  const page = svg.getBoundingClientRect(), scale = page.width / svg.viewBox.baseVal.width;
  const texts = [...svg.querySelectorAll("text")], boxes = texts.map((t) => t.getBoundingClientRect());
  return boxes.flatMap((box, i) => {
    const wrong = [], sizes = [texts[i], ...texts[i].children].map(
      (t) => parseFloat(getComputedStyle(t).fontSize) * scale);
    if (Math.min(...sizes) < 11) wrong.push("small");
    if (box.left < page.left || box.right > page.right + 1) wrong.push("cut");
    if (box.top < page.top - 1 || box.bottom > page.bottom + 1) wrong.push("cut");
    for (const other of boxes.slice(0, i))
      if (Math.min(box.right, other.right) - Math.max(box.left, other.left) > 1
          && Math.min(box.bottom, other.bottom) - Math.max(box.top, other.top) > 4)
        wrong.push("covered");
    return wrong.map((w) => `${svg.getAttribute("aria-label").slice(0, 40)}: ${texts[i].textContent} ${w}`);
  });
})"""  # noqa: E501


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1280])
def test_words_are_not_small_cut_or_covered(browser, directive, width):
    page = browser.new_page(viewport={"width": width, "height": 900})
    panels = "".join(map(directive.inline, FILES))
    page.set_content(
        f'<style>{STYLE.read_text("utf-8")}</style><div class="vg-panels">{panels}</div>'
    )
    assert page.evaluate(LOOK) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()
