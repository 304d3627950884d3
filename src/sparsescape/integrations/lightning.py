"""Sparse training with Lightning's ``Trainer``."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from ..errors import InputError
from ..sparsifiers.base import Sparsifier


class SparsifierCallback(Callback):
    """Attaches a sparsifier when training starts; its state is part of Lightning's checkpoints.

    A resumed run (``trainer.fit(model, ckpt_path=...)``) is the same to the bit as one that was
    never stopped. When training ends the sparsifier is detached.

    Args:
        sparsifier: any sparsifier, not attached. Weights are called by their names in the
            LightningModule.

    Raises:
        InputError: training resumes from a checkpoint that has no sparsifier in it.

    >>> import sparsescape as ss
    >>> callback = SparsifierCallback(ss.RigL(0.9, update_every=100, update_until=7500))
    >>> # lightning.Trainer(callbacks=[callback]).fit(module, data)
    """

    def __init__(self, sparsifier: Sparsifier):
        self.sparsifier = sparsifier
        self._started = False
        self._saved: dict[str, Any] | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.ckpt_path is not None and self._saved is None:
            raise InputError(
                f"The checkpoint {str(trainer.ckpt_path)!r} has no sparsifier in it: it was saved "
                "without this callback."
            )
        self.sparsifier.detach()
        self.sparsifier.attach(pl_module, *trainer.optimizers)
        self._started = True
        if self._saved is not None:
            self.sparsifier.load_state_dict(self._saved)
            self._saved = None

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.sparsifier.detach()

    def state_dict(self) -> dict[str, Any]:
        return self.sparsifier.state_dict() if self._started else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._saved = state_dict
