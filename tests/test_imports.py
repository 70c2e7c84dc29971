"""The instrument for a reader's own model runs with torch and numpy alone."""

import inspect
import json
import os
import pkgutil
import subprocess
import sys
from importlib import import_module

import pytest

import vglib

ALONE = """
import json, sys
from pathlib import Path
from tempfile import mkdtemp
from importlib.machinery import PathFinder

REFUSED = {"sklearn", "scipy", "matplotlib", "IPython", "joblib", "tqdm", "ipywidgets"}


class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in REFUSED else super().find_spec(name, path, target)


sys.meta_path = [Finder if each is PathFinder else each for each in sys.meta_path]

import torch
from torch import nn
from torch.nn import functional as F

import vglib
from vglib.monitor import Monitor
from vglib.probes import gradient_flow

torch.manual_seed(0)
x, y = torch.randn(320, 8), torch.randint(3, (320,))
batches = list(zip(x.split(32), y.split(32)))
layers = [layer for _ in range(7) for layer in (nn.Linear(8, 8), nn.Sigmoid())]
model = nn.Sequential(*layers, nn.Linear(8, 3))


def loss_fn(model, batch):
    return F.cross_entropy(model(batch[0]), batch[1])


found = vglib.diagnose(model, loss_fn, batches)
flow = gradient_flow(model, batches[0])
with Monitor(model) as monitor, vglib.Watch(model) as watch:
    loss = loss_fn(model, batches[0])
    loss.backward()
    watch(loss)
shown = {
    "diagnosis": found.as_json(),
    "text": str(found),
    "page": Path(found.save(f"{mkdtemp()}/report.html")).read_text("utf-8"),
    "flow": flow.delta[0].tolist(),
    "monitor": monitor.record().delta[0].tolist(),
    "watch": watch.diagnosis().as_json(),
}
print(json.dumps(shown))
"""


def run(root, code):
    environment = os.environ | {"PYTHONPATH": str(root), "PYTHONUTF8": "1"}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)


def test_the_instrument_needs_torch_and_numpy_alone(root):
    shown = json.loads(run(root, ALONE).stdout)
    assert shown["diagnosis"]["verdict"] != "healthy"  # seven sigmoids on labels drawn at random
    assert shown["diagnosis"]["verdict"] in shown["text"]
    assert "pip install matplotlib" in shown["page"]
    watched = shown["monitor"][:-1]  # and the read-out, which is no hidden layer
    assert shown["flow"] == pytest.approx(watched, rel=1e-5, abs=0)
    assert shown["flow"][0] < 0.01 * shown["flow"][-1]
    assert shown["watch"]["verdict"] == "abstain"  # after one step


def test_probes_load_no_data_set(root):
    code = "import sys, vglib.probes; print('sklearn' in sys.modules, 'torch' in sys.modules)"
    assert run(root, code).stdout.split() == ["False", "True"]


def test_the_package_shows_what_it_has():
    shown = dir(vglib)
    for name in ("diagnose", "Watch", "probes", "nets", "tasks", "__version__"):
        assert name in shown
        assert getattr(vglib, name)
    with pytest.raises(AttributeError, match="no attribute 'diagnos'"):
        _ = vglib.diagnos


def public(module):
    """Functions and methods of a module that have no underscore before their name."""
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isfunction(value):
            yield value
        elif inspect.isclass(value):
            for key, member in vars(value).items():
                member = member.fget if isinstance(member, property) else member
                if inspect.isfunction(member) and not key.startswith("_"):
                    yield member


def test_public_names_have_type_hints():
    missing = []
    for info in pkgutil.walk_packages(vglib.__path__, "vglib."):
        for function in public(import_module(info.name)):
            parameters = inspect.signature(function).parameters.values()
            named = [p for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
            given = function.__annotations__
            wanted = {p.name for p in named} - {"self"} | {"return"}
            if wanted - set(given):
                missing.append(f"{info.name}.{function.__qualname__}: {wanted - set(given)}")
    assert not missing, "\n".join(missing)
