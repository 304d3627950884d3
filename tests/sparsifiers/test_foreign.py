"""Optimizers, loops and methods that others write."""

import copy
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import sparsescape as ss

X = torch.randn(32, 20, generator=torch.Generator().manual_seed(1))
Y = torch.randint(5, (32,), generator=torch.Generator().manual_seed(2))


def make_model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 24), nn.Tanh(), nn.Linear(24, 5))


class SAM(torch.optim.Optimizer):
    """Foret et al. 2021, with the weights put back as its usual implementation does: by the tensor
    that was kept itself."""

    def __init__(self, params, **settings):
        super().__init__(params, settings)
        self.base_optimizer = torch.optim.SGD(self.param_groups, **settings)
        self.param_groups = self.base_optimizer.param_groups

    @torch.no_grad()
    def climb(self):
        for parameter in self.param_groups[0]["params"]:
            self.state[parameter]["old_p"] = parameter.data.clone()
            parameter.add_(0.05 * parameter.grad)
        self.zero_grad()

    @torch.no_grad()
    def descend(self):
        for parameter in self.param_groups[0]["params"]:
            parameter.data = self.state[parameter]["old_p"]
        self.base_optimizer.step()
        self.zero_grad()


@pytest.mark.parametrize("method", [ss.SET, ss.RigL, ss.MEST])
def test_state_that_is_the_weight_itself_moves_once(method):
    dense = make_model().double()
    mask = ss.Mask.from_scores(ss.scores.random(dense), sparsity=0.8)
    mask.apply_(dense)
    sparse = ss.to_sparse(copy.deepcopy(dense), 0.0, mask=mask)
    runs = []
    for model in (dense, sparse):
        optimizer = SAM(model.parameters(), lr=0.05, momentum=0.9)
        sparsifier = method(0.8, update_every=3, initial_mask=mask).attach(model, optimizer)
        for _ in range(8):
            for half in (optimizer.climb, optimizer.descend):
                cross_entropy(model(X.double()), Y).backward()
                half()
        runs.append(sparsifier.mask)
    assert runs[0] == runs[1]
    for layer in (0, 2):
        torch.testing.assert_close(sparse[layer].dense_weight(), dense[layer].weight)


class ManyMomenta(torch.optim.Optimizer):
    """Momentum at several rates, in a table (Lucas et al. 2019) or a list."""

    def __init__(self, params, kind):
        super().__init__(params, {})
        self.kind = kind

    @torch.no_grad()
    def step(self, closure=None):
        for parameter in self.param_groups[0]["params"]:
            if parameter.grad is None:
                continue
            new = [torch.zeros_like(parameter) for _ in range(2)]
            kept = self.state[parameter].setdefault(
                "buffers", new if self.kind is list else dict(zip((0.5, 0.9), new, strict=True))
            )
            buffers = kept if self.kind is list else kept.values()
            for rate, buffer in zip((0.5, 0.9), buffers, strict=True):
                buffer.mul_(rate).add_(parameter.grad)
                parameter.sub_(0.02 * buffer)


def buffers_of(optimizer, parameter):
    kept = optimizer.state[parameter]["buffers"]
    return kept if isinstance(kept, list) else list(kept.values())


@pytest.mark.parametrize("kind", [list, dict])
def test_state_in_tables_and_lists_is_held_moves_and_migrates(kind):
    model = make_model()
    optimizer = ManyMomenta(model.parameters(), kind)
    sparsifier = ss.SET(0.8, update_every=2).attach(model, optimizer)

    def train(model, steps):
        for _ in range(steps):
            optimizer.zero_grad()
            cross_entropy(model(X), Y).backward()
            optimizer.step()

    train(model, 5)
    for name, active in sparsifier.mask.items():
        for buffer in buffers_of(optimizer, model.get_parameter(name)):
            assert (buffer[~active] == 0).all()
            assert (buffer[active] != 0).any()
    sparsifier.detach()
    mask, before = sparsifier.mask, buffers_of(optimizer, model[0].weight)
    ss.to_sparse(model, 0.0, optimizer=optimizer, mask=mask)
    for old, new in zip(before, buffers_of(optimizer, model[0].weight), strict=True):
        assert torch.equal(new, old[mask["0.weight"]])
    ss.DSR(0.8, update_every=2).attach(model, optimizer)
    train(model, 5)
    for buffer in buffers_of(optimizer, model[0].weight):
        assert buffer.shape == model[0].weight.shape


def test_what_a_wrapper_is_around_migrates_as_well():
    model = make_model()
    mask = ss.Mask.from_scores(ss.scores.random(model), sparsity=0.8)
    mask.apply_(model)
    optimizer = SAM(model.parameters(), lr=0.05, momentum=0.9)
    for half in (optimizer.climb, optimizer.descend):
        cross_entropy(model(X), Y).backward()
        half()
    momentum = optimizer.base_optimizer.state[model[0].weight]["momentum_buffer"]
    ss.to_sparse(model, 0.0, optimizer=optimizer, mask=mask)
    moved = optimizer.base_optimizer.state[model[0].weight]["momentum_buffer"]
    assert torch.equal(moved, momentum[mask["0.weight"]])


def test_an_optimizer_with_state_of_rows_and_columns_is_not_migrated():
    model = make_model()
    optimizer = torch.optim.Adafactor(model.parameters())
    cross_entropy(model(X), Y).backward()
    optimizer.step()
    with pytest.raises(ss.InputError, match="Adafactor"):
        ss.to_sparse(model, 0.0, optimizer=optimizer)
    assert model[0].weight.ndim == 2


def test_an_optimizer_of_matrices_is_not_migrated():
    model = make_model()
    optimizer = torch.optim.Muon([p for p in model.parameters() if p.ndim == 2])
    with pytest.raises(ss.InputError, match="Muon moves matrices only"):
        ss.to_sparse(model, 0.0, optimizer=optimizer)
    assert model[0].weight.ndim == 2


@pytest.mark.parametrize("method", [ss.RigL, ss.SNFS])
def test_gradients_that_the_loop_sets_itself_are_seen_whole(method):
    masks = []
    for by_itself in (False, True):
        model = make_model()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        sparsifier = method(0.8, update_every=3).attach(model, optimizer)
        for _ in range(7):
            optimizer.zero_grad()
            loss = cross_entropy(model(X), Y)
            if by_itself:
                parameters = list(model.parameters())
                found = torch.autograd.grad(loss, parameters)
                for parameter, grad in zip(parameters, found, strict=True):
                    parameter.grad = grad
            else:
                loss.backward()
            optimizer.step()
        masks.append(sparsifier.mask)
    assert masks[0] == masks[1]


def test_of_truly_sparse_layers_such_gradients_are_refused():
    model = ss.to_sparse(make_model(), 0.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    ss.RigL(0.0, update_every=1).attach(model, optimizer)
    parameters = list(model.parameters())
    for parameter, grad in zip(
        parameters, torch.autograd.grad(cross_entropy(model(X), Y), parameters), strict=True
    ):
        parameter.grad = grad
    with pytest.raises(ss.InputError, match=r"'0.weight' was not made by a backward pass"):
        optimizer.step()


def scored(drop=None, grow=None):
    class Own(ss.DropGrow):
        def drop_score(self, name):
            return drop(self.weight(name)) if drop else super().drop_score(name)

        def grow_score(self, name):
            return grow(self.weight(name)) if grow else super().grow_score(name)

    return Own(0.8, update_every=1)


@pytest.mark.parametrize(
    ("method", "about"),
    [
        (lambda: scored(drop=lambda w: None), r"drop score of '0.weight' .* not None"),
        (lambda: scored(drop=lambda w: w[0]), r"drop score .*\(24, 20\).* one of \(20,\)"),
        (lambda: scored(drop=lambda w: w.numpy()), r"drop score of '0.weight' .* not array"),
        (lambda: scored(drop=lambda w: w * torch.nan), r"drop score of '0.weight' is NaN"),
        (lambda: scored(grow=lambda w: w[0]), r"grow score .*\(24, 20\).* one of \(20,\)"),
        (lambda: scored(grow=lambda w: 3), r"grow score of '0.weight' .* not 3"),
    ],
)
def test_a_score_that_is_none_is_refused_in_one_sentence(method, about):
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    method().attach(model, optimizer)
    cross_entropy(model(X), Y).backward()
    with pytest.raises(ss.InputError, match=about):
        optimizer.step()


def test_a_mask_that_leaves_a_weight_out_is_refused():
    class Forgetful(ss.Sparsifier):
        def next_mask(self, step):
            return {"0.weight": self.active["0.weight"]}

    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    Forgetful().attach(model, optimizer)
    cross_entropy(model(X), Y).backward()
    with pytest.raises(ss.InputError, match=r"names the weights .*'2.weight'.* not \['0.weight'\]"):
        optimizer.step()


def test_settings_of_another_kind_are_refused():
    with pytest.raises(ss.InputError, match="a sparsity is named so"):
        ss.Static(0.9)
    with pytest.raises(ss.InputError, match="on_collapse is 'warn' or 'raise', not 'explode'"):
        ss.RigL(0.9, on_collapse="explode")


@pytest.mark.parametrize(
    ("make", "about"),
    [
        (lambda: ss.RigL(0.9, drop_fraction="a"), "drop_fraction is a number from 0 to 1"),
        (lambda: ss.RigL(0.9, update_until=-1.5), "update_until is a number from 0, not -1.5"),
        (lambda: ss.RigL(0.9, structure="2:4"), "A structure is a function"),
        (lambda: ss.RigL(0.9, distribution=None), "A distribution is a name or a function"),
        (lambda: ss.RigL(0.9, initial_mask="x"), "The mask is an ss.Mask"),
        (lambda: ss.OneShot(0.9, at=1.5), "at is a whole number"),  # no step is 1.5
        (lambda: ss.ACDC(0.9, begin=0, phase="a", end=5), "phase is a whole number"),
        (lambda: ss.GradualMagnitude(0.9, begin=1.5, end=5), "begin is a whole number"),
        (
            lambda: ss.GradualMagnitude(0.5, begin=0, end=5, initial_sparsity=0.9),
            "begins at a lower sparsity than it ends at",
        ),
        (lambda: ss.SNFS(0.9, smoothing=2), "smoothing is a number from 0 to 1"),
        (lambda: ss.DSR(0.9, threshold=-1), "threshold is a number from 0"),
        (lambda: ss.DeepR(0.9, temperature="a"), "temperature is a number from 0"),
        (lambda: ss.MEST(0.9, gradient_weight=float("nan")), "gradient_weight is a number from 0"),
        (lambda: ss.TopKAST(0.9, regularization="a"), "regularization is a number"),
        (lambda: ss.PowerPropagation(0.9, begin=0, end=3, alpha=0), "alpha is a number from 1"),
        (lambda: ss.STR(initial=float("nan")), "initial is a number, not nan"),
        (lambda: ss.GraSP(0.9, data=None, temperature=0), "temperature is a number above 0"),
        (lambda: ss.SRSTE(decay="a"), "decay is a number from 0"),
        (lambda: ss.NM(n=1.5), "1 to 4 can be kept, not 1.5"),
        (lambda: ss.ACDC(0.5, begin=5, phase=1, end=8, last_dense=4), "it cannot take 4"),
    ],
)
def test_settings_that_would_say_nothing_or_fail_later_are_refused(make, about):
    with pytest.raises(ss.InputError, match=about):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda sparsity: ss.Static(sparsity=sparsity),
        lambda sparsity: ss.RigL(sparsity),
        lambda sparsity: ss.OneShot(sparsity),
        lambda sparsity: ss.GraNet(0.99, initial_sparsity=sparsity, prune_until=5),
        lambda sparsity: ss.GradualMagnitude(0.99, initial_sparsity=sparsity, begin=0, end=5),
    ],
    ids=["static", "rigl", "one-shot", "granet", "gradual"],
)
def test_a_sparsity_is_a_number_of_whatever_library_from_0_to_below_1(make):
    for number in (np.float32(0.5), np.float64(0.5), Fraction(1, 2)):
        model = make_model()
        make(number).attach(model, torch.optim.SGD(model.parameters(), lr=0.1))
    for bad in (1.0, True, "0.9", torch.tensor(0.9), float("nan")):
        with pytest.raises(ss.InputError, match="Sparsity is a number from 0 to below 1, not"):
            make(bad)


@pytest.mark.parametrize("seed", ["a", 1.5, None, True])
def test_a_seed_is_a_whole_number(seed):
    for make in (lambda: ss.Static(sparsity=0.5, seed=seed), lambda: ss.SET(0.5, seed=seed)):
        with pytest.raises(ss.InputError, match="A seed is a whole number, not"):
            make()


def test_a_mask_of_what_is_to_stay_dense_is_refused_before_anything_moves():
    model = make_model()
    before = copy.deepcopy(model.state_dict())
    mask = ss.Mask.from_scores(ss.scores.magnitude(model), sparsity=0.5)
    with pytest.raises(ss.InputError, match="was to stay dense"):
        ss.Static(mask, dense=["0"]).attach(model, torch.optim.SGD(model.parameters(), lr=0.1))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_granet_ends_where_it_is_asked_to_below_its_initial_sparsity_too():
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    granet = ss.GraNet(0.3, prune_until=2, update_every=1).attach(model, optimizer)
    for _ in range(3):
        cross_entropy(model(X), Y).backward()
        optimizer.step()
        assert granet.mask.count == round(0.7 * granet.mask.total)


def test_one_list_of_patterns_serves_a_sparsifier_and_the_conversion():
    model = nn.Sequential(nn.Embedding(10, 20), nn.Linear(20, 30), nn.Linear(30, 5))
    ss.to_sparse(model, 0.0, dense=["0*", "2*"])
    assert [layer.weight.ndim for layer in model] == [2, 1, 2]


def test_the_state_of_another_method_is_refused():
    states = []
    for method in (ss.RigL(0.8), ss.SET(0.8)):
        model = make_model()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        states.append((method.attach(model, optimizer), method.state_dict()))
    (rigl, of_rigl), (_, of_set) = states
    with pytest.raises(ss.InputError, match="the state of SET, and RigL cannot go on from it"):
        rigl.load_state_dict(of_set)
    rigl.load_state_dict(of_rigl)


def test_a_score_at_initialization_is_a_function():
    with pytest.raises(ss.InputError, match=r"score_of is a function.*not 'magnitude'"):
        ss.AtInitialization(0.8, score_of="magnitude")


@pytest.mark.parametrize(
    ("make", "about"),
    [
        (lambda: nn.Sequential(nn.LazyLinear(4), nn.Linear(4, 2)), "'0.weight' has no shape yet"),
        (lambda: nn.Linear(4, 2, device="meta"), "'weight' has no numbers yet"),
    ],
)
@pytest.mark.parametrize("method", [ss.RigL, ss.OneShot])
def test_a_model_that_has_no_numbers_yet_is_refused(make, about, method):
    model = make()
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(2, 2))], lr=0.1)
    with pytest.raises(ss.InputError, match=about):
        method(0.5).attach(model, optimizer)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_a_weight_without_an_element_is_left_out():
    model = nn.Sequential(nn.Linear(0, 4), nn.Linear(4, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for method in (ss.RigL(0.5), ss.OneShot(0.5, structure=ss.structures.blocks(2, 2))):
        assert method.attach(model, optimizer).mask.counts == {"1.weight": 4}
        method.detach()


class Averaging(torch.optim.SGD):
    """As schedule-free ones: between training and evaluation it moves the weights."""

    def eval(self) -> None:
        raise AssertionError("Nobody calls it.")


def test_an_optimizer_that_moves_weights_between_steps_is_refused_where_they_are_only_shown():
    model = nn.Linear(4, 2)
    before = model.weight.detach().clone()
    optimizer = Averaging(model.parameters(), lr=0.1)
    with pytest.raises(ss.InputError, match=r"of which Averaging\.eval would make an average"):
        ss.TopKAST(0.5).attach(model, optimizer)
    assert torch.equal(model.weight, before)
    sparsifier = ss.RigL(0.5).attach(model, optimizer)
    with pytest.raises(ss.InputError, match="is what state_dict gave, not None"):
        sparsifier.load_state_dict(None)
