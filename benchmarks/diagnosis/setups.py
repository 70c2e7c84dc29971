"""What a set-up of the benchmark is, and the data that several of them share.

development.py and holdout.py hold the set-ups. Each is a function ``make(cured)`` that returns
(model, loss_fn, batches, optimizer), the arguments of `vglib.diagnose`. Intentions stand in its
decorator; whether it is faulty is for label.py to find out.
"""

import functools
import importlib
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

import torch
from sklearn.datasets import load_digits

CAUSES = (
    "activation",
    "weight scale",
    "saturation",
    "dead units",
    "depth",
    "recurrent factor",
    "forget gate",
    "explosion",
    "low precision",
    "learning rate",
    "data",
    "detached",
    "optimizer epsilon",
    "weight decay",
)
SPLITS = ("development", "holdout")


@dataclass(frozen=True)
class SetUp:
    """One training set-up, and what its author meant it to be.

    ``kind``: healthy, gradient or other. ``where``: names of modules any of which is right as the
    first one named, or ("lag", low, high). ``make(cured)``: the set-up, or the same with its
    remedy; a healthy one has the cure that people would try. ``judge(model, batch)``: a number to
    be made small, for labelling, where the remedy changes the loss itself.
    """

    name: str
    family: str
    make: Callable
    kind: str
    cause: str | None
    where: tuple | None
    remedy: str
    steps: int
    judge: Callable | None

    def build(self, seed, cured=False):
        """(model, loss_fn, batches, optimizer), all made from ``seed``."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.make(cured)

    @property
    def source(self):
        """A short hash over all that decides its training: so one can change alone."""
        module = inspect.getmodule(self.make)
        texts = {}

        def take(thing):
            text = inspect.getsource(thing)
            if thing is self.make:
                text = text[re.search(r"^def ", text, re.MULTILINE).start() :]  # without decorator
            texts[thing.__name__] = text
            for name in sorted(set(re.findall(r"\w+", text))):
                used = vars(module).get(name)
                if getattr(used, "__module__", None) == module.__name__ and name not in texts:
                    take(used)
                elif isinstance(used, str | list) and name.isupper():
                    texts[name] = repr(used)

        take(self.make)
        if self.judge:
            take(getattr(self.judge, "func", self.judge))
        whole = "".join(texts[name] for name in sorted(texts)) + str(self.steps)
        return sha256(whole.encode()).hexdigest()[:12]


def collection():
    """A list of set-ups and the decorator that fills it."""
    setups = []

    def setup(family, kind, cause=None, *, remedy, where=None, steps=400, judge=None):
        def keep(make):
            name = make.__name__
            setups.append(SetUp(name, family, make, kind, cause, where, remedy, steps, judge))
            return make

        return keep

    return setups, setup


def load(split):
    """The set-ups of ``split``, by name."""
    return {one.name: one for one in importlib.import_module(split).SETUPS}


@functools.cache
def _digits():
    inputs, targets = load_digits(return_X_y=True)
    return torch.tensor(inputs, dtype=torch.float32) / 16, torch.tensor(targets)


def digits(*shape):
    """All 1,797 digits of scikit-learn with pixels in [0, 1], in a random order, and classes."""
    inputs, targets = _digits()
    order = torch.randperm(len(targets))
    return inputs[order].reshape(-1, *(shape or (64,))), targets[order]


def batched(*tensors, size=64):
    """A list of batches: tuples of ``size`` rows."""
    stop = len(tensors[0]) - size + 1
    return [tuple(t[i : i + size] for t in tensors) for i in range(0, stop, size)]
