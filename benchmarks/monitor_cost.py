"""What watching costs, every 10th step: python benchmarks/monitor_cost.py [--repeats 40]

Ratios of the time of 50 training steps to that of 50 plain ones, from interleaved runs, in one
thread, batches of 64. *again* is the plain loop once more, the control. ``Monitor`` takes each
layer's parameter gradient norm, RMS of δ and RMS of z; its extras have columns of their own.
``Watch`` takes all that and the loss of every step, and judges after every third sample. The
rivals take less: the norm of every parameter's gradient at every 10th step; full backward hooks
the norm of every module's output gradient; ``wandb.watch`` (offline, where wandb is installed) a
histogram of every parameter's gradient, logged at every 10th step.
"""

import argparse
import os
import tempfile
import warnings

import torch
from interleaved import ratios, row
from torch.nn import functional as F

from vglib.diagnosis import Watch
from vglib.monitor import Monitor
from vglib.nets import convnet, mlp
from vglib.recurrent import recurrent
from vglib.tasks import digits

try:
    import wandb
except ImportError:
    wandb = None

STEPS, EVERY = 50, 10
OPTIMIZERS = {
    "SGD": lambda parameters: torch.optim.SGD(parameters, lr=1e-5),
    "Adam": lambda parameters: torch.optim.Adam(parameters, lr=1e-6),
}


def cases():
    x, y = digits(dtype=torch.float32).train.sample(64, seed=0)
    noise = torch.randn(64, 100, 2, generator=torch.Generator().manual_seed(0))
    common = dict(activation="relu", init="he", seed=0, dtype=torch.float32)
    residual = dict(connection="residual", normalization="batch")
    lstm = dict(kind="lstm", hidden=64, inputs=2, outputs=10, seed=0, dtype=torch.float32)
    yield "MLP 20×64", mlp(depth=20, width=64, **common), x, y
    yield "MLP 50×256", mlp(depth=50, width=256, **common), x, y
    image = x.view(-1, 1, 8, 8)
    yield "residual convnet 12×16", convnet(depth=12, channels=16, **common, **residual), image, y
    yield "LSTM, 100 steps", recurrent(**lstm), noise, y


def variants(net, x, y, optimizer):
    optimizer = optimizer(net.parameters())
    parameters = list(net.parameters())

    def steps(on_sample=lambda: None, after=lambda loss: None):
        for step in range(STEPS):
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            if step % EVERY == 0:
                on_sample()
            optimizer.step()
            after(loss)

    def monitored(**extras):
        monitor = Monitor(net, every=EVERY, **extras)  # once a training run

        def run():
            with monitor:
                steps()

        return run

    def watched():
        watch = Watch(net, every=EVERY)
        warnings.filterwarnings("ignore", category=UserWarning, module=__name__)
        for _ in range(2):  # it judges from its hundredth step on
            with watch:
                steps(after=watch)

        def run():
            with watch:
                steps(after=watch)

        return run

    def item_loop():
        steps(lambda: [p.grad.norm().item() for p in parameters])

    def foreach():
        norm = torch._foreach_norm
        steps(lambda: torch.stack(norm([p.grad for p in parameters])).tolist())

    def backward_hooks():
        leaves = [m for m in net.modules() if not list(m.children()) and list(m.parameters())]
        step = 0

        def hook(module, grad_in, grad_out):
            if step % EVERY == 0:
                grad_out[0].norm().item()

        def count(loss):
            nonlocal step
            step += 1

        handles = [m.register_full_backward_hook(hook) for m in leaves]
        steps(after=count)
        for handle in handles:
            handle.remove()

    def wandb_watch():
        wandb.watch(net, log="gradients", log_freq=EVERY)
        steps(after=lambda loss: wandb.log({}))
        wandb.unwatch(net)

    chosen = {
        "plain": steps,
        "again": lambda: steps(),
        "Monitor": monitored(),
        "with updates": monitored(updates=True),
        "with saturation": monitored(saturation=True),
        "Watch": watched(),
        ".norm().item()": item_loop,
        "_foreach_norm": foreach,
        "full backward hooks": backward_hooks,
        "wandb.watch": wandb_watch,
    }
    return chosen if wandb else {n: v for n, v in chosen.items() if n != "wandb.watch"}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=40)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    # Hooks on the first layer fire for its output, its input having no gradient: as it should be.
    warnings.filterwarnings("ignore", message="Full backward hook is firing")
    if wandb:
        os.environ["WANDB_SILENT"] = "true"
        wandb.init(mode="offline", dir=tempfile.mkdtemp())
    header = None
    for label, net, x, y in cases():
        for name, optimizer in OPTIMIZERS.items():
            measured = ratios(variants(net, x, y, optimizer), repeats=repeats)
            if header is None:
                header = "| model, optimizer | " + " | ".join(measured) + " |"
                print(header + "\n" + "|---" * (len(measured) + 1) + "|")
            print(row(f"{label}, {name}", measured), flush=True)


if __name__ == "__main__":
    main()
