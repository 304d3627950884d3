"""Networks broken on purpose, one for every verdict, and what is said of them."""

import copy
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from helpers import at, condition, draw, on_the_plane, seeded
from sparsescape import InputError, Mask, Objective, diagnose, init
from sparsescape.landscape.diagnosis import conditions
from sparsescape.landscape.diagnosis.conditions import Condition
from sparsescape.landscape.diagnosis.diagnose import Diagnosis
from sparsescape.landscape.diagnosis.rules import RULES, VERDICTS
from sparsescape.landscape.search.trials import Trial
from sparsescape.points import named_weights, snapshot

QUICK = (Trial(degree=1, steps=0), Trial(degree=2, steps=60, batch_size=50))


@pytest.fixture(scope="module")
def data():
    """Four classes: the quadrant of the first two of eight inputs."""
    inputs = draw(200, 8, seed=1)
    return inputs, 2 * (inputs[:, 0] > 0).long() + (inputs[:, 1] > 0).long()


def network() -> nn.Module:
    return seeded(
        lambda: nn.Sequential(
            nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4)
        )
    )


def half(model: nn.Module) -> Mask:
    """Every second weight, in a checkerboard."""
    return Mask(
        {
            n: (torch.arange(w.shape[0])[:, None] + torch.arange(w.shape[1])) % 2 == 0
            for n, w in named_weights(model).items()
        }
    )


def fit(model, data, mask=None, steps=300, lr=0.2, weight_decay=0.0):
    """Full-batch SGD with momentum inside the mask, to a learning rate of 0."""
    model = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=weight_decay)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = lr * (1 - step / steps)
        optimizer.zero_grad()
        F.cross_entropy(model(data[0]), data[1]).backward()
        for name, active in (mask or {}).items():
            model.get_parameter(name).grad.mul_(active)
        optimizer.step()
    return model


@pytest.fixture(scope="module")
def trained(data):
    """A network, its mask, and its objective with weight decay, trained to the end."""
    model = network()
    mask = half(model)
    mask.apply_(model)
    return fit(model, data, mask, steps=600, weight_decay=0.01), mask


def objective(data, weight_decay=0.01):
    return Objective(network(), data, weight_decay=weight_decay)


# ---------------------------------------------------------------------------- every kind


def test_too_few_steps_are_under_training(data):
    model = network()
    mask = half(model)
    mask.apply_(model)
    found = diagnose(objective(data), fit(model, data, mask, steps=5, lr=0.02), mask)
    assert found.verdict == "under-trained"
    assert objective(data)(found.better) < 0.95 * found.loss
    mask.check_contains(found.better)
    assert found.open == ("good enough",)


@pytest.mark.parametrize(
    "break_", ["zero weights", "zeros", "tiny scale", "dead units", "dead units, far above chance"]
)
def test_a_signal_that_dies_is_a_plateau(data, break_):
    model = network()
    mask = half(model)
    mask.apply_(model)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if break_ == "zeros" or (break_ == "zero weights" and p.ndim == 2):
                p.zero_()
            elif break_ == "tiny scale":
                p.mul_(1e-3)
            elif break_.startswith("dead") and name == "2.bias":
                p.fill_(-100)
            if break_.endswith("chance") and name == "4.bias":
                p.copy_(torch.tensor([3.0, 0, 0, 0]))
    found = diagnose(objective(data, weight_decay=0.0), model, mask)
    assert found.verdict == "plateau / dead signal", found.ruled_out
    assert any("sparse_fan_in" in remedy.code for remedy in found.remedies)


def test_its_remedy_brings_a_plateau_to_life(data):
    model = network()
    mask = half(model)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(1e-3)
    init.sparse_fan_in(model, mask, seed=0)
    assert diagnose(objective(data), model, mask).verdict == "under-trained"


@pytest.mark.parametrize("layer", ["0.weight", "2.weight", "4.weight"])
def test_an_emptied_layer_is_a_collapsed_layer(data, layer):
    model = network()
    mask = half(model)
    mask = Mask({n: active & torch.tensor(n != layer) for n, active in mask.items()})
    mask.apply_(model)
    stuck = fit(model, data, mask, steps=50)
    for reference in (None, stuck):  # on par with what has collapsed is not good enough
        found = diagnose(objective(data), stuck, mask, reference)
        assert (found.verdict, found.confidence) == ("collapsed layer", "high")
        assert layer in str(found.evidence[0])


def test_answers_may_be_one_number_each():
    def one() -> nn.Module:
        return nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1), nn.Flatten(0))

    model, inputs = seeded(one), draw(30, 4)
    mask = Mask({"0.weight": torch.zeros(3, 4, dtype=torch.bool)})
    mask.apply_(model)
    objective = Objective(model, (inputs, inputs[:, 0]), F.mse_loss)
    assert diagnose(objective, model, mask).verdict == "collapsed layer"


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.around, self.through = nn.Linear(8, 4), nn.Linear(8, 4)

    def forward(self, x):
        return self.around(x) + self.through(x)


def test_an_emptied_layer_with_a_way_around_it_may_be_good_enough(data):
    model = seeded(Residual)
    mask = Mask({"around.weight": torch.ones(4, 8) > 0, "through.weight": torch.zeros(4, 8) > 0})
    mask.apply_(model)
    solution = fit(model, data, mask)
    objective = Objective(model, data)
    assert diagnose(objective, solution, mask, solution).verdict == "good enough"
    worse = snapshot(solution)
    worse["around.weight"] *= -1
    assert diagnose(objective, worse, mask, solution).verdict == "collapsed layer"


def test_a_solution_is_good_enough_beside_itself(data, trained):
    model, mask = trained
    found = diagnose(objective(data), model, mask, reference=model)
    assert (found.verdict, found.confidence) == ("good enough", "high")
    assert found.open == ()


def test_without_a_reference_it_is_left_open_whether_that_is_good_enough(data, trained):
    model, mask = trained
    found = diagnose(objective(data), model, mask)
    assert found.verdict == "undecided"
    assert "good enough" in found.open
    assert "reference" in found.remedies[0].code


def test_twin_units_are_held_at_a_saddle_by_their_symmetry(data):
    """Units with the same weights have the same gradients: full-batch training cannot part them,
    and ends at a minimum of the smaller network, which is a saddle of this one. (Rounding can,
    and from the 600th step on it has.)"""
    inputs = data[0][:, :2]
    data = inputs, (inputs[:, 0] * inputs[:, 1] > 0).long()
    model = seeded(lambda: nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 2)))
    with torch.no_grad():
        for p in (model[0].weight, model[0].bias):
            p.copy_(p[:1].expand_as(p).clone())
        model[2].weight.copy_(model[2].weight[:, :1].expand(2, 6).clone())
    model = fit(model, data, steps=400, lr=0.3, weight_decay=0.001)
    objective = Objective(model, data, weight_decay=0.001)
    found = diagnose(objective, model)
    assert found.verdict == "saddle", found
    assert found.stationarity.smallest_inside < 0
    assert objective(found.better) < 0.95 * found.loss


def test_a_planted_saddle():
    objective = on_the_plane(lambda w: 1 + w[0] ** 2 - w[1] ** 2 + w[1] ** 4)
    found = diagnose(objective, at(0.0, 0.0))
    assert found.verdict == "saddle"
    assert found.confidence == "high"
    assert objective(found.better) == pytest.approx(0.75, abs=0.05)


def test_negative_curvature_outside_the_mask_is_no_saddle_inside_it():
    objective = on_the_plane(lambda w: 1 + w[0] ** 2 - w[1] ** 2 + w[1] ** 4)
    mask = Mask({"w": torch.tensor([[True, False]])})
    assert diagnose(objective, at(0.0, 0.0), mask).verdict != "saddle"


def wall(w):
    """Two wells at x = ±1 (at height 1 and 0.1), and a slope that leads around along y."""
    x, y = w
    return (x**2 - 1) ** 2 * torch.exp(-4 * y) + 0.55 - 0.45 * torch.tanh(2 * x) - 0.5 * y + y**2


def test_a_wall_inside_the_mask_and_a_way_around_it():
    objective = on_the_plane(wall)
    mask = Mask({"w": torch.tensor([[True, False]])})
    stuck, good = (settle(objective, at(x, 0.0)) for x in (-1.0, 1.0))
    found = diagnose(objective, stuck, mask, good, trials=QUICK)
    assert found.verdict == "walled in", found
    assert found.sparse_path.profile.climb > 3 * found.sparse_path.profile.tolerance
    assert found.dense_path is not None
    assert objective(found.better) < found.loss
    assert diagnose(objective, good, mask, good).verdict == "good enough"


def settle(objective, point):
    """The nearest minimum on the line y = 0."""
    for _ in range(500):
        point["w"][0, 0] -= 0.05 * objective.gradient(point)["w"][0, 0]
    return point


def test_no_slope_outside_is_no_wall():
    """At the same wells, but with nothing to be had along y."""
    objective = on_the_plane(lambda w: wall(torch.stack([w[0], 0 * w[1]])) + w[1] ** 2)
    mask = Mask({"w": torch.tensor([[True, False]])})
    stuck, good = (settle(objective, at(x, 0.0)) for x in (-1.0, 1.0))
    found = diagnose(objective, stuck, mask, good, trials=QUICK)
    assert found.verdict == "undecided"
    assert "Newton steps in the dense space" in str(found.ruled_out["walled in"])
    assert found.sparse_path is None  # the search is not made where nothing hangs on it


def test_a_reference_outside_the_mask_cannot_be_reached_inside_it():
    objective = on_the_plane(wall)
    mask = Mask({"w": torch.tensor([[True, False]])})
    stuck = settle(objective, at(-1.0, 0.0))
    found = diagnose(objective, stuck, mask, at(1.0, 0.25), trials=QUICK)
    assert found.verdict == "walled in"
    assert found.confidence != "high"
    assert found.sparse_path is None


# ---------------------------------------------------------------------------- the table


def test_verdicts_do_not_change_with_the_scale_of_the_loss_or_of_the_weights(data):
    """Ten times the loss, and a hidden layer rescaled by what the next one takes back."""
    model = network()
    mask = half(model)
    mask.apply_(model)
    model = fit(model, data, mask, steps=5, lr=0.02)
    rescaled = copy.deepcopy(model)
    with torch.no_grad():
        rescaled[0].weight *= 4
        rescaled[0].bias *= 4
        rescaled[2].weight /= 4
    plain = objective(data, weight_decay=0.0)
    tenfold = Objective(model, data, lambda out, y: 10 * F.cross_entropy(out, y))
    found = [diagnose(*where, mask) for where in ((plain, model), (tenfold, model))]
    assert found[0].verdict == found[1].verdict == diagnose(plain, rescaled, mask).verdict
    values = [d.evidence[0].value for d in found]
    assert values[0] == pytest.approx(values[1], rel=0.03)  # twenty steps let rounding grow


@pytest.mark.parametrize(
    ("value", "sign", "holds", "sure"),
    [
        (2.0, "≤", True, True),
        (3.5, "≤", True, False),
        (5.0, "≤", False, False),
        (2.0, "≥", False, False),
        (4.5, "≥", True, False),
        (6.0, "≥", True, True),
    ],
)
def test_a_condition_holds_up_to_its_limit_and_surely_beyond_the_second(value, sign, holds, sure):
    beyond = 3.0 if sign == "≤" else 5.0
    found = Condition("", value, sign, 4.0, beyond)
    assert (found.holds, found.is_sure) == (holds, sure)
    assert ("not" in str(found)) != holds


def test_nothing_is_above_or_below_a_number_that_is_none():
    assert not Condition("", float("nan"), "≤", 1.0, 1.0).holds
    assert not Condition("", float("nan"), "≥", 1.0, 1.0).holds


def test_the_order_of_precedence():
    assert [rule.verdict for rule in RULES] == [
        "collapsed layer",
        "good enough",
        "plateau / dead signal",
        "under-trained",
        "saddle",
        "walled in",
    ]


def test_the_page_has_the_rules_in_their_order_and_their_limits():
    page = (Path(__file__).parents[3] / "docs/diagnosis.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \d \| \*\*(.+?)\*\* \| (.+?) \|", page, re.MULTILINE)
    assert [verdict for verdict, _ in rows] == [rule.verdict for rule in RULES]
    holds = dict(rows)
    for verdict, limits in {
        "plateau / dead signal": (conditions.CONSTANT, conditions.NEAR_CONSTANT),
        "under-trained": (conditions.SLOPE,),
        "saddle": (conditions.SLOPE, conditions.NEGATIVE),
        "walled in": (conditions.SLOPE, conditions.STEEPER),
    }.items():
        for limit in limits:
            assert f"{limit:g}" in holds[verdict]
    assert conditions.par(2.0, 10.0)[0] == pytest.approx(1.1 * 2 + 0.005 * 10)
    assert "1.1 · its loss + 0.005" in holds["good enough"]


@pytest.mark.parametrize("verdict", VERDICTS)
def test_what_to_try_is_code_that_compiles_with_names_that_exist(verdict):
    import sparsescape as ss

    for remedy in VERDICTS[verdict].remedies:
        compiled = compile(remedy.code, remedy.why, "exec")
        for name in compiled.co_names:
            attributes = [*dir(ss), *dir(ss.scores), *dir(ss.distributions), *dir(ss.init)]
            known = {"ss", "model", "optimizer", "mask", "objective", "point", "reference"}
            known |= {"diagnosis", *attributes, *dir(Mask), *dir(nn.Module), *dir(ss.Diagnosis)}
            known |= {"better", "attach", "profile", "climb", "count"}
            assert name in known | {"extra_dimensions"}, name


def test_the_reading_names_the_verdict_the_numbers_and_what_to_try(data, trained):
    model, mask = trained
    text = str(diagnose(objective(data), model, mask, reference=model))
    assert text.startswith("good enough (confidence: high)")
    assert "ss.find_path" in text
    assert "≤" in text


# ---------------------------------------------------------------------------- care


def test_nothing_of_the_users_moves(data, trained):
    model, mask = copy.deepcopy(trained[0]).train(), trained[1]
    F.cross_entropy(model(data[0]), data[1]).backward()
    worse = {n: p * (n != "4.bias") for n, p in snapshot(model).items()}
    before, kept = condition(model), {n: p.clone() for n, p in worse.items()}
    diagnose(Objective(model, data), worse, mask, model, trials=QUICK)
    assert condition(model) == before
    assert all(torch.equal(worse[n], kept[n]) for n in kept)


def test_the_same_again(data, trained):
    model, mask = trained
    one, two = (diagnose(objective(data), model, mask) for _ in range(2))
    assert str(one) == str(two)
    assert one.stationarity == two.stationarity


def infinite(model):
    return {n: torch.full_like(p, torch.inf) for n, p in snapshot(model).items()}


def test_bad_input_is_refused(data, trained):
    model, mask = trained
    with pytest.raises(InputError, match="outside the subspace"):
        diagnose(objective(data), network(), mask)
    with pytest.raises(InputError, match="not finite"):
        diagnose(objective(data), infinite(model))
    with pytest.raises(InputError, match="reference is not finite"):
        diagnose(objective(data), model, mask, reference=infinite(model))
    with pytest.raises(InputError, match="no value"):
        diagnose(objective(data), model, mask, reference={"0.weight": model[0].weight})


@pytest.mark.parametrize("trials", [(), Trial(steps=1), ["curve"]], ids=repr)
def test_trials_are_looked_at_before_any_work(data, trained, trials, monkeypatch):
    monkeypatch.setattr(Objective, "evaluate", lambda *_: pytest.fail("worked"))
    model, mask = trained
    with pytest.raises(InputError, match="trial"):
        diagnose(objective(data), model, mask, trials=trials)


def test_the_better_point_shares_nothing_with_the_model():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2))
    data = torch.randn(50, 4), torch.randint(0, 2, (50,))
    found = diagnose(Objective(model, data), model)
    before = found.better["1.running_mean"].clone()
    model[1].running_mean.add_(1)  # what training on would do
    assert torch.equal(found.better["1.running_mean"], before)


def test_who_gave_a_reference_is_not_told_to_give_one():
    undecided = VERDICTS["undecided"]
    assert [remedy.finds_reference for remedy in undecided.remedies] == [True, False]
    facts = dict.fromkeys(Diagnosis.__dataclass_fields__)
    alone = Diagnosis(**{**facts, "verdict": "undecided"})
    beside = Diagnosis(**{**facts, "verdict": "undecided", "reference_loss": 0.1})
    assert alone.remedies == undecided.remedies
    assert beside.remedies == undecided.remedies[1:]
