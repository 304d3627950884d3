"""Points: settings of all parameters of a model."""

import pytest
import torch
from torch import nn

import sparsescape as ss
from helpers import bits, convnet, moved, normalized, perceptron
from sparsescape import InputError
from sparsescape.points import (
    as_point,
    is_statistic,
    load_point,
    matching,
    move_to,
    named_parameters,
    named_weights,
    plain_name,
    save_point,
    snapshot,
)


def test_names_lose_what_compile_and_ddp_put_before_them():
    assert plain_name("module._orig_mod.features.module.weight") == "features.module.weight"
    assert plain_name("_orig_mod.module.0.weight") == "0.weight"
    assert plain_name("modules.0.weight") == "modules.0.weight"


def test_a_compiled_model_has_the_names_of_the_model_it_wraps():
    model = convnet()
    wrapped = torch.compile(model, backend="eager")
    assert bits(wrapped) == bits(model)
    assert list(named_parameters(wrapped)) == [n for n, _ in model.named_parameters()]


def test_a_tied_parameter_stands_once():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    assert sorted(named_parameters(model)) == ["0.bias", "0.weight", "1.bias"]


def test_weights_are_what_has_two_dimensions_or_more():
    assert list(named_weights(convnet())) == ["0.weight", "4.weight"]


def test_a_point_has_the_same_weights_as_its_model():
    assert list(named_weights(as_point(convnet()))) == ["0.weight", "4.weight"]


@pytest.mark.parametrize(
    ("patterns", "left"),
    [
        ([], ["a.0.weight", "a.1.weight", "fc.weight"]),
        (["fc"], ["a.0.weight", "a.1.weight"]),
        (["fc.weight"], ["a.0.weight", "a.1.weight"]),
        (["a"], ["fc.weight"]),
        (["*.1"], ["a.0.weight", "fc.weight"]),
        (["a.?.weight"], ["fc.weight"]),
    ],
)
def test_a_pattern_is_a_name_a_module_or_a_wildcard(patterns, left):
    layers = nn.ModuleDict(
        {"a": nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), "fc": nn.Linear(2, 2)}
    )
    assert list(named_weights(layers, dense=patterns)) == left


def test_norms_over_several_dimensions_and_biases_of_attention_are_no_weights():
    attention = nn.MultiheadAttention(8, 2, add_bias_kv=True)
    assert list(named_weights(attention)) == ["in_proj_weight", "out_proj.weight"]
    model = nn.Sequential(nn.Linear(6, 6), nn.LayerNorm([4, 6]), nn.RMSNorm([4, 6]))
    assert list(named_weights(torch.compile(model, backend="eager"))) == ["0.weight"]
    assert list(named_weights(nn.ModuleDict({"fc": model}))) == ["fc.0.weight"]


def test_a_linear_layer_that_normalizes_and_a_weight_named_like_a_bias_are_weights():
    class LinearNorm(nn.Linear):
        pass

    model = nn.Sequential(LinearNorm(4, 4))
    model.bias_table = nn.Parameter(torch.ones(3, 3))
    assert list(named_weights(model)) == ["bias_table", "0.weight"]


def test_a_child_with_the_name_of_a_wrappers_is_refused_where_that_makes_one_of_two_names():
    model = nn.ModuleDict({"module": nn.ModuleDict({"fc": nn.Linear(2, 2)}), "fc": nn.Linear(2, 2)})
    with pytest.raises(InputError, match=r"Two parameters are 'fc\.weight'.*'fc\.weight'.*another"):
        named_weights(model)


def test_a_pattern_that_matches_nothing_is_refused():
    with pytest.raises(InputError, match=r"'f' matches none of fc\.weight"):
        matching(["fc.weight"], ["f"])


def test_a_tied_weight_goes_by_its_other_name_too():
    model = nn.ModuleDict({"a": nn.Linear(3, 3), "b": nn.Linear(3, 3), "c": nn.Linear(3, 3)})
    model["c"].weight = model["a"].weight
    assert list(named_weights(model, dense=["c"])) == ["b.weight"]
    assert list(named_weights(model, dense=["b"])) == ["a.weight"]
    kept = ss.Static(sparsity=0.5, dense=["c.weight"])
    assert list(kept.attach(model, torch.optim.SGD(model.parameters(), lr=0.1)).mask) == [
        "b.weight"
    ]


@pytest.mark.parametrize(
    ("patterns", "said"),
    [
        ("fc", "a list of names, not the text 'fc'"),
        (None, "a list of names, not None"),
        (3, "a list of names, not 3"),
        ([3], "A pattern is a name, not 3"),
    ],
)
def test_what_is_no_list_of_patterns_is_refused(patterns, said):
    with pytest.raises(InputError, match=said):
        matching(["fc.weight"], patterns)
    with pytest.raises(InputError, match=said):
        ss.Static(sparsity=0.5, dense=patterns)


@pytest.mark.parametrize(
    "model", [nn.BatchNorm1d(3), nn.Sequential(), {"bias": torch.zeros(3)}, {}]
)
def test_a_model_with_nothing_to_make_sparse_is_refused(model):
    with pytest.raises(InputError, match="no parameter with two dimensions"):
        named_weights(model)


def test_a_model_whose_weights_are_all_named_dense_is_refused():
    with pytest.raises(InputError, match="no parameter with two dimensions"):
        named_weights(perceptron(), dense=["*"])


def test_statistics_are_batch_norms_buffers_and_no_parameters():
    model = normalized()
    statistics = [name for name in as_point(model) if is_statistic(name)]
    assert sorted(statistics) == sorted(n for n, _ in model.named_buffers())


def test_a_point_shares_its_storage_and_takes_no_gradient():
    model = perceptron()
    point = as_point(model)
    point["0.bias"][0] = 7.0
    assert model[0].bias[0] == 7.0
    assert not any(t.requires_grad for t in point.values())


def test_later_training_does_not_move_a_snapshot():
    model = normalized()
    before, kept = bits(model), snapshot(model)
    for tensor in as_point(model).values():
        tensor.add_(1)
    assert bits(kept) == before


def test_something_that_is_no_point_is_refused():
    with pytest.raises(InputError, match="A point is a model or a mapping"):
        as_point([1, 2])


def test_moving_a_model_sets_parameters_and_buffers_to_the_bit():
    model, other = normalized(), moved(normalized())
    move_to(model, other)
    assert bits(model) == bits(other)


def test_buffers_that_the_point_does_not_carry_stay():
    model, other = normalized(), moved(normalized())
    statistics = {n: b.clone() for n, b in model.named_buffers()}
    move_to(model, {n: p for n, p in as_point(other).items() if not is_statistic(n)})
    assert bits(dict(model.named_buffers())) == bits(statistics)
    assert bits(dict(model.named_parameters())) == bits(dict(other.named_parameters()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda point: point.pop("2.bias"), "no value for the parameter '2.bias'"),
        (lambda point: point.update(extra=torch.zeros(1)), "no parameter named 'extra'"),
        (
            lambda point: point.update({"2.weight": torch.zeros(3, 9)}),
            r"'2.weight' has shape \(3, 9\) in the point and \(3, 8\) in the model",
        ),
    ],
    ids=["missing", "unknown", "shape"],
)
def test_a_point_that_does_not_fit_is_refused_before_anything_moves(change, message):
    model = perceptron()
    before, point = bits(model), snapshot(moved(model))
    change(point)
    with pytest.raises(InputError, match=message):
        move_to(model, point)
    assert bits(model) == before


def test_a_point_on_disk_is_the_same_bits(tmp_path):
    model = normalized()
    model[0].weight.data[0, 0] = -0.0
    model[0].weight.data[0, 1] = float("nan")
    point = {**snapshot(model), "turned": model[0].weight.detach().t()}
    save_point(point, tmp_path / "point.safetensors")
    assert bits(load_point(tmp_path / "point.safetensors")) == bits(point)


def test_tensors_that_share_storage_can_be_saved(tmp_path):
    shared = torch.arange(6.0).reshape(2, 3)
    save_point({"a": shared, "b": shared[0]}, tmp_path / "point.safetensors")
    assert load_point(tmp_path / "point.safetensors")["b"].tolist() == [0, 1, 2]
