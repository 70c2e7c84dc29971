"""Deep networks, their activations and their weight inits, all by name."""

from collections import OrderedDict

import torch
from torch import nn

from vglib.checks import at_least_one, check_gain, choose

ACTIVATIONS = {
    "identity": nn.Identity,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
}


def _lecun(weight, gain):
    nn.init.normal_(weight, std=weight.shape[1] ** -0.5)


def _xavier(weight, gain):
    nn.init.xavier_normal_(weight)


def _he(weight, gain):
    nn.init.kaiming_normal_(weight, nonlinearity="relu")


def _normal(weight, gain):
    nn.init.normal_(weight, std=gain * weight.shape[1] ** -0.5)


# What each init does to a weight of shape (fan_out, fan_in); None leaves what nn.Linear drew.
INITS = {
    "torch": None,
    "lecun": _lecun,
    "xavier": _xavier,
    "he": _he,
    "normal": _normal,
}


def mlp(
    *,
    depth,
    width,
    activation,
    init,
    seed,
    gain=None,
    inputs=64,
    classes=10,
    dtype=torch.float64,
):
    """A deep network: ``depth`` hidden layers of ``width`` units, then a linear read-out.

    Layer l computes z_l = W_l h_{l-1} + b_l and h_l = φ(z_l); h_0 is the input. ``activation``
    names φ. ``init`` names the law of the weights, whose variance is

    =========  =================================================================================
    torch      1/(3 fan_in), uniform, biases too: what ``nn.Linear`` does by itself
    lecun      1/fan_in, normal (LeCun et al. 1998)
    xavier     2/(fan_in + fan_out), normal (Glorot and Bengio 2010)
    he         2/fan_in, normal (He et al. 2015)
    normal     gain²/fan_in, normal: the gain σ_w is yours
    =========  =================================================================================

    Biases are zero except under ``torch``. Equal ``seed``, equal network; torch's global random
    state stays as it was. Returns an ``nn.Sequential`` with layers ``layer1``, ``activation1``, …,
    ``readout`` and the keywords above as its attribute ``settings``.

    Raises ValueError for an unknown name, a size below 1, or a gain that is not positive.
    """
    at_least_one(depth=depth, width=width, inputs=inputs, classes=classes)
    make_activation = choose("activation", activation, ACTIVATIONS)
    fill = choose("init", init, INITS)
    check_gain(init, gain)
    settings = dict(depth=depth, width=width, activation=activation, init=init, seed=seed)
    if gain is not None:
        settings["gain"] = gain

    modules = OrderedDict()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for layer in range(1, depth + 1):
            modules[f"layer{layer}"] = nn.Linear(inputs if layer == 1 else width, width)
            modules[f"activation{layer}"] = make_activation()
        modules["readout"] = nn.Linear(width, classes)
        for module in modules.values():
            if isinstance(module, nn.Linear) and fill is not None:
                fill(module.weight, gain)
                nn.init.zeros_(module.bias)
    net = nn.Sequential(modules).to(dtype)
    net.settings = settings
    return net
