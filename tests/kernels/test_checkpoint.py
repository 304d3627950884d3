"""Sparse checkpoints and exports."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from test_convert import X, make_model
from torch import nn

import sparsescape as ss
from sparsescape.kernels.checkpoint import _FORMAT, _shapes


def make_sparse() -> nn.Module:
    model = make_model()
    ss.Mask.from_scores(
        ss.scores.magnitude(model), densities=ss.distributions.uniform(model, sparsity=0.9)
    ).apply_(model)
    return ss.to_sparse(model, dense=["10"]).eval()


def test_six_bytes_a_value(tmp_path):
    model = nn.Sequential(
        ss.SparseLinear.random(3000, 1000, False, sparsity=0.95),
        ss.SparseConv2d.random(64, 64, 3, bias=False, sparsity=0.95),
    )
    ss.save_sparse(model, tmp_path / "model.safetensors")
    size = (tmp_path / "model.safetensors").stat().st_size
    assert size < 6 * sum(p.numel() for p in model.parameters()) + 1000


@pytest.mark.parametrize("target", ["dense", "sparse", "without memory"])
def test_loading_gives_the_same_model(tmp_path, target):
    model = make_sparse()
    ss.save_sparse(model, tmp_path / "model.safetensors")
    if target == "without memory":
        with torch.device("meta"):
            twin = make_model()
    else:
        twin = make_model() if target == "dense" else make_sparse()
        optimizer = torch.optim.SGD(twin[10].parameters(), 0.1)
        assert optimizer
    assert ss.load_sparse(twin, tmp_path / "model.safetensors") is twin
    assert torch.equal(twin.eval()(X), model(X))
    assert type(twin[7]) is ss.SparseLinear
    assert not any(t.is_meta for t in twin.state_dict().values())


@pytest.mark.parametrize("saved", [True, False])
@pytest.mark.parametrize("loaded", [True, False])
def test_a_compiled_model_has_the_file_of_a_plain_one(saved, loaded, tmp_path):
    first, second = (ss.SparseLinear.random(8, 8, sparsity=0.5, seed=seed) for seed in (0, 1))
    models = [nn.Sequential(layer, nn.ReLU()) for layer in (first, second)]
    given, taken = (
        torch.compile(model, backend="eager") if compiled else model
        for model, compiled in zip(models, (saved, loaded), strict=True)
    )
    ss.save_sparse(given, tmp_path / "model.safetensors")
    assert ss.load_sparse(taken, tmp_path / "model.safetensors") is taken
    assert torch.equal(second.dense_weight(), first.dense_weight())


def test_far_steps_and_ties(tmp_path):
    layers = nn.Sequential(
        ss.SparseLinear(300, 2000, positions=torch.tensor([5, 70_000, 70_001, 65_536 * 9 - 1])),
        ss.SparseLinear(300, 2000, positions=torch.tensor([], dtype=torch.int64)),
    )
    layers.append(ss.SparseLinear(300, 2000, positions=layers[0].pattern.flat()))
    layers[2].weight = layers[0].weight
    ss.save_sparse(layers, tmp_path / "model.safetensors")
    twin = nn.Sequential(*(nn.Linear(300, 2000) for _ in range(3)))
    twin[2].weight = twin[0].weight
    ss.load_sparse(twin, tmp_path / "model.safetensors")
    assert twin[0].weight is twin[2].weight
    for one, other in zip(twin, layers, strict=True):
        assert torch.equal(one.pattern.flat(), other.pattern.flat())
        assert torch.equal(one.weight, other.weight)


def test_what_does_not_fit_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    ss.save_sparse(make_sparse(), path)
    with pytest.raises(ss.InputError, match=r"'0.weight'"):
        ss.load_sparse(nn.Sequential(nn.Linear(3, 3)), path)
    with pytest.raises(ss.InputError, match="not in the checkpoint"):
        ss.load_sparse(make_model().append(nn.Linear(3, 3)), path)
    other = make_model()
    other[1] = nn.BatchNorm2d(7).double()
    before = [type(module) for module in other.modules()]
    with pytest.raises(ss.InputError, match=r"'1.bias' is \(6,\) in the checkpoint and \(7,\)"):
        ss.load_sparse(other, path)
    assert [type(module) for module in other.modules()] == before
    ss.Mask({"w": torch.ones(2, 2, dtype=torch.bool)}).save(path)
    with pytest.raises(ss.InputError, match="not a sparse checkpoint"):
        ss.load_sparse(make_model(), path)
    path.write_text("nothing")
    with pytest.raises(ss.InputError, match="not a sparse checkpoint"):
        ss.load_sparse(make_model(), path)


def test_a_weight_that_is_computed_and_a_damaged_file_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    ss.save_sparse(nn.Sequential(ss.SparseLinear.random(8, 8, sparsity=0.5)), path)
    computed = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(8, 8)))
    with pytest.raises(ss.InputError, match="no parameter of its own"):
        ss.load_sparse(computed, path)
    state = load_file(path)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    del state["0.weight.far"]
    save_file(state, path, metadata=metadata)
    with pytest.raises(ss.InputError, match=r"has no '0\.weight\.far'"):
        ss.load_sparse(nn.Sequential(nn.Linear(8, 8)), path)


@pytest.mark.parametrize(
    ("shapes", "parts"),
    [
        ("{", {}),
        ("[1]", {}),
        ('{"0.weight": 3}', {}),
        (None, {"far": torch.tensor([10**6]), "turns": torch.tensor([1])}),
        (None, {"far": torch.tensor([1]), "turns": torch.tensor([1, 2])}),
        (None, {"far": torch.tensor([1.0]), "turns": torch.tensor([1])}),
        (None, {"gaps": torch.ones(1, 32, dtype=torch.int16)}),
        (None, {"": torch.ones(32, dtype=torch.int32)}),
    ],
)
def test_a_file_with_damaged_parts_is_refused_and_changes_nothing(shapes, parts, tmp_path):
    path = tmp_path / "model.safetensors"
    ss.save_sparse(nn.Sequential(ss.SparseLinear.random(8, 8, sparsity=0.5)), path)
    state = load_file(path) | {f"0.weight.{n}".rstrip("."): part for n, part in parts.items()}
    save_file(state, path, metadata={_FORMAT: shapes or json.dumps({"0.weight": [8, 8]})})
    model = nn.Sequential(nn.Linear(8, 8))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ss.InputError, match="is damaged"):
        ss.load_sparse(model, path)
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in before)


@pytest.mark.parametrize("count", [40, 30])
def test_an_optimizer_goes_on_with_a_sparse_layer_that_is_loaded(count, tmp_path):
    path, saved = tmp_path / "model.safetensors", ss.SparseLinear.random(20, 10, sparsity=0.8)
    ss.save_sparse(saved, path)
    layer = ss.SparseLinear.random(20, 10, sparsity=1 - count / 200, seed=1)
    optimizer = torch.optim.SGD(layer.parameters(), 0.1)
    loss = layer(torch.ones(3, 20)).sum()  # which a loop still holds
    loss.backward()
    ss.load_sparse(layer, path)
    assert layer.weight.grad is None
    assert torch.equal(layer.weight, saved.weight)
    layer(torch.ones(3, 20)).sum().backward()
    optimizer.step()
    assert torch.allclose(layer.weight, saved.weight - 0.3)


def test_what_is_no_file_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ss.InputError, match="There is no file"):
            ss.load_sparse(nn.Linear(8, 8), path)


def test_csr_of_torch_and_scipy():
    model = make_sparse()
    dense = {n: model.get_submodule(n[:-7]).dense_weight() for n in ss.export.torch_csr(model)}
    assert list(dense) == ["0.weight", "4.weight", "7.weight"]
    for name, weight in dense.items():
        matrix = weight.detach().flatten(1)
        assert torch.equal(ss.export.torch_csr(model)[name].to_dense(), matrix)
        scipy = ss.export.scipy_csr(model)[name]
        scipy.check_format()
        assert np.array_equal(scipy.toarray(), matrix.numpy())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_scipy_takes_half_precision_as_float32(dtype):
    layer = ss.SparseLinear.random(9, 7, sparsity=0.5).to(dtype)
    found = ss.export.scipy_csr(layer)["weight"].toarray()
    assert found.dtype == np.float32
    assert np.array_equal(found, layer.dense_weight().detach().float().numpy())


def test_onnx_runs_in_onnxruntime(tmp_path):
    model = make_sparse().float()
    ss.export.onnx(model, tmp_path / "model.onnx", X.float())
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (found,) = session.run(None, {session.get_inputs()[0].name: X.float().numpy()})
    torch.testing.assert_close(torch.from_numpy(found), model(X.float()).detach())
    assert type(model[7]) is ss.SparseLinear


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = ss.SparseConv2d.random(2, 4, 3, padding="same", dilation=2, sparsity=0.5)
        self.b = nn.Conv2d(4, 4, (2, 4), padding="same")
        self.c = nn.AdaptiveAvgPool2d(2)  # exported where the size is known
        self.d = ss.SparseConv2d.random(4, 4, (2, 4), padding="same", dilation=(3, 1), sparsity=0.5)

    def forward(self, x, scale):
        x = self.b(self.a(x))
        return self.c(x).sum() * self.d(x) * scale


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_padding_in_words_and_inputs_by_name_are_exported(tmp_path):
    model, inputs = Named(), {"x": torch.randn(3, 2, 8, 6), "scale": torch.tensor(2.0)}
    ss.export.onnx(model, tmp_path / "model.onnx", inputs)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    names = [given.name for given in session.get_inputs()]
    fed = {name: x.numpy() for name, x in zip(names, inputs.values(), strict=True)}
    (found,) = session.run(None, fed)
    torch.testing.assert_close(torch.from_numpy(found), model(**inputs).detach())


def test_what_cannot_be_exported_is_refused_and_writes_nothing(tmp_path):
    path = tmp_path / "model.onnx"
    for example in (torch.randn(2, 2), 3):
        with pytest.raises(ss.InputError, match="xample inputs"):
            ss.export.onnx(make_sparse(), path, example)
    with pytest.raises(ss.InputError, match="no folder"):
        ss.export.onnx(make_sparse(), tmp_path / "nowhere" / "model.onnx", X)
    assert not path.exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_semi_structured_is_skipped_with_a_reason():
    reasons = ss.export.semi_structured(make_sparse())
    assert list(reasons) == ["7.weight", "10.weight"]
    assert all("NVIDIA" in reason for reason in reasons.values())


def test_buffers_that_share_their_memory_are_saved(tmp_path):
    def made():
        model = nn.Sequential(ss.SparseLinear.random(8, 8, sparsity=0.5))
        for name, start in (("all", 0), ("same", 0), ("end", 2)):
            model.register_buffer(name, torch.arange(5.0)[start:])
        model.same = model.all
        model.end = model.all[2:]
        return model

    ss.save_sparse(made(), tmp_path / "model.safetensors")
    twin = made()
    twin.all.zero_()
    ss.load_sparse(twin, tmp_path / "model.safetensors")
    assert twin.all.tolist() == [0, 1, 2, 3, 4]
    assert twin.end.tolist() == [2, 3, 4]


def test_a_file_stays_until_the_next_one_is_whole(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    ss.save_sparse(make_sparse(), path)
    before = path.read_bytes()

    def interrupted(tensors, filename, metadata):
        Path(filename).write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", interrupted)
    with pytest.raises(OSError, match="No space"):
        ss.save_sparse(make_sparse(), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_to_a_file_stays_one(tmp_path):
    file, link = tmp_path / "model.safetensors", tmp_path / "newest.safetensors"
    ss.save_sparse(make_sparse(), file)
    link.symlink_to(file.name)
    changed = make_sparse().requires_grad_(False)
    changed[7].weight.fill_(3.0)
    ss.save_sparse(changed, link)
    assert link.is_symlink()
    assert load_file(file)["7.weight"].eq(3).all()


def test_where_there_is_no_folder_nothing_is_written(tmp_path):
    model = ss.SparseLinear.random(8, 4, sparsity=0.5)
    with pytest.raises(ss.InputError, match=r"There is no folder '.*nowhere' to write to"):
        ss.save_sparse(model, tmp_path / "nowhere" / "model.safetensors")
    with pytest.raises(ss.InputError, match="is a folder"):
        ss.save_sparse(model, tmp_path)


def test_values_that_are_fewer_than_their_positions_are_refused_and_change_nothing(tmp_path):
    path, layer = tmp_path / "model.safetensors", ss.SparseLinear.random(20, 10, sparsity=0.8)
    ss.save_sparse(layer, path)
    state, shapes = load_file(path), _shapes(path)
    state["weight"] = state["weight"][:-3].clone()
    save_file(state, path, metadata={_FORMAT: json.dumps(shapes)})
    model = nn.Linear(20, 10)
    with pytest.raises(ss.InputError, match=r"values \(37,\) of torch.float32 at 40 positions"):
        ss.load_sparse(model, path)
    assert type(model) is nn.Linear


@pytest.mark.parametrize("is_sparse", [False, True])
def test_what_a_sparsifier_is_attached_to_is_not_loaded_into(is_sparse, tmp_path):
    """It would go on holding weights that the model has no more."""
    path, layer = tmp_path / "model.safetensors", ss.SparseLinear.random(20, 10, sparsity=0.8)
    ss.save_sparse(layer, path)
    model = layer if is_sparse else nn.Linear(20, 10)
    ss.SET(0.8).attach(model, torch.optim.SGD(model.parameters(), lr=0.1))
    weight = model.weight
    with pytest.raises(ss.InputError, match="detach its sparsifier first"):
        ss.load_sparse(model, path)
    assert model.weight is weight
