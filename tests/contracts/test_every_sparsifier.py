"""What every sparsifier must pass, whatever the optimizer. A new one is a line in SPARSIFIERS."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import sparsescape as ss
from helpers import (
    OPTIMIZERS,
    backward,
    bits,
    convnet,
    images,
    state_like_weights,
    train,
    tree_bits,
)
from sparsescape.points import as_point, named_parameters

STEPS = 7

# What an optimizer gives a fresh element, where it is not 0 (see OPTIMIZERS for the settings).
FRESH = {("Adagrad", "sum"): 0.1, ("Rprop", "step_size"): 0.01}

# Each is done moving its mask before STEPS, and ends at the sparsity 0.75.
SPARSIFIERS = {
    "static": lambda **more: ss.Static(sparsity=0.75, **more),
    "static, erk": lambda **more: ss.Static(sparsity=0.75, distribution="erk", **more),
    "one-shot": lambda **more: ss.OneShot(0.75, at=3, **more),
    "one-shot at attach": lambda **more: ss.OneShot(0.75, distribution="global", **more),
    "gradual": lambda **more: ss.GradualMagnitude(0.75, begin=1, end=6, every=2, **more),
    "gradual, erk": lambda **more: ss.GradualMagnitude(
        0.75, begin=2, end=5, every=1, initial_sparsity=0.3, distribution="erk", **more
    ),
    "escape": lambda **more: ss.Escape(
        sparsity=0.75, open=30, hold_for=2, prune_for=3, prune_every=2, **more
    ),
    "gradual, global": lambda **more: ss.GradualMagnitude(
        0.75, begin=1, end=6, every=2, distribution="global", **more
    ),
}


@pytest.fixture(params=SPARSIFIERS.values(), ids=SPARSIFIERS)
def make(request):
    return request.param


@pytest.fixture(params=OPTIMIZERS.values(), ids=OPTIMIZERS)
def optimize(request):
    return request.param


# What these optimizers of tests/helpers.py give an element that they have never moved.
FRESH = {(torch.optim.Rprop, "step_size"): 0.01, (torch.optim.Adagrad, "sum"): 0.1}


class Attached:
    """A model, an optimizer over it and a sparsifier on both."""

    def __init__(self, make, optimize=OPTIMIZERS["SGD"], model=None):
        self.model = convnet() if model is None else model
        self.optimizer = optimize(self.model.parameters())
        self.sparsifier = make()
        self.sparsifier.attach(self.model, self.optimizer)

    def train(self, steps):
        train(self.model, self.optimizer, steps)
        return self

    def bits(self):
        trees = (self.optimizer.state_dict(), self.sparsifier.state_dict())
        return bits(self.model), [tree_bits(tree) for tree in trees]

    def assert_held(self):
        """Outside the mask weights are exactly 0, and the optimizer's state is fresh."""
        mask = self.sparsifier.mask
        parameters = named_parameters(self.model)
        for name, active in mask.items():
            state = state_like_weights(self.optimizer, {name: parameters[name]})
            for what, tensor in {name: parameters[name], **state}.items():
                fresh = FRESH.get((type(self.optimizer), what.rpartition("/")[2]), 0)
                assert (tensor[~active] == fresh).all(), what


# ---------------------------------------------------------------------- the mask holds


def test_after_every_step_weights_are_0_and_state_is_fresh_outside_the_mask(make, optimize):
    run = Attached(make, optimize)
    run.assert_held()
    for step in range(STEPS):
        run.train([step])
        run.assert_held()
    weights = {n: p for n, p in named_parameters(run.model).items() if n in run.sparsifier.mask}
    assert state_like_weights(run.optimizer, weights)


def test_the_mask_ends_at_the_sparsity_asked_for_and_so_do_the_weights(make, optimize):
    run = Attached(make, optimize).train(range(STEPS))
    total = 36 + 324
    assert run.sparsifier.mask.total == total
    # Exactly, unless layers are rounded one by one: half a weight for each of the two.
    assert abs(run.sparsifier.mask.count - 0.25 * total) <= 1
    nonzero = ss.Mask.of(run.model)
    assert (nonzero | run.sparsifier.mask) == run.sparsifier.mask
    assert run.sparsifier.densities == run.sparsifier.mask.densities


def test_gradients_are_0_outside_the_mask_and_as_they_were_inside(make):
    run = Attached(make).train(range(2))
    free = convnet()
    free.load_state_dict(run.model.state_dict())
    run.optimizer.zero_grad()
    for model in (run.model, free):
        backward(model, 2)
    for name, parameter in named_parameters(run.model).items():
        expected = named_parameters(free)[name].grad.clone()
        if name in run.sparsifier.mask:
            expected[~run.sparsifier.mask[name]] = 0
        assert torch.equal(parameter.grad, expected), name


def test_clipping_sees_the_norm_inside_the_mask(make):
    run = Attached(make).train(range(STEPS))
    free = convnet()
    free.load_state_dict(run.model.state_dict())
    run.optimizer.zero_grad()
    for model in (run.model, free):
        backward(model, STEPS)
    gradients = {n: p.grad for n, p in named_parameters(free).items()}
    run.sparsifier.mask.apply_(gradients)
    norm = torch.nn.utils.clip_grad_norm_(run.model.parameters(), 1e9)
    inside = sum(g.double().square().sum() for g in gradients.values()).sqrt()
    assert norm.item() == pytest.approx(inside.item(), rel=1e-5)


def test_a_step_with_a_closure_is_held_and_the_same_as_one_without(make, optimize):
    plain, closed = Attached(make, optimize), Attached(make, optimize)
    for step in range(STEPS):
        plain.train([step])

        def closure(at=step):
            closed.optimizer.zero_grad()
            loss = F.cross_entropy(closed.model(images(at)[0]), images(at)[1])
            loss.backward()
            return loss

        closed.optimizer.step(closure)
        closed.assert_held()
    assert closed.bits() == plain.bits()


def test_lbfgs_is_held_too(make):
    run = Attached(make, lambda p: torch.optim.LBFGS(p, lr=0.1, max_iter=3))
    for step in range(STEPS):

        def closure(at=step):
            run.optimizer.zero_grad()
            backward(run.model, at)
            return F.cross_entropy(run.model(images(at)[0]), images(at)[1])

        run.optimizer.step(closure)
        run.assert_held()
    assert run.sparsifier.step == STEPS


def test_gradients_add_up_over_backward_passes_inside_the_mask(make):
    run = Attached(make).train(range(3))
    one_by_one = []
    for step in (3, 4):
        run.optimizer.zero_grad()
        backward(run.model, step)
        one_by_one.append({n: p.grad.clone() for n, p in named_parameters(run.model).items()})
    run.optimizer.zero_grad()
    for step in (3, 4):
        backward(run.model, step)
    for name, parameter in named_parameters(run.model).items():
        expected = one_by_one[0][name] + one_by_one[1][name]
        assert torch.allclose(parameter.grad, expected, rtol=1e-5, atol=1e-7), name
        if name in run.sparsifier.mask:
            assert (parameter.grad[~run.sparsifier.mask[name]] == 0).all()
    run.optimizer.step()
    run.assert_held()


def test_parameter_groups_keep_their_own_settings(make):
    def two_groups(parameters):
        first, *rest = parameters
        return torch.optim.SGD([{"params": [first], "lr": 0.0}, {"params": rest}], lr=0.1)

    run = Attached(make, two_groups)
    first = run.model[0].weight.detach().clone()
    for step in range(STEPS):
        run.train([step])
        run.assert_held()
    # A learning rate of 0 moves nothing: what is still open is where it was.
    active = run.sparsifier.mask["0.weight"]
    assert torch.equal(run.model[0].weight, first * active)
    assert not torch.equal(run.model[4].weight != 0, torch.zeros(9, 36, dtype=torch.bool))


@pytest.mark.parametrize("gradient", [float("inf"), float("nan")])
def test_a_gradient_that_overflows_outside_the_mask_stays_outside(make, gradient):
    """As with half precision: what is closed must not poison the norm or the momentum."""
    run = Attached(make).train(range(STEPS))
    closed = ~run.sparsifier.mask["4.weight"]
    run.optimizer.zero_grad()
    weight = run.model[4].weight
    weight.backward(torch.where(closed, gradient, 1.0))
    assert torch.equal(weight.grad, torch.where(closed, 0.0, 1.0))
    run.optimizer.step()
    run.assert_held()


@pytest.mark.parametrize("name", ["Adam", "Adagrad"])
def test_an_optimizer_that_divides_0_by_0_outside_the_mask_is_held(make, name):
    """With eps = 0 the step at a weight without gradient is 0/0."""
    run = Attached(make, OPTIMIZERS[name]).train(range(STEPS))
    for group in run.optimizer.param_groups:
        group.update(eps=0.0, initial_accumulator_value=0.0, weight_decay=0.0)
    run.train([STEPS]).assert_held()


# ---------------------------------------------------------------------- going on later


@pytest.mark.parametrize("stop", [0, 2, 4])
def test_a_run_goes_on_from_its_state_to_the_bit(make, optimize, stop, tmp_path):
    whole = Attached(make, optimize).train(range(STEPS))
    first = Attached(make, optimize).train(range(stop))
    parts = (first.model, first.optimizer, first.sparsifier)
    torch.save([part.state_dict() for part in parts], tmp_path / "state")

    second = Attached(make, optimize)
    parts = (second.model, second.optimizer, second.sparsifier)
    for part, state in zip(parts, torch.load(tmp_path / "state"), strict=True):
        part.load_state_dict(state)
    assert second.bits() == first.bits()
    assert second.train(range(stop, STEPS)).bits() == whole.bits()


def test_a_state_does_not_follow_later_training(make):
    run = Attached(make).train(range(2))
    state = run.sparsifier.state_dict()
    before = tree_bits(state)
    run.train(range(2, STEPS))
    assert tree_bits(state) == before


def test_two_runs_of_the_same_are_the_same_bits(make, optimize):
    one, other = (Attached(make, optimize).train(range(STEPS)) for _ in range(2))
    assert one.bits() == other.bits()


def test_a_sparsifier_leaves_torchs_random_state(make):
    before = torch.get_rng_state()
    Attached(make).train(range(STEPS))
    assert torch.equal(torch.get_rng_state(), before)


# ---------------------------------------------------------------------- letting go


def test_once_detached_nothing_is_held(make):
    run = Attached(make).train(range(STEPS))
    before, closed = bits(run.model), ~run.sparsifier.mask["4.weight"]
    run.sparsifier.detach()
    assert bits(run.model) == before
    run.train([STEPS])
    assert run.model[4].weight.grad[closed].count_nonzero() > 0
    assert run.model[4].weight[closed].count_nonzero() > 0
    assert run.sparsifier.step == STEPS


def test_attached_again_it_starts_over(make):
    run = Attached(make).train(range(STEPS))
    run.sparsifier.detach()
    fresh = Attached(make).train(range(STEPS))
    again = Attached(lambda: run.sparsifier).train(range(STEPS))
    assert again.bits() == fresh.bits()


@pytest.mark.parametrize("start", [0, 2])
def test_a_copy_of_the_model_is_free_and_the_model_itself_is_not(make, start):
    run = Attached(make).train(range(start))
    twin, expected = Attached(make).train(range(STEPS)), copy.deepcopy(run.model)
    train(expected, OPTIMIZERS["SGD"](expected.parameters()), range(STEPS))
    assert all((weight != 0).all() for weight in (expected[0].weight, expected[4].weight))
    run.train(range(start, STEPS))
    run.assert_held()
    assert run.bits() == twin.bits()


def test_a_model_copied_from_another_can_be_attached(make):
    run = Attached(make).train(range(3))
    other = Attached(make, model=copy.deepcopy(run.model)).train(range(STEPS))
    other.assert_held()


# ---------------------------------------------------------------------- what it is on


def test_what_is_named_dense_is_in_no_mask_and_trains_freely(make):
    run = Attached(lambda: make(dense=["0"])).train(range(STEPS))
    assert (run.model[0].weight != 0).all()
    assert list(run.sparsifier.mask) == ["4.weight"]
    assert run.sparsifier.mask.count == 324 // 4


def test_biases_and_norms_are_never_closed(make):
    run = Attached(make).train(range(STEPS))
    assert sorted(run.sparsifier.mask) == ["0.weight", "4.weight"]
    names = ("0.bias", "1.weight", "1.bias", "4.bias")
    assert all((as_point(run.model)[name] != 0).all() for name in names)


def test_changing_the_mask_that_was_got_does_not_change_the_mask(make):
    run = Attached(make).train(range(STEPS))
    count = run.sparsifier.mask.count
    run.sparsifier.mask["4.weight"].fill_(True)
    run.sparsifier.state_dict()["mask"]["4.weight"].fill_(True)
    assert run.sparsifier.mask.count == count
    run.train([STEPS]).assert_held()


def test_a_compiled_model_is_held_under_its_plain_names(make):
    model = torch.compile(convnet(), backend="eager")
    run = Attached(make, model=model)
    assert sorted(run.sparsifier.mask) == ["0.weight", "4.weight"]
    run.train(range(STEPS)).assert_held()


def test_a_tied_weight_is_held_once(make):
    model = nn.Sequential(nn.Flatten(), nn.Linear(25, 25), nn.ReLU(), nn.Linear(25, 25))
    model[3].weight = model[1].weight
    run = Attached(make, model=model).train(range(STEPS))
    assert list(run.sparsifier.mask) == ["1.weight"]
    run.assert_held()


# ---------------------------------------------------------------------- what is refused


def test_it_is_attached_to_one_model_at_a_time(make):
    run = Attached(make)
    with pytest.raises(ss.InputError, match=r"is attached to a model already\."):
        run.sparsifier.attach(convnet(), run.optimizer)


def test_an_optimizer_that_lacks_a_weight_is_refused_before_anything_moves(make):
    model = convnet()
    before = bits(model)
    optimizer = torch.optim.SGD([model[0].weight], lr=0.1)
    with pytest.raises(ss.InputError, match=r"does not hold the weight '4\.weight'"):
        make().attach(model, optimizer)
    assert bits(model) == before


def test_a_pattern_that_matches_nothing_is_refused(make):
    model = convnet()
    with pytest.raises(ss.InputError, match="'fc' matches none"):
        make(dense=["fc"]).attach(model, OPTIMIZERS["SGD"](model.parameters()))


def test_state_is_loaded_onto_an_attached_sparsifier_of_the_same_weights_only(make):
    state = Attached(make).train(range(2)).sparsifier.state_dict()
    with pytest.raises(ss.InputError, match="Attach the sparsifier"):
        make().load_state_dict(state)
    state["mask"]["4.weight"] = state["mask"]["4.weight"][:, 1:]
    run = Attached(make)
    before = run.bits()
    with pytest.raises(ss.InputError, match="for other weights"):
        run.sparsifier.load_state_dict(state)
    assert run.bits() == before
