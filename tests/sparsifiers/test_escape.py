"""Escape on a table worked by hand: what is opened, what is closed, when, and how many."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import sparsescape as ss

# Two layers of two weights' worth of mask each; 4 active, 8 closed.
WEIGHT = {"a": [[5.0, 0, 0], [0, -2, 0]], "b": [[0.0, 3, 0], [0, 0, 1]]}
GRADIENT = {"a": [[9.0, -4, 1], [2, 8, 0]], "b": [[7.0, 9, -3], [0, 5, 9]]}
ACTIVE = {name: torch.tensor(weight) != 0 for name, weight in WEIGHT.items()}


class Table(nn.Module):
    """Two weights with gradients of our choice."""

    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.tensor(WEIGHT["a"]))
        self.b = nn.Parameter(torch.tensor(WEIGHT["b"]))

    def forward(self):
        return sum((getattr(self, n) * torch.tensor(g)).sum() for n, g in GRADIENT.items())


class Run:
    """The table with a sparsifier on it, trained with SGD at a learning rate of 1/8."""

    def __init__(self, **settings):
        self.model = Table()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.125)
        self.escape = ss.Escape(**settings).attach(self.model, self.optimizer)

    def step(self):
        self.optimizer.zero_grad()
        self.model().backward()
        self.optimizer.step()
        return self

    @property
    def places(self):
        return {n: [tuple(p) for p in m.nonzero().tolist()] for n, m in self.escape.mask.items()}

    def counts(self, steps):
        return [self.step().escape.mask.count for _ in range(steps)]


def test_without_a_mask_it_starts_from_the_nonzero_weights():
    run = Run(open=1)
    assert run.escape.mask == ss.Mask(ACTIVE)


def test_a_mask_that_is_given_is_where_it_starts_even_at_weights_that_are_0():
    active = {**ACTIVE, "a": torch.ones(2, 3, dtype=torch.bool)}
    assert Run(mask=ss.Mask(active), open=1).escape.mask == ss.Mask(active)


def test_with_a_sparsity_the_largest_weights_of_each_layer_stay():
    run = Run(sparsity=2 / 3, open=1)
    assert run.escape.mask == ss.Mask(ACTIVE)
    run = Run(sparsity=5 / 6, open=1)
    assert run.places == {"a": [(0, 0)], "b": [(0, 1)]}


def test_it_opens_the_largest_gradients_of_all_layers_at_0():
    # Of what is closed |gradient| is 4, 1, 2, 0 in a and 7, 3, 0, 5 in b: the largest are 7, 5, 4.
    run = Run(open=3, hold_for=5, layers="free").step()
    assert run.places == {"a": [(0, 0), (0, 1), (1, 1)], "b": [(0, 0), (0, 1), (1, 1), (1, 2)]}
    assert run.model.a[0, 1] == run.model.b[0, 0] == run.model.b[1, 1] == 0


def test_a_share_is_of_the_closed_weights():
    assert Run(open=0.5, hold_for=5).counts(1) == [4 + 4]  # of 8
    assert Run(open=0.01, hold_for=5).counts(1) == [4 + 1]  # one at least
    assert Run(open=1.0, hold_for=5).counts(1) == [12]


def test_as_many_can_be_opened_as_are_closed_and_no_more():
    assert Run(open=8, hold_for=5).counts(1) == [12]
    with pytest.raises(ss.InputError, match=r"^9 weights .* and 8 are closed; open=1\.0 opens all"):
        Run(open=9, hold_for=5)


@pytest.mark.parametrize("opened", [1, 0.003, 1.0])
@pytest.mark.parametrize("how", [{}, {"sparsity": 0.0}, {"mask": "dense"}])
def test_where_nothing_is_closed_there_is_nothing_to_open(opened, how):
    if "mask" in how:
        how = {"mask": ss.Mask({n: torch.ones_like(a) for n, a in ACTIVE.items()})}
    model = Table()
    with torch.no_grad():
        for weight in model.parameters():
            weight.fill_(2.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.125)
    with pytest.raises(ss.InputError, match=r"^No weight is closed"):
        ss.Escape(**how, open=opened).attach(model, optimizer)
    assert all(bool((weight == 2.0).all()) for weight in model.parameters())
    ss.Static(sparsity=0.5).attach(model, optimizer)  # nothing of the first one is left behind


def test_what_was_opened_is_judged_by_what_it_became():
    # After the opening two steps of 1/8 move: a: 5 − 3·9/8 = 1.625, −2 − 3·8/8 = −5, the opened
    # 0 + 2·4/8 = 1; b: 3 − 3·9/8 = −0.375, 1 − 3·9/8 = −2.375, the opened −2·7/8 = −1.75 and
    # −2·5/8 = −1.25. Of the seven, −0.375, 1 and −1.25 are the smallest.
    run = Run(open=3, hold_for=2, layers="free")
    assert run.counts(3) == [7, 7, 4]
    assert run.places == {"a": [(0, 0), (1, 1)], "b": [(0, 0), (1, 2)]}
    assert run.model.a.tolist() == [[1.625, 0, 0], [0, -5, 0]]
    assert run.model.b.tolist() == [[-1.75, 0, 0], [0, 0, -2.375]]


def test_layers_that_are_kept_open_in_proportion_and_get_back_to_their_own_counts():
    # a and b have 2 weights each: of 4 opened, each opens its 2 of largest |gradient|.
    run = Run(open=4, hold_for=1).step()
    assert run.places == {
        "a": [(0, 0), (0, 1), (1, 0), (1, 1)],
        "b": [(0, 0), (0, 1), (1, 1), (1, 2)],
    }
    shrink(run)
    assert run.step().escape.mask.counts == {"a": 2, "b": 2}


def test_layers_that_are_free_are_pruned_together():
    run = Run(open=4, hold_for=1, layers="free").step()  # 7 and 5 in b, 4 and −3: one in each
    assert run.escape.mask.counts == {"a": 3, "b": 5}
    shrink(run)
    with pytest.warns(ss.LayerCollapse, match="'a' has lost all its weights"):
        run.step()
    assert run.escape.mask.counts == {"a": 0, "b": 4}


def shrink(run):
    """Let every weight of a be smaller than any of b, and stay where it is."""
    with torch.no_grad():
        run.optimizer.param_groups[0]["lr"] = 0.0
        run.model.a.mul_(1e-3)
        run.model.b.copy_(torch.where(run.escape.mask["b"], 1.0, 0.0))


def test_it_prunes_back_along_the_cubic():
    # 8 opened; shares (1 − p/4)³ = 1, .4219, .125, .0156, 0 of them: 8, 3, 1, 0, 0.
    run = Run(open=1.0, hold_for=2, prune_for=4, layers="free")
    assert run.counts(8) == [12, 12, 12, 7, 5, 4, 4, 4]
    run = Run(open=1.0, hold_for=2, prune_for=4, prune_every=3, layers="free")
    assert run.counts(8) == [12, 12, 12, 12, 12, 4, 4, 4]  # at 0, 3 and the last
    # Layer by layer, 4 opened in each: 4, 2, ½ (to the even), 0.
    assert Run(open=1.0, hold_for=2, prune_for=4).counts(6) == [12, 12, 12, 8, 4, 4]


def test_rounds_open_less_and_less_along_a_cosine():
    # Shares (1 + cos(π·r/3))/2 = 1, 0.75, 0.25 of 4: 4, 3, 1.
    run = Run(open=4, hold_for=2, rounds=3, every=3, at=2)
    assert run.counts(12) == [4, 8, 8, 4, 7, 7, 4, 5, 5, 4, 4, 4]


def test_a_round_may_begin_where_the_one_before_it_ends():
    run = Run(open=4, hold_for=2, rounds=3)
    assert run.counts(9) == [8, 8, 7, 7, 5, 5, 4, 4, 4]


def test_only_the_steps_that_open_need_the_dense_gradient():
    escape = ss.Escape(open=1, hold_for=2, rounds=2, every=4, at=3)
    assert [step for step in range(1, 20) if escape.wants_gradient(step)] == [3, 7]


@settings(max_examples=30, deadline=None)
@given(
    k=st.integers(1, 8),
    hold=st.integers(1, 4),
    prune=st.integers(0, 4),
    every=st.integers(1, 3),
    gap=st.integers(0, 3),
    rounds=st.integers(1, 4),
    layers=st.sampled_from(["free", "kept"]),
)
@pytest.mark.filterwarnings("ignore::sparsescape.LayerCollapse")
def test_every_round_ends_at_the_count_there_was(k, hold, prune, every, gap, rounds, layers):
    length = hold + prune + gap
    run = Run(
        open=k, hold_for=hold, prune_for=prune, prune_every=every, rounds=rounds, every=length,
        layers=layers,
    )  # fmt: skip
    counts = run.counts(rounds * length + 3)
    assert min(counts) == 4
    assert max(counts) == 4 + k
    assert counts[rounds * length - gap :] == [4] * (gap + 3)
    if layers == "kept":
        assert run.escape.mask.counts == {"a": 2, "b": 2}


@pytest.mark.parametrize(
    ("given_settings", "message"),
    [
        ({"mask": ss.Mask(ACTIVE), "sparsity": 0.5}, "a mask or a sparsity, not both"),
        ({"sparsity": 1.0}, "from 0 to below 1"),
        ({"open": 0}, "At least 1 weight is opened, not 0"),
        ({"open": "many"}, "a count or a share, not 'many'"),
        ({"open": True}, "a count or a share, not True"),
        ({"hold_for": 1.5}, "hold_for is a whole number"),
        ({"open": 1.5}, "above 0 and at most 1, not 1.5"),
        ({"open": float("nan")}, "above 0 and at most 1, not nan"),
        ({"hold_for": 0}, "hold_for is a whole number from 1 on"),
        ({"prune_for": -1}, "prune_for is a whole number from 0 on"),
        ({"at": 0}, "at is a whole number from 1 on"),
        ({"rounds": 0}, "rounds is a whole number from 1 on"),
        ({"hold_for": 3, "prune_for": 2, "every": 4}, "takes 5 steps.* cannot begin after 4"),
        ({"layers": "all"}, "free or kept, not 'all'"),
        ({"distribution": "normal"}, "distribution"),
    ],
)
def test_what_makes_no_sense_is_refused(given_settings, message):
    with pytest.raises(ss.InputError, match=message):
        ss.Escape(**given_settings)


def test_rigl_goes_on_from_a_mask_that_is_given():
    model = Table()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.125)
    rigl = ss.RigL(0.9, initial_mask=ss.Mask(ACTIVE), update_every=1, update_until=9)
    rigl.attach(model, optimizer)
    assert rigl.mask == ss.Mask(ACTIVE)
    model().backward()
    optimizer.step()
    assert rigl.mask.counts == {"a": 2, "b": 2}
    with pytest.raises(ss.InputError, match="takes no initial mask"):
        ss.GraNet(0.9, prune_until=3, initial_mask=ss.Mask(ACTIVE))
