"""What the first page's figure computes in the page, against vglib and torch."""

import json
import math
import re
from itertools import product

import numpy as np
import pytest
import torch
from sphinx.errors import ExtensionError

from tests.conftest import load
from vglib.figures import SliderFigure, State, compared
from vglib.lesson import readable
from vglib.nets import mlp
from vglib.probes import gradient_flow
from vglib.tasks import digits
from vglib.theory import predict_flow

LAWS = [{"init": init} for init in ("torch", "xavier", "he")]
LAWS += [
    {"init": "normal", "gain": gain, "bias_scale": bias}
    for gain, bias in product((0.25, 0.7, 2.0, 16.0), (0.0, 0.5))
]


@pytest.fixture(scope="module")
def front(root):
    """The Sphinx extension; it imports its neighbour, as Sphinx lets it."""
    with pytest.MonkeyPatch.context() as patch:
        folder = root / "book" / "extensions"
        patch.syspath_prepend(folder)
        yield load(folder / "front.py")


@pytest.fixture(scope="module")
def batch():
    """The digits that the figure has."""
    return digits().train.sample(64, seed=0)


@pytest.fixture(scope="module")
def page(browser, root):
    """An empty page with what computes, and the names of the activations there."""
    page = browser.new_page()
    page.add_script_tag(path=root / "book" / "extensions" / "message.js")
    page.activations = page.evaluate("Object.keys(message.ACTIVATIONS)")
    yield page
    page.close()


def setting(activation, depth, law):
    """A setting as the script has it."""
    law = {"gain": None, "bias_scale": 0.0} | law
    law["bias"] = law.pop("bias_scale")
    return {"activation": activation, "depth": depth} | law


@pytest.mark.browser
def test_the_page_s_theory_is_vglib_s(page, batch):
    cases = list(product(page.activations, (2, 7, 60), LAWS))
    assert len(page.activations) == 9
    found = page.evaluate(
        "([settings, inputs]) => settings.map((setting) => message.predict(setting, inputs))",
        [[setting(*case) for case in cases], batch.inputs.tolist()],
    )
    worst = 0.0
    for (activation, depth, law), logs in zip(cases, found, strict=True):
        how = dict(depth=depth, width=100, activation=activation) | law
        wanted = predict_flow(batch.inputs, **how).log_delta
        ratio = np.exp(np.array(logs) * math.log(10) - wanted)
        assert ratio.shape == (depth,)
        worst = max(worst, np.abs(ratio - 1).max())
    print(f"largest difference of a predicted δ: {worst:.1e} of it")
    assert worst < 1e-6


@pytest.mark.browser
def test_the_page_s_network_is_torch_s(page):
    batch = digits().train.sample(8, seed=1)
    worst = 0.0
    for activation in page.activations:
        net = mlp(
            depth=6,
            width=20,
            activation=activation,
            init="normal",
            gain=1.7,
            bias_scale=0.4,
            seed=3,
        )
        linear = [module for module in net.modules() if isinstance(module, torch.nn.Linear)]
        layers = [
            {"weights": m.weight.flatten().tolist(), "biases": m.bias.tolist()} for m in linear
        ]
        found = page.evaluate(
            "([layers, name, x, y]) => message.gradients(layers, name, x, y)",
            [layers, activation, batch.inputs.tolist(), batch.targets.tolist()],
        )
        ratio = np.array(found) / gradient_flow(net, batch).delta[0]
        assert ratio.shape == (6,)
        worst = max(worst, np.abs(ratio - 1).max())
    print(f"largest difference of a measured δ: {worst:.1e} of it")
    assert worst < 1e-9


@pytest.mark.browser
@pytest.mark.parametrize("law", LAWS[:3] + LAWS[-1:])
def test_a_network_is_drawn_by_its_law(page, law):
    drawn = page.evaluate(
        """(setting) => [1, 1, 2].map((seed) => message.network(setting, seed, 64).map(
            ({ weights, biases }) => [[...weights], [...biases]]))""",
        setting("tanh", 3, law),
    )
    assert drawn[0] == drawn[1] != drawn[2]
    nets = [mlp(depth=3, width=100, activation="tanh", seed=seed, **law) for seed in range(20)]
    linear = [[m for m in net.modules() if isinstance(m, torch.nn.Linear)] for net in nets]
    for (weights, biases), *modules in zip(drawn[0], *linear, strict=True):
        for values, name in ((weights, "weight"), (biases, "bias")):
            wanted = torch.stack([getattr(m, name).detach().flatten() for m in modules])
            assert len(values) == wanted.shape[1]
            # A mean square of n numbers strays by √(2/n) of itself; four times that is allowed.
            assert math.isclose(
                np.square(values).mean(),
                float(wanted.square().mean()),
                rel_tol=4 * (2 / len(values)) ** 0.5,
            )
            assert abs(np.mean(values)) < 4 * np.std(values) / len(values) ** 0.5 + 1e-12
            uniform = law["init"] == "torch"
            if name == "weight":
                assert (np.abs(values).max() < 1.8 * np.std(values)) == uniform


@pytest.mark.browser
@pytest.mark.parametrize(("activation", "init"), [("tanh", "torch"), ("relu", "he")])
def test_networks_scatter_around_the_prediction_as_torch_s_do(page, batch, activation, init):
    found = page.evaluate(
        """([setting, inputs, targets]) => [...Array(10).keys()].map((seed) =>
            message.measure(setting, seed + 1, inputs, targets))""",
        [setting(activation, 10, {"init": init}), batch.inputs.tolist(), batch.targets.tolist()],
    )
    how = dict(depth=10, width=100, activation=activation, init=init)
    ours = gradient_flow([mlp(seed=seed, **how) for seed in range(10)], batch).delta
    ours = np.log10(ours / ours[:, -1:])
    predicted = predict_flow(batch.inputs, **how).log_delta / math.log(10)
    found = np.array(found)
    assert len({row[0] for row in found.tolist()}) == 10
    # Each stays near the prediction, and ten stray about as far as ten of torch's.
    spread = np.std(ours[:, 0])
    assert np.abs(found.mean(axis=0) - predicted).max() < 3 * spread
    assert 1 / 3 < np.std(found[:, 0]) / spread < 3


@pytest.mark.browser
def test_numbers_and_sentences_are_vglib_s(page):
    ratios = [s * 10.0**k for k in range(-34, 12) for s in (1.0, 1.26, 4.9, 9.96)] + [0.97, 1.02]
    found = page.evaluate(
        "(ratios) => ratios.map((r) => [message.readable(r), message.readable(r, 2), "
        "message.compared(r)])",
        ratios,
    )
    assert found == [[readable(r), readable(r, 2), compared(r)] for r in ratios]


def test_the_pictures_are_the_lesson_s_digits(front, batch):
    found = front.pictures()
    levels = np.array([int(pixel, 17) for pixel in found["pixels"]]).reshape(64, 64)
    assert levels.max() == 16
    assert levels.min() == 0
    values = found["low"] + levels / 16 * (found["high"] - found["low"])
    assert np.allclose(values, batch.inputs, rtol=1e-12, atol=0)
    assert [int(target) for target in found["targets"]] == batch.targets.tolist()


def states(**choices):
    """A slider figure with distinct curves of two seeds in each state."""
    keys = list(product(*choices.values()))
    curves = [np.array([[k + 1, 10.0 * (k + 1), 1], [k + 2, 10, 1]]) for k in range(len(keys))]
    made = {
        key: State(curve, np.ones(3), str(k), "")
        for k, (key, curve) in enumerate(zip(keys, curves, strict=True))
    }
    figure = SliderFigure(choices, made, keys[0], "layer", "RMS δ", "left")
    return figure._repr_mimebundle_()["text/html"], curves


def test_what_the_lesson_measured_is_kept(front):
    html, curves = states(depth=[3, 4], activation=["tanh"], init=["he", "torch"])
    found = front.stored(html)
    assert found["depths"] == [3, 4]
    assert found["activations"] == ["tanh"]
    assert found["inits"] == ["he", "torch"]
    for (added, below, above), curve in zip(found["states"], curves, strict=True):
        low, middle, high = np.log10(np.quantile(curve, [0, 0.5, 1], axis=0))[:, :-1]
        median = np.cumsum(np.array(added)[::-1])[::-1] / 100
        assert np.allclose(median, middle, atol=0.0051)
        assert np.allclose(median - np.array(below) / 100, low, atol=0.011)
        assert np.allclose(median + np.array(above) / 100, high, atol=0.011)


def test_another_figure_is_refused(front):
    html, _ = states(depth=[3], gain=[1], init=["he"])
    with pytest.raises(ExtensionError, match="given were depth, gain, init"):
        front.stored(html)


def test_scripts_lose_their_comments_and_nothing_else(front, root):
    made = front.scripts()
    assert "//" not in made
    for name in ("message.js", "front.js"):
        source = (root / "book" / "extensions" / name).read_text("utf-8")
        code = re.sub(r"(?m)(^|\s)// .*$", "", source)
        assert "".join(code.split()) in "".join(made.split())


def test_all_of_it_is_small(html):
    page = (html / "book" / "index.html").read_text("utf-8")
    figure = re.search(r"<vg-front>.*</vg-front><script>.*?</script>", page, re.DOTALL)[0]
    print(f"the first page's figure has {len(figure.encode())} bytes")
    assert len(figure.encode()) < 40_000
    data = json.loads(re.search(r"<script type='application/json'>(.*?)</script>", figure)[1])
    assert len(data["stored"]["states"]) == 45
