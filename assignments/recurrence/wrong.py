"""Known-wrong answers: what people believe, and the points it deserves."""

from grading.assignment import Wrong

BIASED = """
measured_factors = []
for seed in range(5):
    torch.manual_seed(seed)
    cell, readout = nn.GRUCell(10, 64).double(), nn.Linear(64, 8).double()
    with torch.no_grad():
        {}
        {}
    tokens = nn.functional.one_hot(torch.randint(10, (16, 41)), 10).double()
    h, states = torch.zeros(16, 64).double(), []
    for t in range(41):
        h = cell(tokens[:, t], h)
        h.retain_grad()
        states.append(h)
    nn.functional.cross_entropy(readout(h), torch.randint(8, (16,))).backward()
    near, far = (float(states[40 - lag].grad.norm()) for lag in (10, 40))
    measured_factors.append((far / near) ** (1 / 30))
"""

WRONG = (
    Wrong(
        "the spectral radius is the factor of each step",
        "reach",
        """
rho = float(torch.linalg.eigvals(U).abs().max())
lag = 0
while rho ** (lag + 1) > 0.1:
    lag += 1
return lag
""",
        0,
    ),
    Wrong(
        "the norm of one step is the factor of each step",
        "reach",
        """
norm = float(torch.linalg.matrix_norm(U, ord=2))
lag = 0
while norm ** (lag + 1) > 0.1 and lag < 300:
    lag += 1
return lag
""",
        0,
    ),
    Wrong(
        "the first lag that starves",
        "reach",
        """
power, furthest = torch.eye(len(U), dtype=U.dtype), 0
for lag in range(1, 301):
    power = U @ power
    if torch.linalg.matrix_norm(power, ord=2) > 0.1:
        furthest = lag
return furthest + 1
""",
        1.5,
    ),
    Wrong(
        "only the matrix multiplies the gradient, without slopes",
        "by_lag",
        """
gradient = torch.ones(len(U), dtype=U.dtype)
norms = []
for _ in x:
    norms.append(float(gradient.norm()))
    gradient = U.T @ gradient
return norms
""",
        0,
    ),
    Wrong(
        "the matrix on the way back too, not its transpose",
        "by_lag",
        """
h, states = torch.zeros(len(U), dtype=U.dtype), []
for fed_in in x:
    h = torch.tanh(U @ h + fed_in)
    states.append(h)
back, norms = torch.ones(len(U), dtype=U.dtype), []
for state in reversed(states):
    norms.append(float(back.norm()))
    back = U @ ((1 - state**2) * back)
return norms
""",
        0,
    ),
    Wrong(
        "the slopes of the state before",
        "by_lag",
        """
h, states = torch.zeros(len(U), dtype=U.dtype), []
for fed_in in x:
    states.append(h)
    h = torch.tanh(U @ h + fed_in)
back, norms = torch.ones(len(U), dtype=U.dtype), []
for state in reversed(states):
    norms.append(float(back.norm()))
    back = U.T @ ((1 - state**2) * back)
return norms
""",
        0,
    ),
    Wrong(
        "the first time step is lag 0",
        "by_lag",
        """
h, states = torch.zeros(len(U), dtype=U.dtype), []
for fed_in in x:
    h = torch.tanh(U @ h + fed_in).requires_grad_()
    h.retain_grad()
    states.append(h)
h.sum().backward()
return [float(state.grad.norm()) for state in states]
""",
        1.5,
    ),
    Wrong("a radius of one is the border", "border", "border = 1.0", 0),
    Wrong(
        "the forget gate first, then the input gate",
        "start_biases",
        """
gate = share ** (1 / times)
forget = torch.log(gate / (1 - gate))
return torch.cat([forget, -forget, torch.zeros(2 * len(times))])
""",
        1,
    ),
    Wrong(
        "a forget bias of one is enough for any lag",
        "start_biases",
        """
n = len(times)
return torch.cat([-torch.ones(n), torch.ones(n), torch.zeros(2 * n)])
""",
        0,
    ),
    Wrong(
        "the chapter's log τ, whatever share is to be kept",
        "start_biases",
        "return torch.cat([-times.log(), times.log(), torch.zeros(2 * len(times))])",
        0,
    ),
    Wrong(
        "input gates as they come beside open forget gates",
        "start_biases",
        """
gate = share ** (1 / times)
n = len(times)
return torch.cat([torch.zeros(n), torch.log(gate / (1 - gate)), torch.zeros(2 * n)])
""",
        1.5,
    ),
    Wrong(
        "a gate multiplies the gradient, and nothing else does",
        "predicted_factor",
        "predicted_factor = 1 / (1 + 2.718281828**-bias)",
        0,
    ),
    Wrong(
        "a GRU has an LSTM's factor",
        "predicted_factor",
        "predicted_factor = 1 / (1 + 2.718281828**-bias) + 1 / (4 * 3**0.5)",
        0,
    ),
    Wrong(
        "the bias at the reset gate, which PyTorch keeps first",
        "measured_factors",
        BIASED.format("cell.bias_ih[:64] = bias", "cell.bias_hh[:64] = 0"),
        0,
    ),
    Wrong(
        "the bias in both of PyTorch's vectors",
        "measured_factors",
        BIASED.format("cell.bias_ih[64:128] = bias", "cell.bias_hh[64:128] = bias"),
        0,
    ),
    Wrong(
        "the gates of a GRU carry the gradient: hardly anything is lost",
        "measured_factors",
        "measured_factors = [1 - seed / 1000 for seed in range(5)]",
        0,
    ),
    Wrong(
        "clipping brings every gradient to the bound, and so helps small ones",
        "clip",
        "return gradient * bound / (gradient.norm() + 1e-30)",
        0,
    ),
    Wrong(
        "every gradient is brought to the bound, zeros too",
        "clip",
        "return gradient * bound / gradient.norm()",
        0,
    ),
    Wrong(
        "zeros divided by their norm",
        "clip",
        "return gradient / gradient.norm() * min(float(gradient.norm()), bound)",
        1.5,
    ),
    Wrong("each entry is clipped by itself", "clip", "return gradient.clamp(-bound, bound)", 0),
)
