"""Hugging Face's own Trainer, on a tiny GPT-2 that is drawn at random."""

import shutil

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments, set_seed

import sparsescape as ss
from helpers import bits
from sparsescape.integrations.transformers import FILE, SparsifierCallback

STEPS = 6


def make_model():
    set_seed(0)
    size = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 8, "vocab_size": 20}
    return GPT2LMHeadModel(GPT2Config(**size, bos_token_id=0, eos_token_id=0))


def data():
    tokens = torch.randint(20, (64, 8), generator=torch.Generator().manual_seed(0))
    return [{"input_ids": row, "labels": row} for row in tokens]


def make_trainer(
    folder, sparsifier, callback=SparsifierCallback, steps=STEPS, judge=None, **changes
):
    settings = {
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-2,
        "max_grad_norm": 0.5,
        "save_steps": 2,
        "max_steps": steps,
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        "dataloader_pin_memory": False,
        "logging_strategy": "no",
        **changes,
    }
    callbacks = [] if sparsifier is None else [callback(sparsifier)]
    args = TrainingArguments(output_dir=str(folder), **settings)
    return Trainer(
        make_model(), args, train_dataset=data(), eval_dataset=judge, callbacks=callbacks
    )


def rigl():
    return ss.RigL(0.8, update_every=2, dense=["transformer.wpe"])


class Watching(SparsifierCallback):
    """Looks after every step whether the mask holds."""

    def on_optimizer_step(self, args, state, control, model=None, **_):
        self.sparsifier.mask.check_contains(model)
        self.seen = getattr(self, "seen", 0) + 1


@pytest.mark.parametrize("how", [{}, {"gradient_accumulation_steps": 2}, {"bf16": True}])
def test_the_mask_holds_and_moves(tmp_path, how):
    sparsifier = rigl()
    trainer = make_trainer(tmp_path, sparsifier, Watching, save_strategy="no", **how)
    start = ss.Static(sparsity=0.8, distribution="erk", dense=["transformer.wpe"])
    expected = start.attach(model := make_model(), torch.optim.SGD(model.parameters())).mask
    trainer.train()
    (callback,) = (c for c in trainer.callback_handler.callbacks if isinstance(c, Watching))
    assert callback.seen == sparsifier.step == STEPS
    sparsifier.mask.check_contains(trainer.model)
    assert sparsifier.mask.counts == expected.counts
    assert sparsifier.mask != expected
    assert "lm_head.weight" not in sparsifier.mask  # tied to the embedding, which is in it
    assert not sparsifier._handles


METHODS = {
    "rigl": rigl,
    "gradual": lambda: ss.GradualMagnitude(0.8, begin=1, end=5, every=1),
    "top-kast": lambda: ss.TopKAST(0.8, update_every=3),
    "str": lambda: ss.STR(initial=-4.0),
}


@pytest.mark.parametrize("method", METHODS)
def test_a_run_resumes_bit_for_bit(tmp_path, method):
    whole = make_trainer(tmp_path, METHODS[method](), save_steps=3)
    whole.train()
    sparsifier = METHODS[method]()
    resumed = make_trainer(tmp_path, sparsifier, save_strategy="no")
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    assert bits(resumed.model) == bits(whole.model)
    assert sparsifier.step == STEPS
    assert list(resumed.model.state_dict()) == list(make_model().state_dict())


def test_resuming_from_elsewhere_is_refused_until_one_says_where(tmp_path):
    make_trainer(tmp_path / "one", rigl(), steps=2).train()
    shutil.move(tmp_path / "one" / "checkpoint-2", tmp_path / "kept")
    trainer = make_trainer(tmp_path / "two", rigl(), save_strategy="no")
    with pytest.raises(ss.InputError, match="it is not the one that is resumed from"):
        trainer.train(resume_from_checkpoint=str(tmp_path / "kept"))
    (callback,) = (
        c for c in trainer.callback_handler.callbacks if isinstance(c, SparsifierCallback)
    )
    callback.resume_from = tmp_path / "kept"
    trainer.train(resume_from_checkpoint=str(tmp_path / "kept"))
    assert callback.sparsifier.step == STEPS


def test_a_checkpoint_of_other_weights_is_refused(tmp_path):
    make_trainer(tmp_path / "one", rigl(), steps=2).train()
    make_trainer(tmp_path / "two", None, steps=2).train()
    shutil.copy(tmp_path / "one" / "checkpoint-2" / FILE, tmp_path / "two" / "checkpoint-2")
    trainer = make_trainer(tmp_path / "two", rigl())
    with pytest.raises(ss.InputError, match="outside the subspace"):
        trainer.train(resume_from_checkpoint=True)


def test_where_the_best_model_is_loaded_at_the_end_the_mask_is_its_own(tmp_path):
    sparsifier = ss.SET(0.8, update_every=1)
    how = {"eval_strategy": "steps", "eval_steps": 2, "load_best_model_at_end": True}
    worst = {"metric_for_best_model": "loss", "greater_is_better": True}  # the earliest
    trainer = make_trainer(tmp_path, sparsifier, steps=4, judge=data()[:32], **how, **worst)
    trainer.train()
    assert trainer.state.best_model_checkpoint.endswith("checkpoint-2")
    assert sparsifier.step == 2
    sparsifier.mask.check_contains(trainer.model)
