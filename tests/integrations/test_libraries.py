"""Models of timm and torchvision, and Accelerate's loop."""

import accelerate
import pytest
import timm
import torch
import torchvision
from torch import nn

import sparsescape as ss
from helpers import bits, seeded

VIT = {"image_size": 32, "patch_size": 16, "num_layers": 2, "num_heads": 2}

MODELS = {
    "timm vit": lambda: timm.create_model(
        "vit_tiny_patch16_224", img_size=32, depth=2, embed_dim=24, num_heads=2, num_classes=10
    ),
    "timm mobilenet v3": lambda: timm.create_model("mobilenetv3_small_050", num_classes=10),
    "timm convnext": lambda: timm.create_model(
        "convnext_atto", depths=(1, 1, 1, 1), dims=(8, 16, 24, 32), num_classes=10
    ),
    "resnet-18": lambda: torchvision.models.resnet18(num_classes=10),
    "mobilenet v2": lambda: torchvision.models.mobilenet_v2(width_mult=0.35, num_classes=10),
    "vit": lambda: torchvision.models.VisionTransformer(
        **VIT, hidden_dim=16, mlp_dim=32, num_classes=10
    ),
}


@pytest.mark.parametrize("kind", MODELS)
def test_rigl_with_erk_trains_it(kind):
    model = seeded(MODELS[kind])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    weights = {n: p for n, p in model.named_parameters() if p.ndim > 1}
    sparsifier = ss.RigL(0.9, update_every=1).attach(model, optimizer)
    start, total = sparsifier.mask, sum(p.numel() for p in weights.values())
    assert list(start) == list(weights)
    assert start.count == round(0.1 * total)
    densities = ss.distributions.erk(model, sparsity=0.9)
    for name, count in start.counts.items():
        assert abs(count - densities[name] * weights[name].numel()) <= 1, name
    x = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    nn.functional.cross_entropy(model(x), torch.arange(4)).backward()
    optimizer.step()
    sparsifier.mask.check_contains(model)
    assert sparsifier.mask.counts == start.counts
    assert sparsifier.mask != start


class Accelerated:
    """A loop as in Accelerate's documentation."""

    def __init__(self, **how):
        accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
        self.accelerator = accelerate.Accelerator(cpu=True, **how)
        model = seeded(lambda: nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 4)))
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)
        self.sparsifier = ss.RigL(0.75, update_every=2).attach(self.model, self.optimizer)
        self.accelerator.register_for_checkpointing(self.sparsifier)

    def train(self, steps):
        for step in steps:
            x = torch.randn(16, 6, generator=torch.Generator().manual_seed(step))
            with self.accelerator.accumulate(self.model):
                loss = nn.functional.cross_entropy(self.model(x), x[:, :4].argmax(1))
                self.accelerator.backward(loss)
                if self.accelerator.sync_gradients:
                    self.accelerator.clip_grad_norm_(self.model.parameters(), 0.5)
                self.optimizer.step()
                self.optimizer.zero_grad()
            self.sparsifier.mask.check_contains(self.model)


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_accelerate_accumulates_and_resumes_bit_for_bit(tmp_path, precision):
    how = {"gradient_accumulation_steps": 2, "mixed_precision": precision}
    whole = Accelerated(**how)
    start = whole.sparsifier.mask
    whole.train(range(6))
    assert whole.sparsifier.step == 3
    whole.accelerator.save_state(str(tmp_path))
    whole.train(range(6, 12))
    resumed = Accelerated(**how)
    resumed.accelerator.load_state(str(tmp_path))
    resumed.train(range(6, 12))
    assert resumed.sparsifier.step == whole.sparsifier.step == 6
    assert resumed.sparsifier.mask == whole.sparsifier.mask != start
    assert bits(resumed.model) == bits(whole.model)
