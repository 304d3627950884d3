"""Sparse training with Hugging Face's ``Trainer``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from ..errors import InputError
from ..masks import Mask
from ..sparsifiers.base import Sparsifier
from ..sparsifiers.shards import gathered
from ..training.checkpoints import Checkpoint

FILE = "sparsifier.safetensors"
"""What is beside the model in each of the Trainer's checkpoints."""


class SparsifierCallback(TrainerCallback):
    """Attaches a sparsifier when training begins, saves it with every checkpoint, and resumes it.

    A resumed run (``trainer.train(resume_from_checkpoint=True)``) is the same to the bit as one
    that was never stopped. When training ends the sparsifier is detached; where the Trainer then
    loads its best model, ``sparsifier.mask`` is that model's.

    Args:
        sparsifier: any sparsifier, not attached.
        resume_from: the checkpoint that is resumed from, where it is not in the Trainer's
            ``output_dir`` (callbacks are not told).

    Raises:
        InputError: training resumes and the checkpoint has no sparsifier in it, or one whose mask
            does not fit the weights.

    >>> import sparsescape as ss
    >>> callback = SparsifierCallback(ss.RigL(0.9, update_every=100, update_until=7500))
    >>> # Trainer(model, args, train_dataset=data, callbacks=[callback]).train()
    """

    def __init__(self, sparsifier: Sparsifier, resume_from: str | Path | None = None):
        self.sparsifier = sparsifier
        self.resume_from = resume_from

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: Any = None,
        optimizer: Any = None,
        **_: Any,
    ) -> None:
        saved = None
        if state.global_step > 0:
            saved = _load(Path(self.resume_from or _folder(args, state)))
            # Of truly sparse layers the state has indices; the model brought its own.
            dense = {n: a for n, a in saved["mask"].items() if a.dtype == torch.bool}
            Mask(dense).check_contains(gathered(model))
        self.sparsifier.detach()
        self.sparsifier.attach(model, optimizer)
        if saved is not None:
            self.sparsifier.load_state_dict(saved)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        kept = self.sparsifier.state_dict()  # every rank must ask, one writes
        if state.is_world_process_zero and not state.is_hyper_param_search:
            Checkpoint(_folder(args, state) / FILE).save(kept)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if args.load_best_model_at_end and state.best_model_checkpoint is not None:
            self.sparsifier.load_state_dict(_load(Path(state.best_model_checkpoint)))
        self.sparsifier.detach()


def _folder(args: TrainingArguments, state: TrainerState) -> Path:
    """Where the Trainer keeps its checkpoint of this step."""
    return Path(args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"


def _load(folder: Path) -> dict[str, Any]:
    saved = Checkpoint(folder / FILE).load()
    if saved is None:
        raise InputError(
            f"The checkpoint {str(folder)!r} has no {FILE}: it was saved without this callback, "
            "or it is not the one that is resumed from (say which by resume_from)."
        )
    return saved
