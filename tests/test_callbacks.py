"""`Watch` in real loops of Lightning and Hugging Face, and numbers in a real TensorBoard.

What is not installed is skipped; a job of CI installs all of it (tests/loops.txt).
"""

import re
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from vglib.diagnosis import Diagnosis
from vglib.diagnosis.callbacks import LightningWatch, TransformersWatch
from vglib.tasks import digits

# Other people's packages warn of each other's versions.
pytestmark = pytest.mark.filterwarnings("ignore")
STEPS = 120


def stack(activation, layers=8):
    torch.manual_seed(0)
    parts = [part for _ in range(layers) for part in (nn.Linear(64, 64), activation())]
    return nn.Sequential(*parts, nn.Linear(64, 10))


def healthy():
    return stack(nn.ReLU, layers=2)


def starved():
    return stack(nn.Sigmoid)


def is_free(model):
    """Whether no hook is left on a model."""
    return not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def installed(name):
    return pytest.importorskip(name, reason=f"{name} is not installed (tests/loops.txt)")


# Lightning ----------------------------------------------------------------------------------------


@pytest.fixture(params=["lightning.pytorch", "pytorch_lightning"])
def fit(request):
    """Train a network with Lightning; returns the callback and the network."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lightning = installed(request.param)

    class Module(lightning.LightningModule):
        def __init__(self, net, returns):
            super().__init__()
            self.net, self.returns = net, returns

        def training_step(self, batch, number):
            return self.returns(F.cross_entropy(self.net(batch[0]), batch[1]))

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)

    def fit(net, returns=lambda loss: loss, **options):
        quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
        options = dict.fromkeys(quiet, False) | {"max_steps": STEPS} | options
        callback = LightningWatch(every=10)
        assert isinstance(callback, lightning.Callback)
        trainer = lightning.Trainer(accelerator="cpu", callbacks=callback, **options)
        data = TensorDataset(*digits(dtype=torch.float32).train)
        trainer.fit(Module(net, returns), DataLoader(data, batch_size=32, shuffle=True))
        return callback

    return fit


def test_lightning_is_told_of_a_starved_network(fit):
    net = starved()
    with pytest.warns(UserWarning, match="the gradient loses"):
        callback = fit(net)
    found = callback.watch.diagnosis()
    assert (found.verdict, found.where[0]) == ("gradient", "net.0")
    assert is_free(net)


def test_lightning_is_left_alone_while_a_network_learns(fit):
    callback = fit(healthy(), returns=lambda loss: {"loss": loss}, precision="bf16-mixed")
    assert not callback.watch.warned
    assert callback.watch.diagnosis().verdict == "healthy"
    assert callback.watch.last(99).steps[-1] == STEPS - 10


def test_lightning_without_a_loss_and_with_an_error(fit):
    net = healthy()
    with pytest.raises(ValueError, match="training_step must return the loss"):
        fit(net, returns=lambda loss: None)
    assert is_free(net)


# Hugging Face -------------------------------------------------------------------------------------


class Inside(nn.Module):
    """Computes its loss itself, as the models of transformers do."""

    def __init__(self, net, kind=dict):
        super().__init__()
        self.net, self.kind = net, kind

    def forward(self, x, labels=None):
        scores = self.net(x)
        if self.kind is tuple:
            return F.cross_entropy(scores, labels), scores
        return {"loss": F.cross_entropy(scores, labels), "logits": scores}


@pytest.fixture
def train(tmp_path):
    """Train a network with a Trainer; returns the callback."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transformers = installed("transformers")
        installed("accelerate")

    def train(model, loss=None, **options):
        quiet = {"report_to": [], "save_strategy": "no", "disable_tqdm": True, "use_cpu": True}
        size = {"max_steps": STEPS, "per_device_train_batch_size": 32, "learning_rate": 3e-3}
        settings = transformers.TrainingArguments(str(tmp_path), **quiet, **size | options)
        callback = TransformersWatch(every=10)
        x, y = digits(dtype=torch.float32).train
        rows = [{"x": a, "labels": b} for a, b in zip(x, y, strict=True)]
        more = {"callbacks": [callback], "compute_loss_func": loss}
        trainer = transformers.Trainer(model, settings, train_dataset=rows, **more)
        trainer.train()
        return callback

    return train


def test_a_trainer_is_told_of_a_starved_network(train):
    model = Inside(starved())
    with pytest.warns(UserWarning, match="the gradient loses"):
        callback = train(model, learning_rate=1e-4)
    found = callback.watch.diagnosis()
    assert (found.verdict, found.where[0]) == ("gradient", "net.0")
    assert is_free(model)


def test_a_trainer_is_left_alone_while_a_network_learns(train):
    callback = train(Inside(healthy(), tuple), gradient_accumulation_steps=2)
    assert not callback.watch.warned
    assert callback.watch.diagnosis().verdict == "healthy"


def test_a_model_that_keeps_its_loss(train):
    class Silent(Inside):
        def forward(self, x, labels=None):
            return {"logits": self.net(x)}

    with pytest.raises(ValueError, match="must return its loss"):
        train(Silent(healthy()), lambda outputs, labels, **_: outputs["logits"].square().mean())


# What is not there --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [LightningWatch, TransformersWatch])
def test_it_says_what_to_install(monkeypatch, kind):
    monkeypatch.setattr(kind, "modules", ("not_there.at_all",))
    with pytest.raises(ImportError, match=re.escape(f"pip install {kind.install}")):
        kind(every=5)


# TensorBoard --------------------------------------------------------------------------------------


def test_numbers_in_a_tensorboard(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        installed("tensorboard")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
        from torch.utils.tensorboard import SummaryWriter
    numbers = {"learnt": {"as it is": 0.25}, "decades lost": 5.0}
    with SummaryWriter(tmp_path) as writer:
        Diagnosis("gradient", "Why.", evidence=numbers).log(writer, step=3)
    read = EventAccumulator(str(tmp_path))
    read.Reload()
    (shown,) = read.Scalars("learnt/as it is")
    assert (shown.step, shown.value) == (3, 0.25)
    assert read.Scalars("decades lost")[0].value == 5.0
