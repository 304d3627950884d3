"""What has a weight of two dimensions or more, whatever module it is in."""

import copy
import pickle
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import sparsescape as ss


def old_weight_norm(module):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.utils.weight_norm(module)


class Attention(nn.Module):
    """Self-attention; ``kv`` makes keys and values narrower, each with a weight of its own."""

    def __init__(self, kv=None):
        super().__init__()
        self.attend = nn.MultiheadAttention(8, 2, kdim=kv, vdim=kv, batch_first=True)
        self.kv = kv or 8

    def forward(self, x):
        other = x[..., : self.kv]
        return self.attend(x, other, other)[0]


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.inside = nn.Embedding(10, 6)
        self.outside = nn.Linear(6, 10, bias=False)
        self.outside.weight = self.inside.weight

    def forward(self, tokens):
        return self.outside(self.inside(tokens))


MODULES = {
    "linear": (lambda: nn.Linear(6, 8), (4, 6)),
    "bilinear": (lambda: nn.Sequential(Pair(nn.Bilinear(6, 6, 4))), (4, 6)),
    "conv1d grouped": (lambda: nn.Conv1d(4, 8, 3, groups=2), (2, 4, 9)),
    "conv2d": (lambda: nn.Conv2d(3, 5, 3), (2, 3, 6, 6)),
    "conv2d depthwise": (lambda: nn.Conv2d(4, 4, 3, groups=4), (2, 4, 9, 9)),
    "conv3d": (lambda: nn.Conv3d(2, 3, 2), (2, 2, 4, 4, 4)),
    "transposed 1d": (lambda: nn.ConvTranspose1d(4, 3, 3), (2, 4, 5)),
    "transposed 2d grouped": (lambda: nn.ConvTranspose2d(4, 4, 3, groups=2), (2, 4, 5, 5)),
    "transposed 3d": (lambda: nn.ConvTranspose3d(2, 3, 2), (2, 2, 3, 3, 3)),
    "embedding": (lambda: nn.Embedding(10, 4), "tokens"),
    "embedding bag": (lambda: nn.EmbeddingBag(10, 4), "tokens"),
    "tied": (Tied, "tokens"),
    "rnn": (lambda: First(nn.RNN(4, 5, batch_first=True)), (2, 3, 4)),
    "lstm": (lambda: First(nn.LSTM(4, 5, 2, bidirectional=True)), (2, 3, 4)),
    "gru": (lambda: First(nn.GRU(4, 5)), (2, 3, 4)),
    "lstm cell": (lambda: First(nn.LSTMCell(4, 5)), (2, 4)),
    "attention": (Attention, (2, 3, 8)),
    "attention, its weights apart": (lambda: Attention(kv=4), (2, 3, 8)),
    "transformer": (lambda: nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0), (3, 2, 8)),
    "spectral norm": (lambda: parametrizations.spectral_norm(nn.Linear(6, 8)), (4, 6)),
    "weight norm": (lambda: parametrizations.weight_norm(nn.Linear(12, 8)), (4, 12)),
    "weight norm, old": (lambda: old_weight_norm(nn.Conv2d(4, 8, 3)), (2, 4, 5, 5)),
}


class First(nn.Module):
    """The first of what a recurrent module returns."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)[0]


class Pair(nn.Module):
    """Something of two inputs, given one."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x, x)


METHODS = {
    "rigl": lambda: ss.RigL(0.5, update_every=2, distribution="uniform"),
    "gradual": lambda: ss.GradualMagnitude(0.5, begin=1, end=3, every=1),
    "top-kast": lambda: ss.TopKAST(0.5, backward_sparsity=0.2, update_every=2),
}


def make(kind):
    build, shape = MODULES[kind]
    torch.manual_seed(0)
    x = torch.arange(10).reshape(2, 5) if shape == "tokens" else torch.randn(shape)
    return build(), x


def ways_to_copy(model):
    """What torch itself can do: neither copies after a step what the old weight_norm made."""
    if hasattr(model, "weight_g"):
        return []
    if hasattr(model, "parametrizations"):
        return [copy.deepcopy]
    return [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))]


def step(model, optimizer, x):
    optimizer.zero_grad()
    model(x).square().sum().backward()
    optimizer.step()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", MODULES)
def test_every_kind_of_module_is_held_and_copied(kind, method):
    model, x = make(kind)
    keys = list(model.state_dict())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    sparsifier = METHODS[method]().attach(model, optimizer)
    for _ in range(4):
        step(model, optimizer, x)
        sparsifier.mask.check_contains(model)
        assert list(model.state_dict()) == keys
        for copied in ways_to_copy(model):
            assert torch.equal(copied(model).eval()(x), model.eval()(x))
        model.train()
    assert sparsifier.mask.sparsity == pytest.approx(0.5, abs=0.05)
    assert all(p.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("kind", ["weight norm", "weight norm, old", "spectral norm"])
def test_the_weight_that_the_forward_pass_uses_is_0_outside_the_mask_and_norms_are_dense(kind):
    model, x = make(kind)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    sparsifier = METHODS["rigl"]().attach(model, optimizer)
    for _ in range(4):
        step(model, optimizer, x)
        model(x)
        (active,) = sparsifier.mask.values()
        assert not model.weight[~active].any()
        assert model.weight[active].any()
    assert len(sparsifier.mask) == 1


@pytest.mark.parametrize("how", ["warn", "raise"])
def test_a_normalized_weight_without_a_norm_is_named(how):
    model = parametrizations.weight_norm(nn.Conv2d(4, 4, 3, groups=4))
    mask = torch.ones(4, 1, 3, 3, dtype=torch.bool)
    mask[1] = False
    name = "parametrizations.weight.original1"
    sparsifier = ss.Static(mask=ss.Mask({name: mask}), on_collapse=how)
    error = ss.LayerCollapse if how == "warn" else ss.InputError
    catch = pytest.warns if how == "warn" else pytest.raises
    with catch(error, match=rf"'{name}' is normalized"):
        sparsifier.attach(model, torch.optim.SGD(model.parameters()))


def test_sparse_gradients_are_refused_before_anything_moves_unless_they_are_left_out():
    model = nn.Sequential(nn.Embedding(10, 6, sparse=True), nn.Linear(6, 4))
    before = copy.deepcopy(model.state_dict())
    optimizers = (
        torch.optim.SparseAdam(model[0].parameters()),
        torch.optim.Adam(model[1].parameters()),
    )
    with pytest.raises(ss.InputError, match=r"gradient of '0\.weight' is a sparse tensor"):
        METHODS["rigl"]().attach(model, *optimizers)
    assert all(torch.equal(before[n], t) for n, t in model.state_dict().items())
    sparsifier = ss.RigL(0.5, update_every=2, dense=["0"]).attach(model, *optimizers)
    start = sparsifier.mask
    for _ in range(4):
        model.zero_grad()
        model(torch.arange(10)).square().sum().backward()
        for optimizer in optimizers:
            optimizer.step()
        sparsifier.mask.check_contains(model)
    assert sparsifier.step == 4
    assert sparsifier.mask != start


def test_an_average_that_follows_while_the_mask_moves_can_be_masked_as_the_model_is():
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    sparsifier = METHODS["rigl"]().attach(model, optimizer)
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.5)
    )
    expected = copy.deepcopy(model.state_dict())
    for _ in range(5):
        step(model, optimizer, torch.randn(4, 6))
        average.update_parameters(model)
        first = average.n_averaged == 1
        for name, value in model.state_dict().items():
            expected[name] = value.clone() if first else 0.5 * expected[name] + 0.5 * value
    for name, value in average.module.state_dict().items():
        torch.testing.assert_close(value, expected[name])
    assert ss.Mask.of(average).density > 0.5  # it remembers weights that were dropped
    sparsifier.mask.apply_(average)
    sparsifier.mask.check_contains(average)


def test_a_saved_state_is_a_plain_models_before_during_and_after(tmp_path):
    model, x = make("transformer")
    keys = list(model.state_dict())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    sparsifier = METHODS["rigl"]()
    for doing in (lambda: sparsifier.attach(model, optimizer), sparsifier.detach):
        doing()
        step(model, optimizer, x)
        torch.save(model.state_dict(), tmp_path / "model.pt")
        loaded = torch.load(tmp_path / "model.pt")
        assert list(loaded) == keys
        plain, _ = make("transformer")
        plain.load_state_dict(loaded)
        assert torch.equal(plain.eval()(x), model.eval()(x))
        model.train()
