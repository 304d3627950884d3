"""A search that is interrupted goes on to the same bits, whatever its methods do and keep."""

import pytest
import torch

import sparsescape as ss
from helpers import at, bits, on_the_plane
from sparsescape.landscape.search.fit import Search
from sparsescape.training.checkpoints import Checkpoint

ENDS = at(-1.0, 0.0), at(1.0, 0.0)
ALONG = ss.Mask.of(ENDS[0])  # y is closed
ONE = Search(1, 1, 1, diverged=False)


class Bent(ss.PolygonalChain):
    """A kind of somebody's own."""

    def coefficients(self, t):
        return super().coefficients(t * t)


class Bends:
    """The method that bends the path, and keeps a curve in the file it is given."""

    def __init__(self, kind, **shape):
        self.kind, self.shape = kind, shape

    def search(self, best, objective, *, seed, checkpoint=None):
        curve = self.kind(best.start, best.end, bends=1, **self.shape)
        with torch.no_grad():
            curve.control.add_(0.25)
        if checkpoint is not None:
            assert "curve" in (checkpoint.load() or {"curve": None})  # its own, or nothing
            checkpoint.save({"curve": curve.control})
        return curve, ONE


class Stops:
    """The method that is interrupted at first."""

    interruptions = 0

    def search(self, best, objective, *, seed, checkpoint=None):
        if self.interruptions:
            self.interruptions -= 1
            raise KeyboardInterrupt
        return best, ONE


@pytest.mark.parametrize(
    "bends",
    [
        Bends(ss.PolygonalChain, subspace=ALONG),
        Bends(ss.PolygonalChain),
        Bends(Bent, subspace=ALONG),
    ],
    ids=["held in the subspace", "held in none", "of its own kind"],
)
@pytest.mark.parametrize("within", [False, True], ids=["after", "within"])
def test_what_methods_of_ones_own_made_is_the_same_after_an_interruption(tmp_path, bends, within):
    hill = on_the_plane(lambda w: torch.exp(-(w[0] ** 2) - w[1] ** 2) - 0.1 * w[0])
    stops = Stops()

    def found(checkpoint=None):
        trials = [bends, stops]
        return ss.find_path(*ENDS, hill, subspace=ALONG, trials=trials, checkpoint=checkpoint)

    whole = found()
    kept = Checkpoint(tmp_path / "path.safetensors", 0.0)
    stops.interruptions = 1
    with pytest.raises(KeyboardInterrupt):
        found(kept)
    if within:  # what it keeps of itself, as if it had been interrupted later on
        kept.part(0).save({"curve": torch.ones(1)})
    again = found(kept)
    assert (again.attempts, again.profile) == (whole.attempts, whole.profile)
    assert type(again.curve) is type(whole.curve)
    assert bits(again.curve.point(0.4)) == bits(whole.curve.point(0.4))
    assert not list(tmp_path.iterdir())
