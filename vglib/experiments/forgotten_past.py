"""Real sequences of one content and several lengths, for consequences/forgotten_past.

``benchmarks/forgotten_past.py`` trains every kind of network on them; the lesson trains a few.
"""

from collections.abc import Sequence
from pydoc_data.topics import topics

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from vglib.batch import Batch, Task
from vglib.checks import at_least_one, choose
from vglib.claims import recorded
from vglib.experiments.long_lags import CONTENDERS, runs
from vglib.recurrent import recurrent
from vglib.tasks import digits

# The longest sections of Python's manual of which none repeats another.
SECTIONS = ("specialnames", "compound", "types", "formatstrings")
SECTIONS += ("string-methods", "typesseq", "debugger", "typesmapping")
ALPHABET = "abcdefghijklmnopqrstuvwxyz ."  # and one place for all else
TWINS = {  # a network as it comes, and one of its kind whose gradient lasts longer
    "RNN": "RNN, orthogonal",
    "LSTM": "LSTM, chrono",
    "LSTM, forget bias 1": "LSTM, chrono",
    "GRU": "GRU, chrono",
}


def manual(*, steps: int, seed: int, train: int = 8_000, test: int = 1_000) -> Task:
    """Pieces of Python's own manual, ``steps`` characters each: from which section is it?

    Inputs (examples, steps, 29), one-hot: a letter, a blank, a point, or anything else. Targets
    (examples,): one of eight sections, drawn evenly. The pieces start anywhere; test pieces come
    from the last fifth of each section, training pieces from the rest. The text is
    ``pydoc_data.topics``, which comes with Python and differs a little between its versions.
    """
    at_least_one(steps=steps, train=train, test=test)
    generator = torch.Generator().manual_seed(seed)
    texts = [_coded(topics[name]) for name in SECTIONS]

    def pieces(size, first, last):
        targets = torch.randint(len(texts), (size,), generator=generator)
        shares = torch.rand(size, generator=generator).tolist()
        rows = []
        for target, share in zip(targets.tolist(), shares, strict=True):
            text = texts[target]
            low, high = int(first * len(text)), int(last * len(text)) - steps
            start = low + int(share * (high - low + 1))
            rows.append(text[start : start + steps])
        return Batch(F.one_hot(torch.stack(rows), len(ALPHABET) + 1).float(), targets)

    return Task(pieces(train, 0.0, 0.8), pieces(test, 0.8, 1.0))


def _coded(text):
    words = " ".join(text.lower().split())
    return torch.tensor([ALPHABET.find(c) % (len(ALPHABET) + 1) for c in words])


def chunked(*, steps: int, seed: int) -> Task:
    """The digits in ``steps`` chunks of 64 / ``steps`` pixels: the same content, longer or shorter.

    Raises ValueError unless ``steps`` divides 64.
    """
    choose("steps", steps, (1, 2, 4, 8, 16, 32, 64))
    task = digits(seed=seed, dtype=torch.float32)
    parts = (task.train, task.test)
    return Task(*(Batch(p.inputs.view(-1, steps, 64 // steps), p.targets) for p in parts))


def reader(
    contender: str,
    *,
    inputs: int,
    outputs: int,
    steps: int,
    seed: int,
    dtype: torch.dtype = torch.float32,
) -> nn.Module:
    """One of ``long_lags.CONTENDERS`` with 32 units; chrono init gets ``steps``."""
    shape = dict(hidden=32, inputs=inputs, outputs=outputs, seed=seed, dtype=dtype)
    longest = dict(longest_lag=steps) if "chrono" in contender else {}
    name = contender if "," in contender else f"{contender}, torch"
    return recurrent(**shape, **CONTENDERS[name], **longest)


def stored(what: str, contender: str, *, steps: int) -> dict:
    """What the record says of five networks: lists by seed of their ``scores``, and more."""
    wanted = dict(what=what, contender=contender, steps=steps)
    (found,) = (one for one in recorded("forgotten_past") if one["settings"] == wanted)
    return found["values"]


def way(task: str, contender: str, *, steps: int) -> np.ndarray:
    """How far five networks of the record of long lags came, from guessing (0) to perfect (1)."""
    name = contender if "," in contender else f"{contender}, torch"
    found = runs(name, task=task, lag=steps)
    if task == "adding":
        return 1 - 6 * np.array([one["test_loss"] for one in found], dtype=float)
    return recall_way([one["test_score"] for one in found])


def recall_way(scores: Sequence[float]) -> np.ndarray:
    """From guessing, one in eight right, to all right."""
    return (np.asarray(scores, dtype=float) - 1 / 8) / (7 / 8)
