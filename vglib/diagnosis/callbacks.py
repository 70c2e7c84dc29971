"""`Watch` in loops that are not yours: a callback for Lightning's Trainer, one for Hugging Face's.

Each imports its package when it is made.
"""

import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from torch import nn

from vglib.diagnosis.watch import Watch


class _Callback:
    """Holds the `Watch`; becomes a callback of the package when it is made."""

    modules: tuple  # that may have the class to inherit from
    base: str
    install: str

    def __new__(cls, **keywords):
        # Lightning has two names, and a notebook may have imported both.
        names = [name for name in cls.modules if name in sys.modules] or cls.modules
        there = [name for name in names if find_spec(name.partition(".")[0])]
        if not there:
            raise ImportError(f"{cls.__name__} needs {cls.install}: pip install {cls.install}")
        bases = (getattr(import_module(name), cls.base) for name in there)
        return super().__new__(type(cls.__name__, (cls, *bases), {}))

    def __init__(self, **keywords):
        super().__init__()
        self.watch: Watch | None = None
        self._keywords = keywords

    def _begin(self, model, scaler):
        self.watch = Watch(model, **{"scaler": scaler} | self._keywords).start()

    def _end(self):
        if self.watch:
            self.watch.stop()


class LightningWatch(_Callback):
    """A callback for Lightning: ``Trainer(callbacks=[LightningWatch(every=50)])``.

    Keywords go to `Watch`, which is ``watch`` once training has begun: it warns by itself, and
    ``callback.watch.diagnosis()`` gives the last word. `training_step` must return the loss.
    """

    modules = ("lightning.pytorch", "pytorch_lightning")
    base = "Callback"
    install = "lightning"

    def on_train_start(self, trainer: Any, pl_module: nn.Module) -> None:
        self._begin(pl_module, getattr(trainer.precision_plugin, "scaler", None))

    def on_train_batch_end(
        self, trainer: Any, pl_module: nn.Module, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loss = _loss_of(outputs)
        if loss is None:
            raise ValueError(f"training_step must return the loss, alone or as 'loss': {outputs!r}")
        self.watch(loss)

    def on_train_end(self, trainer: Any, pl_module: nn.Module) -> None:
        self._end()

    def on_exception(self, trainer: Any, pl_module: nn.Module, exception: BaseException) -> None:
        self._end()


class TransformersWatch(_Callback):
    """A callback for Hugging Face: ``Trainer(…, callbacks=[TransformersWatch(every=50)])``.

    Keywords go to `Watch`, which is ``watch`` once training has begun: it warns by itself, and
    ``callback.watch.diagnosis()`` gives the last word. The model must return its loss, as "loss" or
    first, since a Trainer tells its callbacks no loss of a single step.
    """

    modules = ("transformers",)
    base = "TrainerCallback"
    install = "transformers"

    def on_train_begin(self, args: Any, state: Any, control: Any, **given) -> None:
        model = given["model"]
        self._begin(model, getattr(given.get("optimizer"), "scaler", None))
        self._loss = None
        self._handle = model.register_forward_hook(self._keep)

    def _keep(self, model, arguments, outputs):
        if model.training:
            self._loss = _loss_of(outputs)

    def on_step_end(self, args: Any, state: Any, control: Any, **given) -> None:
        if self._loss is None:
            raise ValueError("the model must return its loss, as 'loss' or first")
        self.watch(self._loss)
        self._loss = None

    def on_train_end(self, args: Any, state: Any, control: Any, **given) -> None:
        self._end()
        self._handle.remove()


def _loss_of(outputs):
    if isinstance(outputs, Mapping):
        return outputs.get("loss")
    loss = outputs[0] if isinstance(outputs, tuple) else outputs
    return loss if getattr(loss, "ndim", None) == 0 else None
