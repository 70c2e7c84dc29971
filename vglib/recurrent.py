"""RNN, LSTM and GRU: written out for reading, fused for running, with the same weights.

A network here is a `Recurrent`: torch's fused module and a linear read-out of the last state.
`unroll` runs the same weights step by step, so that every hidden state can be looked at.
"""

import torch
from torch import nn

from vglib.checks import at_least_one, choose, positive


def rnn_step(weights: nn.Module, x: torch.Tensor, state: tuple) -> tuple:
    """h = tanh(W x + b + U h' + c); ``state`` is (h',). Elman (1990), as in ``nn.RNN``."""
    (h,) = state
    return (torch.tanh(_input_part(weights, x) + _recurrent_part(weights, h)),)


def lstm_step(weights: nn.Module, x: torch.Tensor, state: tuple) -> tuple:
    """Gates i, f, o and candidate g from x and h'; c = f c' + i g; h = o tanh(c).

    ``state`` is (h', c'). Hochreiter and Schmidhuber (1997), with the forget gate of Gers et al.
    (2000), as in ``nn.LSTM``.
    """
    h, c = state
    i, f, g, o = (_input_part(weights, x) + _recurrent_part(weights, h)).chunk(4, dim=1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def gru_step(weights: nn.Module, x: torch.Tensor, state: tuple) -> tuple:
    """Gates r and u; candidate n = tanh(W x + b + r (U h' + c)); h = (1 - u) n + u h'.

    ``state`` is (h',). Cho et al. (2014), as in ``nn.GRU``.
    """
    (h,) = state
    xr, xu, xn = _input_part(weights, x).chunk(3, dim=1)
    hr, hu, hn = _recurrent_part(weights, h).chunk(3, dim=1)
    update = torch.sigmoid(xu + hu)
    candidate = torch.tanh(xn + torch.sigmoid(xr + hr) * hn)
    return ((1 - update) * candidate + update * h,)


def _input_part(weights, x):
    return x @ weights.weight_ih_l0.T + weights.bias_ih_l0


def _recurrent_part(weights, h):
    return h @ weights.weight_hh_l0.T + weights.bias_hh_l0


# kind: (torch's fused module, one step written out, number of state vectors)
CELLS = {
    "rnn": (nn.RNN, rnn_step, 1),
    "lstm": (nn.LSTM, lstm_step, 2),
    "gru": (nn.GRU, gru_step, 1),
}


def _radius(weight, radius):
    nn.init.normal_(weight)
    with torch.no_grad():
        weight *= radius / torch.linalg.eigvals(weight).abs().max()


# What each init does to a recurrent matrix; None leaves what torch drew.
RECURRENT_INITS = {
    "torch": None,
    "orthogonal": lambda weight, radius: nn.init.orthogonal_(weight),
    "stacked": lambda weight, radius: nn.init.orthogonal_(weight),  # on all gates at once
    "identity": lambda weight, radius: nn.init.eye_(weight),
    "radius": _radius,
}


class Recurrent(nn.Module):
    """A fused recurrent module and a linear read-out of its last hidden state."""

    def __init__(self, kind, inputs, hidden, outputs):
        super().__init__()
        self.kind = kind
        self.cell = CELLS[kind][0](inputs, hidden, batch_first=True)
        self.readout = nn.Linear(hidden, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs, shape (examples, outputs), from x of shape (examples, time, inputs)."""
        return self.readout(self.cell(x)[0][:, -1])


def recurrent(
    *,
    kind: str,
    hidden: int,
    inputs: int,
    outputs: int,
    seed: int,
    recurrent_init: str = "torch",
    radius: float | None = None,
    forget_bias: float | None = None,
    longest_lag: int | None = None,
    dtype: torch.dtype = torch.float64,
) -> Recurrent:
    """A `Recurrent` network of ``kind`` ``"rnn"``, ``"lstm"`` or ``"gru"``.

    ``recurrent_init`` names the law of each square recurrent matrix: ``torch`` (uniform
    ±1/√hidden), ``orthogonal`` (Saxe et al. 2014), ``identity`` (Le et al. 2015), or ``radius``:
    Gaussian, scaled to the spectral radius ``radius``. With ``stacked`` the matrices of all gates
    are one tall matrix with orthonormal columns, as Keras draws them and ``nn.init.orthogonal_``
    leaves torch's: an RNN's single matrix is orthogonal, but each of k gates alone has entries of
    variance 1/(k hidden) and a spectral radius of about 1/√k. For an LSTM, ``forget_bias`` sets the
    bias of the forget gate (Jozefowicz et al. 2015); for LSTM and GRU, ``longest_lag`` T draws it
    as log U(1, T-1), and the LSTM's input gate as its negative (chrono init, Tallec and Ollivier
    2018). Torch adds two bias vectors; one of them is set and the other zeroed. Equal ``seed``,
    equal network. Raises ValueError for an unknown name or a bad number.
    """
    at_least_one(hidden=hidden, inputs=inputs, outputs=outputs)
    choose("kind", kind, CELLS)
    fill = choose("recurrent_init", recurrent_init, RECURRENT_INITS)
    if recurrent_init == "radius" or radius is not None:
        positive("radius", radius)
    if radius is not None and recurrent_init != "radius":
        raise ValueError(f"radius belongs to recurrent_init 'radius', not to {recurrent_init!r}")
    if forget_bias is not None and kind != "lstm":
        raise ValueError(f"forget_bias belongs to kind 'lstm'; {kind!r} has no forget gate")
    if longest_lag is not None and (kind == "rnn" or forget_bias is not None or longest_lag < 3):
        raise ValueError(
            "longest_lag must be 3 or more, for kind 'lstm' or 'gru', without forget_bias; given "
            f"were {longest_lag!r}, kind {kind!r} and forget_bias {forget_bias!r}"
        )
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.default_generator.manual_seed(seed)  # and no other device's
        net = Recurrent(kind, inputs, hidden, outputs)
        if fill is not None:
            whole = net.cell.weight_hh_l0
            for matrix in [whole] if recurrent_init == "stacked" else whole.split(hidden):
                fill(matrix, radius)
        # In torch's order: i f g o for an LSTM, r u n for a GRU.
        if forget_bias is not None:
            _set_gate_bias(net.cell, 1, forget_bias)
        if longest_lag is not None:
            bias = torch.log(torch.empty(hidden).uniform_(1, longest_lag - 1))
            _set_gate_bias(net.cell, 1, bias)
            if kind == "lstm":
                _set_gate_bias(net.cell, 0, -bias)
    net = net.to(dtype)
    net.settings = dict(kind=kind, hidden=hidden, recurrent_init=recurrent_init, seed=seed)
    extra = dict(radius=radius, forget_bias=forget_bias, longest_lag=longest_lag)
    net.settings |= {name: value for name, value in extra.items() if value is not None}
    return net


def _set_gate_bias(cell, gate, value):
    one = slice(gate * cell.hidden_size, (gate + 1) * cell.hidden_size)
    cell.bias_ih_l0[one] = value
    cell.bias_hh_l0[one] = 0


def unroll(net: Recurrent, x: torch.Tensor) -> tuple[list[tuple], torch.Tensor]:
    """Run a `Recurrent` step by step; returns the states and the outputs.

    ``x`` has shape (examples, time, inputs). The states are a list over time of tuples, (h,) or
    (h, c), each of shape (examples, hidden), all in the graph of the outputs.
    """
    _, step, size = CELLS[net.kind]
    zero = x.new_zeros(len(x), net.cell.hidden_size)
    states = [(zero,) * size]
    for inputs in x.unbind(dim=1):
        states.append(step(net.cell, inputs, states[-1]))
    return states[1:], net.readout(states[-1][0])
