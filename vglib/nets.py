"""Deep networks, dense and convolutional; activations, inits and connections by name.

Every network here is a stack of layers with one stream z through it. Layer 1 makes z_1 from the
input; layer l+1 makes z_{l+1} from z_l::

    new = W φ(N(z_l)) + b            N: normalization, if any
    plain      z_{l+1} = new
    residual   z_{l+1} = z_l + s new                        s: branch_scale
    highway    z_{l+1} = z_l + T (new - z_l),  T = sigmoid(gate)
    dense      z_{l+1} = (z_l, new) side by side

and the read-out is linear in φ(N(z_L)). So δ_l = ∂L/∂z_l is at the same place in all of them.
Residual: He et al. (2016); highway: Srivastava et al. (2015); dense: Huang et al. (2017).
"""

import torch
from torch import nn

from vglib import theory
from vglib.checks import at_least_one, check_gain, check_scales, choose
from vglib.names import ACTIVATIONS, INITS

CONNECTIONS = ("plain", "residual", "highway", "dense")
NORMALIZATIONS = (None, "batch", "layer")
GATE_BIAS = -2.0  # highway layers start by carrying: Srivastava et al. (2015) suggest -1 to -3


class Layer(nn.Module):
    """Layer l+1: normalization, activation and weights, joined to the stream."""

    def __init__(self, normalization, activation, weights, connection, scale, gate):
        super().__init__()
        self.normalization, self.activation, self.weights = normalization, activation, weights
        self.connection, self.scale, self.gate = connection, scale, gate

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        h = self.activation(self.normalization(z))
        new = self.weights(h)
        if self.connection == "residual":
            return z + self.scale * new
        if self.connection == "highway":
            return z + torch.sigmoid(self.gate(h)) * (new - z)
        if self.connection == "dense":
            return torch.cat([z, new], dim=1)
        return new

    def extra_repr(self) -> str:
        return f"connection={self.connection}, scale={self.scale}"


def mlp(
    *, depth: int, width: int, inputs: int = 64, classes: int = 10, **keywords
) -> nn.Sequential:
    """A deep network of ``depth`` hidden layers of ``width`` units, then a linear read-out.

    Inputs have shape (examples, inputs). The other keywords are those of `convnet`.
    """
    at_least_one(depth=depth, width=width, inputs=inputs, classes=classes)
    net = _build(
        stem=lambda: nn.Linear(inputs, width),
        layer=nn.Linear,
        norms={"batch": nn.BatchNorm1d, "layer": nn.LayerNorm},
        head=lambda features: nn.Linear(features, classes),
        depth=depth,
        width=width,
        **keywords,
    )
    sizes = dict(depth=depth, width=width, inputs=inputs, classes=classes)
    net.settings = sizes | keywords
    return net


def convnet(*, depth: int, channels: int, classes: int = 10, **keywords) -> nn.Sequential:
    """A deep convolutional network for 8×8 images: ``depth`` layers of 3×3 kernels.

    Layer 1 has stride 2 and makes maps of 4×4; the read-out sees their mean. Padding is circular,
    since zeros around maps so small starve the network by themselves. Inputs have shape (examples,
    1, 8, 8). For this and for `mlp`:

    ``activation`` names φ. ``init`` names the law of the weights, whose variance is

    ==============  ============================================================================
    torch           1/(3 fan_in), uniform, biases too: what ``nn.Linear`` does by itself
    lecun           1/fan_in, normal (LeCun et al. 1998)
    xavier          2/(fan_in + fan_out), normal; also xavier_uniform (Glorot and Bengio 2010)
    he              2/fan_in, normal; also he_uniform (He et al. 2015)
    normal          gain²/fan_in, normal: the ``gain`` σ_w is yours
    orthogonal      gain²/fan_in between layers of equal width (Saxe et al. 2014)
    critical        as normal, with the gain of `theory.critical_gain`
    ==============  ============================================================================

    Biases are N(0, ``bias_scale``²), except under ``torch``. ``normalization`` is None, ``"batch"``
    or ``"layer"``; ``connection`` is ``"plain"``, ``"residual"`` with ``branch_scale``,
    ``"highway"`` or ``"dense"``: see the top of this module. A dense network's layers widen, each
    by the width. Equal ``seed``, equal network; torch's random state stays as it was. Returns an
    ``nn.Sequential`` of ``layer1``, ``layer2``, …, ``readout``. Its attribute ``settings`` has the
    keywords, which build the same network again. Raises ValueError for an unknown name, a size
    below 1, or a bad scale.
    """
    at_least_one(depth=depth, channels=channels, classes=classes)
    conv = dict(kernel_size=3, padding=1, padding_mode="circular")
    net = _build(
        stem=lambda: nn.Conv2d(1, channels, stride=2, **conv),
        layer=lambda fan_in, fan_out: nn.Conv2d(fan_in, fan_out, **conv),
        norms={"batch": nn.BatchNorm2d, "layer": lambda features: nn.GroupNorm(1, features)},
        head=lambda features: nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(features, classes)
        ),
        depth=depth,
        width=channels,
        **keywords,
    )
    net.settings = dict(depth=depth, channels=channels, classes=classes) | keywords
    return net


def _build(
    *,
    stem,
    layer,
    norms,
    head,
    depth,
    width,
    activation,
    init,
    seed,
    gain=None,
    bias_scale=0.0,
    normalization=None,
    connection="plain",
    branch_scale=1.0,
    dtype=torch.float64,
):
    make_activation = choose("activation", activation, ACTIVATIONS).module
    fill = choose("init", init, INITS).fill
    choose("connection", connection, CONNECTIONS)
    choose("normalization", normalization, NORMALIZATIONS)
    check_gain(init, gain)
    check_scales(init, bias_scale, connection, branch_scale)
    if init == "critical":
        gain = theory.critical_gain(activation, bias_scale=bias_scale)
    elif init == "orthogonal" and gain is None:
        gain = 1.0

    def norm(features):
        return nn.Identity() if normalization is None else norms[normalization](features)

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # and no other device's
        net = nn.Sequential()
        net.add_module("layer1", stem())
        features = width
        for number in range(2, depth + 1):
            gate = None
            if connection == "highway":
                gate = layer(features, width)
            weights = layer(features, width)
            parts = norm(features), make_activation(), weights, connection, branch_scale, gate
            net.add_module(f"layer{number}", Layer(*parts))
            features += width if connection == "dense" else 0
        net.add_module("readout", nn.Sequential(norm(features), make_activation(), head(features)))
        for module in net.modules():
            if isinstance(module, nn.Linear | nn.Conv2d) and fill is not None:
                fill(module.weight, gain)
                nn.init.normal_(module.bias, std=bias_scale)
        for module in net.modules():
            if isinstance(module, Layer) and module.gate is not None:
                nn.init.constant_(module.gate.bias, GATE_BIAS)
    net = net.to(dtype)
    net.vglib_layers = [f"layer{number}" for number in range(1, depth + 1)]
    return net
