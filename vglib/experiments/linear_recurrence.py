"""Memory without gates: h_t = λ ⊙ h_{t-1} + γ ⊙ B u_t, a complex number λ for each unit.

A network here is curved in depth and linear in time: ReLU features of each input, the recurrence,
and a small network on its last state. ``KINDS`` are the steps from a bare λ to the LRU of Orvieto
et al. (2023). The lesson trains some of them; ``benchmarks/linear_recurrence.py`` all.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional as F

from vglib.batch import Task
from vglib.checks import at_least_one, choose, positive
from vglib.claims import recorded
from vglib.tasks import adding, digits, recall
from vglib.training import accuracy

DISC, RING = (0.0, 1.0), (0.95, 0.999)  # from which radius to which |λ| is drawn
KINDS = {
    "λ": dict(exponential=False, normalized=False, radii=DISC),
    "λ, ring": dict(exponential=False, normalized=False, radii=RING),
    "λ, ring, γ": dict(exponential=False, normalized=True, radii=RING),
    "exp": dict(exponential=True, normalized=False, radii=DISC),
    "exp, ring": dict(exponential=True, normalized=False, radii=RING),
    "LRU": dict(exponential=True, normalized=True, radii=RING),
}
UNITS, FEATURES = 16, 16  # 16 complex numbers are 32 real ones
SIZES = {"recall": (10, 8), "adding": (2, 1), "pixels": (1, 10)}  # task: inputs, outputs
STEPS = {"recall": 1_000, "adding": 1_000, "pixels": 1_500}  # of training
RATES = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)
GRID_SEED = 100  # of the search for rates
BATCH = 32


class LinearRecurrence(nn.Module):
    """The last state of h_t = λ ⊙ h_{t-1} + γ ⊙ B u_t, from h_0 = 0.

    ``exponential``: λ = exp(-exp(ν) + iθ), so |λ| < 1 whatever ν; else λ = a + ib. ``normalized``:
    γ = √(1 - |λ|²), so that white inputs give a state of one size; else γ = 1. ``radii``: λ is
    drawn evenly from the ring between two radii (Orvieto et al. 2023, Lemma 3.2). B is complex
    Gaussian, of variance 1/inputs. Raises ValueError unless 0 ≤ inner < outer ≤ 1.
    """

    def __init__(
        self,
        inputs: int,
        units: int,
        *,
        exponential: bool,
        normalized: bool,
        radii: tuple[float, float],
    ):
        super().__init__()
        at_least_one(inputs=inputs, units=units)
        low, high = radii
        if not 0 <= low < high <= 1:
            raise ValueError(f"radii must be 0 ≤ inner < outer ≤ 1, not {radii}")
        self.exponential, self.normalized = exponential, normalized
        radius = (low**2 + (high**2 - low**2) * torch.rand(units)).sqrt()
        angle = 2 * torch.pi * torch.rand(units)
        if exponential:
            first, second = (-radius.log()).log(), angle  # ν and θ
        else:
            first, second = radius * angle.cos(), radius * angle.sin()
        self.first, self.second = nn.Parameter(first), nn.Parameter(second)
        self.B = nn.Parameter(torch.randn(inputs, 2 * units) * (2 * inputs) ** -0.5)

    def eigenvalues(self) -> torch.Tensor:
        """λ, complex, one for each unit."""
        if self.exponential:
            return torch.polar((-self.first.exp()).exp(), self.second)
        return torch.complex(self.first, self.second)

    def gamma(self) -> torch.Tensor:
        """γ, what each unit's inputs are multiplied by: (units,)."""
        if not self.normalized:
            return torch.ones_like(self.first)
        # A bare λ can leave the unit disc in training; there is no γ there.
        return (1 - self.eigenvalues().abs() ** 2).clamp_min(1e-8).sqrt()

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        """The last state as a sum over lags, without a loop: (examples, 2 units), real.

        λ to the power of each lag, times the inputs, summed over time, and only then B.
        """
        lags = torch.arange(u.shape[-2] - 1, -1, -1, dtype=u.dtype)
        lam = self.eigenvalues()
        size, angle = (lags * lam.abs().log()[:, None]).exp(), lags * lam.angle()[:, None]
        powers = torch.cat([size * angle.cos(), size * angle.sin()])  # (2 units, time)
        real, imag = torch.einsum("kt,etf->kef", powers, u).chunk(2)
        re, im = (part.T[:, None] for part in self.B.chunk(2, dim=-1))  # (units, 1, inputs)
        h = torch.cat([(real * re - imag * im).sum(-1), (real * im + imag * re).sum(-1)]).T
        return h * self.gamma().repeat(2)

    def states(self, u: torch.Tensor) -> list[torch.Tensor]:
        """The states one after another, by the loop: a list over time of (examples, units)."""
        drive = torch.complex(*(u @ self.B).chunk(2, dim=-1)) * self.gamma()
        states, lam = [torch.zeros_like(drive[:, 0])], self.eigenvalues()
        for added in drive.unbind(dim=1):
            states.append(lam * states[-1] + added)
        return states[1:]


class Reader(nn.Module):
    """ReLU features of each input, a linear recurrence, a small network on its last state."""

    def __init__(self, inputs, outputs, **how):
        super().__init__()
        self.features = nn.Linear(inputs, FEATURES)
        self.cell = LinearRecurrence(FEATURES, UNITS, **how)
        self.top = nn.Linear(2 * UNITS, 2 * UNITS)
        self.readout = nn.Linear(2 * UNITS, outputs)

    def read(self, h: torch.Tensor) -> torch.Tensor:
        """Outputs from a state (examples, 2 units), real."""
        return self.readout(torch.relu(self.top(h)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs (examples, outputs) from x of shape (examples, time, inputs)."""
        return self.read(self.cell(torch.relu(self.features(x))))


def reader(*, task: str, kind: str, seed: int, dtype: torch.dtype = torch.float32) -> Reader:
    """A `Reader` for ``task``, with the recurrence of ``kind``, a name of KINDS.

    Equal ``seed``, equal network; torch's random state stays as it was. Raises ValueError for an
    unknown name.
    """
    inputs, outputs = choose("task", task, SIZES)
    how = choose("kind", kind, KINDS)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # and no other device's
        net = Reader(inputs, outputs, **how)
    net.settings = dict(task=task, kind=kind, seed=seed)
    return net.to(dtype)


def examples(task: str, *, steps: int, seed: int, test: int = 1_000) -> Task:
    """Training and test examples in float32; ``steps`` must be 64 for ``pixels``."""
    choose("task", task, SIZES)
    if task == "pixels":
        if steps != 64:
            raise ValueError(f"a digit has 64 pixels, so steps must be 64, not {steps}")
        return digits(shape="pixels", seed=seed, dtype=torch.float32)
    make = recall if task == "recall" else adding
    return make(steps=steps, seed=seed, test=test, dtype=torch.float32)


def stored(what: str, kind: str, *, task: str, lag: int) -> dict:
    """What the record says: ``search``, lists by rate, or ``training``, lists by seed."""
    wanted = dict(what=what, kind=kind, task=task, lag=lag)
    (found,) = (one for one in recorded("linear_recurrence") if one["settings"] == wanted)
    return found["values"]


def best_rate(kind: str, *, task: str) -> float:
    """The rate of the search with the smallest mean training loss; one not finite is the worst."""
    lag = {"recall": 50, "adding": 100, "pixels": 64}[task]
    losses = stored("search", kind, task=task, lag=lag)["losses"]
    means = [np.inf if None in one else float(np.mean(one)) for one in losses]
    return RATES[int(np.argmin(means))]


def carried(net: Reader, x: torch.Tensor, targets: torch.Tensor) -> np.ndarray:
    """RMS of ∂ℒ/∂h_t by lag, lag 0 first, through the loop: shape (lags,)."""
    states = net.cell.states(torch.relu(net.features(x)))
    last = torch.cat([states[-1].real, states[-1].imag], dim=-1)
    loss = _losses(net.read(last), targets).mean()
    gradients = torch.autograd.grad(loss, states)
    return np.array([one.abs().square().mean().sqrt().item() for one in reversed(gradients)])


def predicted_left(lags: Sequence[int], *, radii: tuple[float, float]) -> np.ndarray:
    """The share of the gradient of what is carried that is left, RMS over a ring of λ.

    After k steps a unit has |λ|^k; the mean square over a ring of even area is
    (R^(2k+2) - r^(2k+2)) / ((k + 1)(R² - r²)).
    """
    low, high = radii
    k = np.asarray(lags, dtype=float)
    square = (high ** (2 * k + 2) - low ** (2 * k + 2)) / ((k + 1) * (high**2 - low**2))
    return np.sqrt(square)


def predicted_sensitivity(radius: np.ndarray | float, *, of: str) -> np.ndarray:
    """RMS change of a unit's state per change of one parameter, for white inputs of RMS 1.

    ``of``: ``|λ|``, that of h by |λ| itself, whose mean square is (1 + r²)/(1 - r²)³ (Zucchet and
    Orvieto 2024); ``ν``, the same by ν, where |λ| = exp(-exp(ν)), r ln r times as much; ``ν, γ``,
    that of γ h by ν, |r ln r|/(1 - r²); ``θ, γ``, that of γ h by the angle. Raises ValueError for
    another name.
    """
    r = np.asarray(radius, dtype=float)
    bare = np.sqrt((1 + r**2) / (1 - r**2) ** 3)
    slope = np.abs(r * np.log(r))  # of |λ| by ν
    table = {"|λ|": bare, "ν": slope * bare, "ν, γ": slope / (1 - r**2)}
    return choose("of", of, table | {"θ, γ": r * bare * np.sqrt(1 - r**2)})


def _losses(outputs, targets):
    """One loss for each example, over the next-to-last axis."""
    if targets.dtype == torch.int64:
        flat = F.cross_entropy(outputs.flatten(0, -2), targets.flatten(), reduction="none")
        return flat.view(targets.shape)
    return (outputs - targets).square().mean(dim=-1)


def fit(
    nets: Sequence[nn.Module], task: Task, *, rates: Sequence[float], steps: int, seed: int
) -> dict[str, np.ndarray]:
    """Train networks of one shape side by side with Adam, each at its rate; in place.

    Each network's gradient is clipped to a norm of 1. ``seed`` draws the batches. Returns ``loss``
    at each step, (networks, steps), and ``way``, (networks,): how far each has come on test
    examples from guessing (0) to perfect (1), by accuracy or, for numbers, by squared error; 0 for
    a network whose loss ceased to be finite. Raises ValueError for rates of another number.
    """
    at_least_one(steps=steps)
    if len(nets) != len(rates) or not len(nets):
        raise ValueError(f"fit needs a rate for each network, not {len(rates)} for {len(nets)}")
    for rate in rates:
        positive("rate", rate)
    weights, _ = stack_module_state([*nets])
    weights = {name: w.detach().requires_grad_() for name, w in weights.items()}
    moments = {name: (torch.zeros_like(w), torch.zeros_like(w)) for name, w in weights.items()}
    lr = torch.tensor(rates, dtype=torch.float32)
    generator = torch.Generator().manual_seed(seed)
    x, y = task.train

    def outputs(weights, x):
        return vmap(lambda w: functional_call(nets[0], w, (x,)))(weights)

    history = []
    for step in range(1, steps + 1):
        chosen = torch.randint(len(y), (BATCH,), generator=generator)
        out = outputs(weights, x[chosen])
        losses = _losses(out, y[chosen].expand(len(nets), *y[chosen].shape)).mean(dim=1)
        gradients = torch.autograd.grad(losses.sum(), [*weights.values()])
        history.append(losses.detach())
        norms = torch.stack([g.flatten(1).square().sum(dim=1) for g in gradients]).sum(dim=0)
        scale = (1 / norms.sqrt()).clamp(max=1.0)
        with torch.no_grad():
            for (name, w), g in zip(weights.items(), gradients, strict=True):
                shape = (-1, *[1] * (w.ndim - 1))
                g = g * scale.view(shape)
                first, second = moments[name]
                first.lerp_(g, 0.1)
                second.lerp_(g.square(), 0.001)
                size = (second / (1 - 0.999**step)).sqrt() + 1e-8
                w -= lr.view(shape) * first / (1 - 0.9**step) / size
    with torch.no_grad():
        for i, net in enumerate(nets):
            for name, parameter in net.named_parameters():
                parameter.copy_(weights[name][i])
        way = np.array([_way(net(task.test.inputs), task.test.targets) for net in nets])
    return {"loss": torch.stack(history, dim=1).double().numpy(), "way": way}


def _way(out, targets):
    if not out.isfinite().all():
        return 0.0
    if targets.dtype == torch.int64:
        guess = 1 / out.shape[-1]
        return (accuracy(out, targets).item() - guess) / (1 - guess)
    spread = (targets - targets.mean()).square().mean()
    return 1 - ((out - targets).square().mean() / spread).item()
