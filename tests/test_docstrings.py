"""Examples in docstrings run. They have no imports, and stand for the reader's own loop."""

import ast
import inspect
import pkgutil
import re
import textwrap
from importlib import import_module

import torch
from torch import nn
from torch.nn.functional import cross_entropy

import vglib


def examples():
    """Every literal block of a docstring of vglib that is Python, with where it stands."""
    for info in pkgutil.walk_packages(vglib.__path__, "vglib."):
        module = import_module(info.name)
        own = [v for v in vars(module).values() if getattr(v, "__module__", "") == info.name]
        for value in [module, *(v for v in own if callable(v))]:
            doc = inspect.getdoc(value) or ""
            for block in re.findall(r"::\n\n((?:    .*\n|\n)+)", doc + "\n"):
                code = textwrap.dedent(block)
                try:
                    ast.parse(code)
                except SyntaxError:  # a formula
                    continue
                if "(" in code and "=" in code:
                    yield f"{info.name}.{getattr(value, '__name__', '')}", code


def test_examples_in_docstrings_run():
    found = dict(examples())
    assert {name.rpartition(".")[2] for name in found} >= {"Monitor", "Watch"}
    for name, code in found.items():
        net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
        x, y = torch.randn(16, 4), torch.randint(2, (16,))
        known = {name: getattr(vglib, name) for name in vglib.__all__}
        known |= vars(import_module("vglib.monitor")) | {"net": net, "model": net}
        known |= {"batches": 20 * [(x, y)], "loss": cross_entropy(net(x), y)}
        try:
            exec(compile(code, name, "exec"), known)
        except Exception as error:
            raise AssertionError(f"the example of {name} does not run: {error}") from error
