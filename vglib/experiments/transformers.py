"""Transformers by depth, on digits that are read row by row: built, and trained side by side.

A digit is eight tokens, its rows. Each layer is an ``nn.TransformerEncoderLayer``: attention, then
two matrices with a ReLU between them, each on a branch beside a skip. The norm comes after the sum
(post-LN, Vaswani et al. 2017) or at the start of the branch (pre-LN).
"""

import warnings

import numpy as np
import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional as F

from vglib.checks import at_least_one, choose, positive
from vglib.tasks import digits
from vglib.training import accuracy

KINDS = ("post-LN", "pre-LN", "no skips")
WEIGHTS = ("torch", "xavier")
TOKENS, WIDTH, HEADS, HIDDEN = 8, 32, 4, 64
BATCH, EPOCHS = 32, 6


class NoSkips(nn.TransformerEncoderLayer):
    """A post-LN layer without its two skips."""

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        """Tokens (examples, tokens, width) one layer up."""
        h = self.norm1(self._sa_block(h, None, None))
        return self.norm2(self._ff_block(h))


class Reader(nn.Module):
    """Rows of a digit to ten scores: an embedding with places, layers, and the mean token."""

    def __init__(self, kind, depth):
        super().__init__()
        layer = NoSkips if kind == "no skips" else nn.TransformerEncoderLayer
        how = dict(dropout=0.0, batch_first=True, norm_first=kind == "pre-LN")
        self.embed = nn.Linear(8, WIDTH)
        self.place = nn.Parameter(0.5 * torch.randn(TOKENS, WIDTH))
        self.layers = nn.ModuleList(layer(WIDTH, HEADS, HIDDEN, **how) for _ in range(depth))
        self.norm = nn.LayerNorm(WIDTH) if kind == "pre-LN" else nn.Identity()
        self.readout = nn.Linear(WIDTH, 10)

    def streams(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The tokens below the first layer and after each, (examples, tokens, width)."""
        h = [self.embed(x) + self.place]
        for layer in self.layers:
            h.append(layer(h[-1]))
        return h

    def read(self, h: torch.Tensor) -> torch.Tensor:
        """Ten scores from the tokens after the last layer."""
        return self.readout(self.norm(h).mean(dim=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores (examples, 10) from rows (examples, 8, 8)."""
        return self.read(self.streams(x)[-1])


def transformer(
    *,
    kind: str,
    depth: int,
    weights: str,
    seed: int,
    scaled: bool = False,
    dtype: torch.dtype = torch.float64,
) -> Reader:
    """A `Reader` of ``depth`` layers of ``kind``: ``post-LN``, ``pre-LN`` or ``no skips``.

    ``weights``: ``torch``, as ``nn.TransformerEncoderLayer`` draws them, or ``xavier`` for all
    matrices, as ``nn.Transformer`` does (in float32, then cast). ``scaled`` multiplies the last
    matrix of each branch by 1/√(2 depth), as GPT-2 does; its bias is zeroed. Equal ``seed``, equal
    network; torch's random state stays as it was. Raises ValueError for an unknown name.
    """
    choose("kind", kind, KINDS)
    choose("weights", weights, WEIGHTS)
    at_least_one(depth=depth)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.default_generator.manual_seed(seed)  # and no other device's
        net = Reader(kind, depth)
        for layer in net.layers:
            if weights == "xavier":
                for p in layer.parameters():
                    if p.dim() > 1:
                        nn.init.xavier_uniform_(p)
            if scaled:
                for last in (layer.self_attn.out_proj, layer.linear2):
                    last.weight *= (2 * depth) ** -0.5
                    last.bias.zero_()
    return net.to(dtype)


def fit(
    nets: list[Reader], *, rate: float, warm_up: bool, seed: int, epochs: int = EPOCHS
) -> dict[str, np.ndarray]:
    """Train networks of one shape side by side with Adam; they stay as they were.

    ``warm_up``: the rate rises in a straight line over the first epoch. Returns, one value a
    network, the share of ``train`` and ``test`` digits told right at the end, and the mean ``loss``
    of each epoch, (networks, epochs). The order of the examples is that of ``seed``.
    """
    positive("rate", rate)
    at_least_one(epochs=epochs)
    data = digits(shape="rows", seed=seed, dtype=next(nets[0].parameters()).dtype)
    weights, _ = stack_module_state(nets)

    def scores(w, x):
        return functional_call(nets[0], w, (x,))

    def together(w, x):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "There is a performance drop")  # says vmap
            return vmap(scores, in_dims=(0, None))(w, x)

    optimizer = torch.optim.Adam([*weights.values()], lr=rate)
    generator = torch.Generator().manual_seed(seed)
    x, y = data.train.inputs, data.train.targets
    per_epoch, done, losses = len(y) // BATCH, 0, []
    for _ in range(epochs):
        total = torch.zeros(len(nets), dtype=x.dtype)
        order = torch.randperm(len(y), generator=generator)
        for chosen in order[: per_epoch * BATCH].view(per_epoch, BATCH):
            done += 1
            optimizer.param_groups[0]["lr"] = rate * (
                min(1.0, done / per_epoch) if warm_up else 1.0
            )
            out = together(weights, x[chosen])
            targets = y[chosen].repeat(len(nets))
            loss = F.cross_entropy(out.flatten(0, 1), targets, reduction="none")
            loss = loss.view(len(nets), -1).mean(dim=1)
            optimizer.zero_grad()
            loss.sum().backward()
            optimizer.step()
            total += loss.detach()
        losses.append(total / per_epoch)

    @torch.no_grad()
    def right(batch):
        out = together(weights, batch.inputs)
        return accuracy(out, batch.targets).numpy()

    history = torch.stack(losses, dim=1).double().numpy()
    return {"train": right(data.train), "test": right(data.test), "loss": history}
