"""Lightning's own Trainer: it steps with closures, clips and accumulates by itself."""

import copy
import itertools

import lightning
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import sparsescape as ss
from helpers import bits
from sparsescape.integrations.lightning import SparsifierCallback

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*AMP with fp16 is not supported on CPU"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
]


class Module(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(0)
            self.net = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 4))

    def training_step(self, batch, index):
        x, y = batch
        return nn.functional.cross_entropy(self.net(x), y)

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.02)
        return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)]


class ByHand(Module):
    """Manual optimization with an optimizer for each layer."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch, index):
        optimizers = self.optimizers()
        for optimizer in optimizers:
            optimizer.zero_grad()
        self.manual_backward(super().training_step(batch, index))
        for optimizer in optimizers:
            optimizer.step()

    def configure_optimizers(self):
        return [torch.optim.Adam(self.net[i].parameters(), lr=0.02) for i in (0, 2)]


class Loader(DataLoader):
    """In one order, and Lightning can tell it where an epoch was left."""

    skipped = passed = 0

    def __iter__(self):
        self.passed, self.skipped = self.skipped, 0
        batches = itertools.islice(super().__iter__(), self.passed, None)
        for batch in batches:
            self.passed += 1
            yield batch

    def state_dict(self):
        return {"passed": self.passed}

    def load_state_dict(self, state):
        self.skipped = state["passed"]


def data():
    x = torch.randn(96, 12, generator=torch.Generator().manual_seed(0))
    return Loader(TensorDataset(x, (x[:, :4] + x[:, 4:8]).argmax(1)), batch_size=16)


def fit(sparsifier, module=Module, callbacks=(), ckpt_path=None, **how):
    module = module()
    callback = SparsifierCallback(sparsifier)
    settings = {"max_epochs": 2, "enable_checkpointing": False, **how}
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = lightning.Trainer(
        accelerator="cpu", callbacks=[callback, *callbacks], **quiet, **settings
    )
    trainer.fit(module, data(), ckpt_path=ckpt_path)
    return trainer, module


class Watch(lightning.Callback):
    """Looks after every batch whether the mask holds."""

    def __init__(self, sparsifier):
        self.sparsifier, self.masks = sparsifier, []

    def on_train_batch_end(self, trainer, pl_module, *_):
        self.masks.append(self.sparsifier.mask)
        self.masks[-1].check_contains(pl_module)


def rigl():
    return ss.RigL(0.75, update_every=3)


HOW = {
    "plain": ({}, 12),
    "accumulating": ({"accumulate_grad_batches": 2}, 6),
    "clipping": ({"gradient_clip_val": 0.1}, 12),
    "bf16": ({"precision": "bf16-mixed"}, 12),
    "fp16, which becomes bf16 on a CPU": ({"precision": "16-mixed"}, 12),
    "an optimizer each": ({"module": ByHand}, 12),
}


@pytest.mark.parametrize("kind", HOW)
def test_the_mask_holds_and_moves(kind):
    how, steps = HOW[kind]
    sparsifier = rigl()
    watch = Watch(sparsifier)
    fit(sparsifier, callbacks=[watch], **how)
    assert sparsifier.step == steps
    assert list(sparsifier.mask) == ["net.0.weight", "net.2.weight"]
    assert watch.masks[-1] != watch.masks[0]
    assert {mask.count for mask in watch.masks} == {64}
    assert not sparsifier._handles


def test_clipping_and_accumulation_are_those_of_a_plain_loop():
    _, module = fit(sparsifier := rigl(), accumulate_grad_batches=3, gradient_clip_val=0.1)
    plain = Module()
    (optimizer,), (schedule,) = plain.configure_optimizers()
    expected = rigl().attach(plain, optimizer)
    for _ in range(2):
        batches = list(data())
        for three in (batches[:3], batches[3:]):
            optimizer.zero_grad()
            for batch in three:
                (plain.training_step(batch, 0) / 3).backward()
            nn.utils.clip_grad_norm_(plain.parameters(), 0.1)
            optimizer.step()
        schedule.step()
    assert sparsifier.mask == expected.mask
    for one, two in zip(plain.parameters(), module.parameters(), strict=True):
        torch.testing.assert_close(one, two)


METHODS = {
    "rigl": rigl,
    "gradual": lambda: ss.GradualMagnitude(0.75, begin=1, end=11, every=2),
    "snfs": lambda: ss.SNFS(0.75, update_every=2),
    "top-kast": lambda: ss.TopKAST(0.75, update_every=4),
    "str": lambda: ss.STR(initial=-4.0),
}


@pytest.mark.parametrize("method", METHODS)
def test_a_run_resumes_bit_for_bit(tmp_path, method):
    keep = lightning.pytorch.callbacks.ModelCheckpoint(
        tmp_path, "at-{step}", save_top_k=-1, every_n_train_steps=5
    )
    whole = METHODS[method]()
    _, module = fit(whole, callbacks=[keep], enable_checkpointing=True)
    sparsifier = METHODS[method]()
    again = {"callbacks": [copy.deepcopy(keep)], "enable_checkpointing": True}
    _, resumed = fit(sparsifier, ckpt_path=tmp_path / "at-step=5.ckpt", **again)
    assert bits(resumed) == bits(module)
    assert sparsifier.mask == whole.mask
    assert sparsifier.step == whole.step == 12


def test_a_checkpoint_without_a_sparsifier_is_refused(tmp_path):
    trainer = lightning.Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(Module(), data())
    trainer.save_checkpoint(tmp_path / "dense.ckpt")
    with pytest.raises(ss.InputError, match="has no sparsifier in it"):
        fit(rigl(), ckpt_path=tmp_path / "dense.ckpt")
