"""Data sets that are more than a pair of tensors: what every use of them sees."""

import multiprocessing

import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss

import sparsescape as ss
from sparsescape.data import Examples, Tensors, as_examples, reader
from sparsescape.seeds import Draw
from sparsescape.training.batches import Batches


class Noisy(Examples):
    """x and 2x for x from 0 to count − 1; x has noise in training."""

    size = 4

    def __init__(self, count=10, noise=0.5):
        self.count, self.noise = count, noise

    def __len__(self):
        return self.count

    def read(self, chosen, draw):
        return chosen.float()[:, None], 2 * chosen.float()[:, None]

    def finish(self, batch, draw):
        inputs, targets = batch
        draws = draw.generator("noise")
        return inputs + self.noise * torch.randn(inputs.shape, generator=draws), targets

    @property
    def plain(self):
        return Noisy(self.count, 0.0)


def test_in_order_it_is_all_of_it_without_augmentation_in_even_batches():
    batches = list(Noisy())
    assert [len(inputs) for inputs, _ in batches] == [4, 3, 3]
    assert torch.cat([inputs for inputs, _ in batches])[:, 0].tolist() == list(range(10))


def test_batches_are_augmented_anew_at_every_step_and_hang_on_it_alone():
    batches = Batches(Noisy(), batch_size=5, seed=3)
    seen = [batches(step) for step in range(6)]
    noise = [inputs - targets / 2 for inputs, targets in seen]
    assert all(n.abs().max() > 0 for n in noise)
    assert len({tuple(n.flatten().tolist()) for n in noise}) == 6
    again = Batches(Noisy(), batch_size=5, seed=3)
    for step in (4, 0, 5, 2):
        assert torch.equal(again(step)[0], seen[step][0])
    assert not torch.equal(Batches(Noisy(), batch_size=5, seed=4)(0)[0], seen[0][0])


def test_an_objective_is_over_the_plain_examples():
    model = nn.Linear(1, 1, bias=False)
    objective = ss.Objective(model, Noisy(), mse_loss)
    point = {"weight": torch.tensor([[1.0]])}
    assert objective.evaluate(point).count == 10
    assert objective(point) == pytest.approx(sum(x**2 for x in range(10)) / 10)
    assert isinstance(objective.examples(), Noisy)
    assert objective.examples().noise == 0


def test_a_curve_is_fitted_to_them_as_to_a_pair_of_tensors():
    ends = {"weight": torch.tensor([[1.0]])}, {"weight": torch.tensor([[3.0]])}
    x = torch.arange(4.0)[:, None]
    found = []
    for data in (Noisy(4), (x, 2 * x)):
        curve = ss.Bezier(*ends, degree=2)
        objective = ss.Objective(nn.Linear(1, 1, bias=False), data, mse_loss)
        ss.fit_curve(curve, objective, steps=5, lr=0.05, batch_size=3)
        found.append(curve.point(0.5)["weight"])
    assert torch.equal(*found)
    assert found[0].item() != 2.0


@pytest.mark.parametrize("data", [torch.ones(3), [1, 2], None, (torch.ones(2), [1, 2])])
def test_what_is_no_data_set_is_refused(data):
    with pytest.raises(ss.InputError, match=r"a pair of tensors or ss\.Examples"):
        as_examples(data)


def test_an_empty_data_set_is_refused():
    with pytest.raises(ss.InputError, match="empty"):
        as_examples(Noisy(0))


def test_statistics_of_a_test_are_those_of_the_training_set():
    model = nn.Sequential(nn.BatchNorm1d(1, affine=False), nn.Linear(1, 1, bias=False))
    model[1].weight.data.fill_(1.0)
    train = torch.tensor([[-2.0], [2.0]]), torch.zeros(2, 1)
    test = torch.tensor([[4.0], [8.0]]), torch.zeros(2, 1)
    found = ss.Objective(model, test, mse_loss, statistics=train)(model)
    deviation = 8**0.5  # torch's running variance is the unbiased one
    assert found == pytest.approx(((4 / deviation) ** 2 + (8 / deviation) ** 2) / 2, rel=1e-4)
    assert ss.Objective(model, test, mse_loss)(model) != pytest.approx(found, rel=0.1)


def made(number):
    return torch.full((2,), number), torch.arange(2)


def test_a_process_that_reads_ahead_gives_the_same_batches_from_any_step():
    random = torch.get_rng_state()
    read = reader(made, workers=1, stop=8)
    before = len(multiprocessing.active_children())
    for number, processes in ((3, 0), (4, 1), (5, 1), (3, 0), (4, 1)):  # none for one batch alone
        assert read(number)[0].tolist() == [number, number]
        assert len(multiprocessing.active_children()) - before == processes
    assert torch.equal(torch.get_rng_state(), random)
    assert reader(made, workers=0) is made


def test_a_pair_goes_to_a_device_whole():
    moved = Tensors(torch.ones(2, 3), torch.ones(2)).to("meta")
    assert (moved.inputs.device.type, moved.targets.device.type) == ("meta", "meta")
    assert Draw(0, 1).generator("a").initial_seed() != Draw(0, 1).generator("b").initial_seed()


def refused(number):
    if number > 3:
        raise ss.InputError(f"Batch {number} cannot be read.")
    return made(number)


def test_what_a_process_that_reads_ahead_refuses_is_said_in_the_same_sentence():
    read = reader(refused, workers=1, stop=8)
    read(3)
    with pytest.raises(ss.InputError, match=r"^Batch 4 cannot be read\.$"):
        read(4)
