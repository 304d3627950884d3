"""The mean loss over a data set: its value, its derivatives, and what it leaves alone."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call
from torch.utils.data import DataLoader, TensorDataset

from helpers import (
    bits,
    classes,
    condition,
    draw,
    moved,
    normalized,
    perceptron,
    seeded,
    tensor_bits,
)
from sparsescape import InputError, Objective
from sparsescape.points import as_point, is_statistic, snapshot

DOUBLE = torch.float64
MODES = ("recompute", "stored", "batch")
COUNT = 13


@pytest.fixture
def data():
    return draw(COUNT, 6, seed=3, dtype=DOUBLE), classes(COUNT, 3)


def loader(data, batch_size=4, **options):
    return DataLoader(TensorDataset(*data), batch_size=batch_size, **options)


def one_by_one(model, data):
    """The mean loss and accuracy, example by example, from the definition."""
    losses, hits = [], 0
    for x, y in zip(*data, strict=True):
        log_probabilities = model(x[None])[0].log_softmax(0)
        losses.append(-log_probabilities[y].item())
        hits += int(log_probabilities.argmax() == y)
    return sum(losses) / len(losses), hits / len(losses)


def reference_loss(model, data, norm_training):
    """The loss of a fresh copy, BatchNorm in the mode that is asked for, the rest in eval."""
    model = copy.deepcopy(model).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.training = norm_training
    with torch.no_grad():
        return F.cross_entropy(model(data[0]), data[1])


# ---------------------------------------------------------------------- values


@pytest.mark.parametrize("batch_size", [1, 4, 5, 12, 13, 100])
def test_the_loss_is_the_mean_over_all_examples_however_they_are_batched(data, batch_size):
    """13 examples in batches of 4, 5 or 12 leave an uneven last batch."""
    model = perceptron(DOUBLE)
    found = Objective(model, data, batch_size=batch_size).evaluate(model)
    loss, accuracy = one_by_one(model, data)
    assert found.loss == pytest.approx(loss, rel=1e-12)
    assert found.accuracy == pytest.approx(accuracy)
    assert found.count == COUNT


@pytest.mark.parametrize("batch_size", [4, 5, 13])
def test_a_data_loader_is_the_same_as_its_tensors(data, batch_size):
    model = perceptron(DOUBLE)
    in_memory = Objective(model, data, batch_size=batch_size).evaluate(model)
    assert Objective(model, loader(data, batch_size)).evaluate(model) == in_memory
    pairs = list(loader(data, batch_size))
    assert Objective(model, pairs).evaluate(model) == in_memory


def test_the_tensors_of_a_data_loader_are_gathered(data):
    inputs, targets = Objective(perceptron(DOUBLE), loader(data)).tensors()
    assert torch.equal(inputs, data[0])
    assert torch.equal(targets, data[1])


def test_the_loss_is_that_of_the_point_and_not_of_the_model(data):
    model, other = perceptron(DOUBLE), moved(perceptron(DOUBLE))
    objective = Objective(model, data)
    expected, _ = one_by_one(other, data)
    assert objective(other) == objective(snapshot(other)) == pytest.approx(expected, rel=1e-12)


def test_later_training_of_the_model_does_not_change_the_objective(data):
    model = perceptron(DOUBLE)
    objective, point = Objective(model, data), snapshot(model)
    before = objective(point)
    with torch.no_grad():
        model[0].weight.zero_()
    assert objective(point) == before


def test_weight_decay_is_half_the_squared_norm_of_all_parameters(data):
    model = perceptron(DOUBLE)
    squares = sum((p**2).sum().item() for p in model.parameters())
    plain = Objective(model, data)(model)
    assert Objective(model, data, weight_decay=0.3)(model) == pytest.approx(
        plain + 0.15 * squares, rel=1e-12
    )


def test_weight_decay_leaves_batch_norms_statistics_out(data):
    model = normalized(DOUBLE)
    squares = sum((p**2).sum().item() for p in model.parameters())
    plain, decayed = (
        Objective(model, data, batch_norm="stored", weight_decay=w)(model) for w in (0.0, 0.3)
    )
    assert decayed == pytest.approx(plain + 0.15 * squares, rel=1e-12)


def test_a_batchs_loss_is_the_mean_over_the_batch_with_weight_decay(data):
    model = perceptron(DOUBLE)
    batch = data[0][:4], data[1][:4]
    found = Objective(model, data, weight_decay=0.3).batch_loss(as_point(model), batch)
    assert found.item() == pytest.approx(Objective(model, batch, weight_decay=0.3)(model))


def test_regression_has_no_accuracy():
    model = nn.Linear(2, 1)
    found = Objective(model, (torch.eye(2), torch.zeros(2, 1)), F.mse_loss).evaluate(model)
    assert found.accuracy is None


def test_accuracy_counts_pixels_where_targets_are_images():
    """One example of 2×2 pixels, three of which are right."""
    scores = torch.tensor([[[[0.0, 1.0], [1.0, 1.0]], [[1.0, 0.0], [0.0, 0.0]]]])
    targets = torch.tensor([[[1, 0], [0, 1]]])
    model = nn.Conv2d(2, 2, 1, bias=False)
    point = {"weight": torch.eye(2).reshape(2, 2, 1, 1)}
    assert Objective(model, (scores, targets)).evaluate(point).accuracy == 0.75


# ---------------------------------------------------------------------- derivatives


def flat(point, names):
    return torch.cat([point[name].reshape(-1) for name in names])


def full_derivatives(model, data, weight_decay=0.0):
    """The whole gradient and Hessian of the mean loss, by autograd over one flat vector."""
    point = snapshot(model)
    names = [n for n, _ in model.named_parameters()]
    sizes = [point[n].numel() for n in names]

    def loss(vector):
        parts = vector.split(sizes)
        shaped = {n: p.view_as(point[n]) for n, p in zip(names, parts, strict=True)}
        outputs = functional_call(model, shaped, (data[0],))
        return F.cross_entropy(outputs, data[1]) + weight_decay / 2 * vector.square().sum()

    vector = flat(point, names).requires_grad_()
    (gradient,) = torch.autograd.grad(loss(vector), vector)
    return names, gradient, torch.autograd.functional.hessian(loss, vector.detach())


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
@pytest.mark.parametrize("batch_size", [5, 100])
def test_gradient_and_hessian_are_those_of_the_whole_data_set(data, batch_size, weight_decay):
    model = moved(perceptron(DOUBLE), by=0.1)
    names, gradient, hessian = full_derivatives(model, data, weight_decay)
    objective = Objective(model, data, batch_size=batch_size, weight_decay=weight_decay)
    assert torch.allclose(flat(objective.gradient(model), names), gradient, rtol=0, atol=1e-12)
    for seed in range(3):
        vector = {n: draw(*p.shape, seed=seed, dtype=DOUBLE) for n, p in as_point(model).items()}
        product = flat(objective.hessian_vector_product(model, vector), names)
        assert torch.allclose(product, hessian @ flat(vector, names), rtol=0, atol=1e-12)


def test_every_column_of_the_hessian_is_a_product_with_a_unit_vector(data):
    model = nn.Linear(6, 3, bias=False).to(DOUBLE)
    names, _, hessian = full_derivatives(model, data)
    objective = Objective(model, data, batch_size=5)
    units = torch.eye(18, dtype=DOUBLE).reshape(18, 3, 6)
    products = [objective.hessian_vector_product(model, {"weight": u}) for u in units]
    columns = torch.stack([flat(p, names) for p in products], dim=1)
    assert torch.allclose(columns, hessian, rtol=0, atol=1e-12)


def test_a_linear_function_has_no_curvature_but_its_weight_decays():
    model = nn.Linear(2, 1)
    data = torch.eye(2), torch.zeros(2, 1)
    objective = Objective(model, data, lambda out, _: out.mean(), weight_decay=0.5)
    vector = {"weight": torch.tensor([[2.0, 4.0]]), "bias": torch.ones(1)}
    product = objective.hessian_vector_product(model, vector)
    assert {n: t.tolist() for n, t in product.items()} == {"weight": [[1.0, 2.0]], "bias": [0.5]}


@pytest.mark.parametrize("mode", ["stored", "batch"])
def test_the_gradient_with_batch_norm_is_the_slope_of_the_objective(data, mode):
    """Central differences; the whole data set is one batch."""
    model = moved(normalized(DOUBLE), by=0.1)
    objective, point = Objective(model, data, batch_norm=mode), snapshot(model)
    gradient = objective.gradient(point)
    for seed in range(3):
        along = {n: draw(*g.shape, seed=seed, dtype=DOUBLE) for n, g in gradient.items()}
        ahead, behind = (
            objective({**point, **{n: point[n] + h * v for n, v in along.items()}})
            for h in (1e-5, -1e-5)
        )
        slope = sum((gradient[n] * v).sum().item() for n, v in along.items())
        assert slope == pytest.approx((ahead - behind) / 2e-5, rel=1e-6, abs=1e-9)


def test_the_gradient_with_recomputed_statistics_holds_them_fixed(data):
    model = moved(normalized(DOUBLE), by=0.1)
    recomputed = Objective(model, data).gradient(model)
    frozen = with_statistics_of(model, data)
    assert_close(recomputed, Objective(frozen, data, batch_norm="stored").gradient(frozen))


def test_what_no_output_depends_on_has_no_gradient(data):
    model = perceptron(DOUBLE)
    model.register_parameter("idle", nn.Parameter(torch.ones(2, 2, dtype=DOUBLE)))
    vector = {n: torch.ones_like(p) for n, p in as_point(model).items()}
    objective = Objective(model, data)
    assert objective.gradient(model)["idle"].count_nonzero() == 0
    assert objective.hessian_vector_product(model, vector)["idle"].count_nonzero() == 0


# ---------------------------------------------------------------------- BatchNorm


def assert_close(found, expected):
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        assert torch.allclose(tensor, expected[name], rtol=0, atol=1e-12), name


def with_statistics_of(model, data):
    """A copy with mean and (unbiased) variance of what comes into its BatchNorm, by hand."""
    model = copy.deepcopy(model).eval()
    with torch.no_grad():
        hidden = model[0](data[0])
        model[1].running_mean.copy_(hidden.sum(0) / len(hidden))
        centered = hidden - model[1].running_mean
        model[1].running_var.copy_(centered.square().sum(0) / (len(hidden) - 1))
    return model


def test_stored_is_to_the_bit_the_models_loss_in_eval_mode(data):
    model = normalized(DOUBLE).train()
    found = Objective(model, data, batch_norm="stored")(model)
    assert found == reference_loss(model, data, norm_training=False).item()


def test_stored_takes_the_points_statistics_where_it_has_them_and_else_the_models(data):
    model, other = normalized(DOUBLE), moved(normalized(DOUBLE))
    objective = Objective(model, data, batch_norm="stored")
    without = {n: t for n, t in as_point(other).items() if not is_statistic(n)}
    mixed = copy.deepcopy(other)
    mixed.load_state_dict(dict(model.named_buffers()), strict=False)
    assert objective(other) == reference_loss(other, data, norm_training=False).item()
    assert objective(without) == reference_loss(mixed, data, norm_training=False).item()


def test_batch_is_the_models_loss_with_batch_norm_in_training_mode(data):
    model = normalized(DOUBLE).eval()
    found = Objective(model, data, batch_norm="batch")(model)
    assert found == reference_loss(model, data, norm_training=True).item()


def test_batch_takes_the_statistics_of_every_batch_alone(data):
    model = normalized(DOUBLE)
    pairs = list(loader(data, 5))
    losses = [reference_loss(model, pair, norm_training=True).item() for pair in pairs]
    expected = sum(x * len(y) for x, (_, y) in zip(losses, pairs, strict=True)) / COUNT
    assert Objective(model, pairs, batch_norm="batch")(model) == pytest.approx(expected)


def test_recompute_is_the_loss_under_statistics_worked_out_by_hand(data):
    model = moved(normalized(DOUBLE))
    expected = reference_loss(with_statistics_of(model, data), data, norm_training=False).item()
    assert Objective(model, data)(model) == pytest.approx(expected, rel=1e-12)


def test_recompute_weighs_every_example_the_same(data):
    """Garipov et al.'s bn_update: the mean of the batches' statistics, by number of examples."""
    model = normalized(DOUBLE)
    pairs = list(loader(data, 5))
    parts = [with_statistics_of(model, pair)[1] for pair in pairs]
    shares = [len(y) / COUNT for _, y in pairs]
    averaged = copy.deepcopy(model)
    averaged[1].running_mean = sum(s * p.running_mean for s, p in zip(shares, parts, strict=True))
    averaged[1].running_var = sum(s * p.running_var for s, p in zip(shares, parts, strict=True))
    expected = reference_loss(averaged, data, norm_training=False).item()
    assert Objective(model, pairs)(model) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("batch_size", [4, 6, 12])
def test_a_single_example_left_over_is_no_error(data, mode, batch_size):
    """13 = 3·4 + 1 = 2·6 + 1 = 12 + 1, and one example alone has no variance."""
    model = normalized(DOUBLE)
    found = Objective(model, data, batch_norm=mode, batch_size=batch_size).evaluate(model)
    assert found.count == COUNT
    assert math.isfinite(found.loss)


def test_recompute_and_batch_do_not_hang_on_the_points_statistics(data):
    model = normalized(DOUBLE)
    other = copy.deepcopy(model)
    other[1].running_mean.add_(3)
    for mode in ("recompute", "batch"):
        objective = Objective(model, data, batch_norm=mode)
        assert objective(model) == objective(other)


@pytest.mark.parametrize("mode", MODES)
def test_a_model_without_batch_norm_is_the_same_in_every_mode(data, mode):
    model = perceptron(DOUBLE)
    expected = reference_loss(model, data, norm_training=False).item()
    assert Objective(model, data, batch_norm=mode)(model) == expected


@pytest.mark.parametrize("mode", MODES)
def test_asking_twice_gives_the_same_bits_whatever_was_asked_between(data, mode):
    model = normalized(DOUBLE)
    objective = Objective(model, data, batch_norm=mode, batch_size=5)
    first = objective(model)
    objective(moved(model))
    objective.gradient(moved(model))
    objective.batch_loss(as_point(moved(model)), data)
    assert objective(model) == first


@pytest.mark.parametrize("mode", MODES)
def test_a_batchs_loss_normalizes_as_training_does_unless_stored(data, mode):
    model = normalized(DOUBLE)
    found = Objective(model, data, batch_norm=mode).batch_loss(as_point(model), data)
    expected = reference_loss(model, data, norm_training=mode != "stored")
    assert tensor_bits(found) == tensor_bits(expected)


def test_dropout_is_off(data):
    model = seeded(lambda: nn.Sequential(nn.Dropout(0.9), nn.Linear(6, 3))).to(DOUBLE).train()
    objective = Objective(model, data)
    expected = F.cross_entropy(model[1](data[0]), data[1]).item()
    assert objective(model) == expected
    assert objective.batch_loss(as_point(model), data).item() == expected


# ---------------------------------------------------------------------- what is left alone


def use(objective, model):
    point = as_point(model)
    parameters = {n: p for n, p in point.items() if not is_statistic(n)}
    objective(model)
    objective.evaluate(point)
    objective.gradient(point)
    objective.hessian_vector_product(point, {n: torch.ones_like(p) for n, p in parameters.items()})
    objective.batch_loss({n: p.requires_grad_() for n, p in parameters.items()}, objective.data)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_bit_for_bit_as_it_was(data, mode, training):
    model = normalized(DOUBLE).train(training)
    model[2].train(not training)
    F.cross_entropy(model(data[0]), data[1]).backward()
    model[3].bias.requires_grad_(False)
    before = condition(model)
    use(Objective(model, data, batch_norm=mode), model)
    assert condition(model) == before


@pytest.mark.parametrize("shuffle", [True, False])
def test_going_through_a_data_loader_leaves_torchs_random_state(data, shuffle):
    model = perceptron(DOUBLE)
    objective = Objective(model, loader(data, shuffle=shuffle))
    before = condition(model)
    objective(model)
    objective.gradient(model)
    objective.tensors()
    assert condition(model) == before


def test_the_point_is_bit_for_bit_as_it_was(data):
    for mode in MODES:
        point = snapshot(normalized(DOUBLE))
        before = bits(point)
        objective = Objective(normalized(DOUBLE), data, batch_norm=mode)
        objective(point)
        objective.gradient(point)
        assert bits(point) == before


# ---------------------------------------------------------------------- what is refused


def test_a_data_set_that_is_empty_is_refused(data):
    model = perceptron(DOUBLE)
    with pytest.raises(InputError, match="The data set is empty"):
        Objective(model, (data[0][:0], data[1][:0]))
    empty = Objective(model, [])
    with pytest.raises(InputError, match="The data set is empty"):
        empty(model)
    with pytest.raises(InputError, match="The data set is empty"):
        empty.gradient(model)


def test_inputs_and_targets_that_differ_in_number_are_refused(data):
    with pytest.raises(InputError, match="There are 13 inputs but 12 targets"):
        Objective(perceptron(DOUBLE), (data[0], data[1][1:]))


def test_an_unknown_batch_norm_mode_is_refused(data):
    with pytest.raises(InputError, match="recompute, stored or batch, not 'eval'"):
        Objective(perceptron(DOUBLE), data, batch_norm="eval")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda point: point.pop("2.bias"), "no value for the parameter '2.bias'"),
        (lambda point: point.update(extra=torch.zeros(1)), "no parameter named 'extra'"),
        (
            lambda point: point.update({"2.weight": torch.zeros(3, 9)}),
            r"'2.weight' has shape \(3, 9\) in the point and \(3, 8\) in the model",
        ),
        (
            lambda point: point.update({"2.weight": torch.zeros(3, 8, dtype=torch.float32)}),
            "'2.weight' is of float32 in the point and of float64 in the model",
        ),
    ],
    ids=["missing", "unknown", "shape", "type"],
)
def test_a_point_that_does_not_fit_is_refused(data, change, message):
    model = perceptron(DOUBLE)
    point, objective = snapshot(model), Objective(model, data)
    change(point)
    for use_of in (objective, objective.evaluate, objective.gradient):
        with pytest.raises(InputError, match=message):
            use_of(point)


@pytest.mark.parametrize("batch_norm", ["recompute", "stored", "batch"])
def test_a_mean_of_two_states_is_a_point_though_its_count_of_batches_is_a_fraction(batch_norm):
    model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4))
    objective = Objective(model, (torch.randn(8, 6), torch.randint(4, (8,))), batch_norm=batch_norm)
    state = model.state_dict()
    mean = {name: (tensor + tensor) / 2 for name, tensor in state.items()}
    assert mean["1.num_batches_tracked"].is_floating_point()
    assert objective(mean) == objective(state)
    assert torch.equal(objective.gradient(mean)["0.weight"], objective.gradient(state)["0.weight"])


# ---------------------------------------------------------------------- layout in memory


class Viewing(nn.Module):
    """It takes for granted that channels come first in memory, as many networks do."""

    def __init__(self, flatten):
        super().__init__()
        self.conv, self.fc, self.flatten = nn.Conv2d(1, 4, 3), nn.Linear(36, 3), flatten
        self.last = []

    def forward(self, inputs):
        outputs = self.conv(inputs)
        self.last.append(outputs.is_contiguous(memory_format=torch.channels_last))
        return self.fc(self.flatten(outputs))


@pytest.mark.parametrize(
    ("flatten", "last"),
    [(lambda x: x.flatten(1), True), (lambda x: x.view(len(x), -1), False)],
    ids=["reshapes", "views"],
)
def test_channels_come_last_where_the_network_takes_it(flatten, last):
    data, model = (draw(9, 1, 5, 5), classes(9, 3)), seeded(lambda: Viewing(flatten))
    objective = Objective(model, data, batch_size=4)
    before = condition(model)
    with torch.no_grad():
        expected = F.cross_entropy(model(data[0]), data[1]).item()
    assert objective(model) == pytest.approx(expected, rel=1e-6)
    seen = objective._model.last
    assert seen[-3:] == [last] * 3
    assert len(seen) == 4  # tried out once
    objective(model)
    assert len(seen) == 7
    assert condition(model) == before
    gradient = objective.gradient(model)
    assert gradient["conv.weight"].is_contiguous()


def test_statistics_of_other_layers_than_batch_norm_are_not_recomputed():
    def both() -> nn.Module:
        instance = nn.InstanceNorm1d(3, affine=True, track_running_stats=True)
        return nn.Sequential(instance, nn.Flatten(), nn.BatchNorm1d(6), nn.Linear(6, 2))

    model = seeded(both)
    model[0].running_mean.fill_(3.0)
    model[0].running_var.fill_(9.0)
    inputs = draw(20, 3, 2)
    found = Objective(model, (inputs, classes(20, 2)))(model)
    model.eval()
    model[2].reset_running_stats()
    model[2].momentum = None
    model[2].train()
    with torch.no_grad():
        model(inputs)
        loss = F.cross_entropy(model.eval()(inputs), classes(20, 2))
    assert found == pytest.approx(float(loss), rel=1e-6)


@pytest.mark.parametrize("size", [0, -3, 2.5])
def test_a_batch_of_no_examples_is_refused(size):
    with pytest.raises(InputError, match="A batch is 1 example or more"):
        Objective(nn.Linear(4, 2), (draw(20, 4), classes(20, 2)), batch_size=size)


def test_data_that_can_be_gone_through_only_once_are_refused():
    batches = iter([(draw(20, 4), classes(20, 2))])
    with pytest.raises(InputError, match="no iterator"):
        Objective(nn.Linear(4, 2), batches)


@pytest.mark.parametrize(
    ("statistics", "message"),
    [
        (lambda inputs, targets: iter([(inputs, targets)]), "no iterator"),
        (lambda inputs, targets: inputs, "not Tensor"),
        (lambda inputs, targets: 3, "not int"),
        (lambda inputs, targets: (inputs[1:], targets), "19 inputs but 20 targets"),
        (lambda inputs, targets: (inputs[:0], targets[:0]), "is empty"),
    ],
)
def test_data_for_statistics_are_refused_as_data_are(statistics, message):
    data, model = (draw(20, 4), classes(20, 2)), nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 2))
    with pytest.raises(InputError, match=message):
        Objective(model, data, statistics=statistics(*data))


def test_a_batch_that_is_no_pair_is_refused():
    inputs, targets = draw(20, 4), classes(20, 2)
    for data in ([(inputs, targets, targets)], (inputs.numpy(), targets.numpy())):
        with pytest.raises(InputError, match="A batch is a pair of inputs and targets"):
            Objective(nn.Linear(4, 2), data)(nn.Linear(4, 2))


def test_a_batch_of_nothing_is_passed_over():
    model = nn.Linear(3, 2)
    some = torch.randn(4, 3), torch.tensor([0, 1, 0, 1])
    nothing = torch.randn(0, 3), torch.empty(0, dtype=torch.long)
    assert Objective(model, [nothing, some, nothing])(model) == Objective(model, some)(model)
    with pytest.raises(InputError, match="data set is empty"):
        Objective(model, [nothing])(model)
