"""At initialization: the mask is chosen once, before training, from the network and some data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .. import scores
from ..errors import InputError, check_within, is_whole
from ..masks import Mask
from ..objective import Loss
from ..selection import rankable
from .base import Active, Sparsifier
from .shards import gathered, unwrapped
from .static import check_sparsity


@dataclass(eq=False)
class Foresight(Sparsifier):
    """The template: keep the weights of highest score, one threshold for all layers.

    A method is :meth:`score`. With more than one ``rounds`` the mask is reached in steps of
    density (1 − sparsity)^(k/rounds), k = 1, 2, …, and each time scored at what the mask has left.

    Args:
        sparsity: share of weights to close, over all layers together.
        rounds: in how many the mask is reached.
        dense, on_collapse: as for every :class:`Sparsifier`.
    """

    sparsity: float
    _: KW_ONLY
    rounds: int = 1

    regrows: ClassVar[bool] = False
    """Whether what a round has closed may come back."""
    runs_model: ClassVar[bool] = True
    """Whether a score needs the model's outputs, and not its weights alone."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sparsity(self.sparsity)
        if not is_whole(self.rounds, 1):
            raise InputError(f"There is at least 1 round, not {self.rounds}.")

    def score(self, model: Any, mask: Mask) -> scores.Scores:
        """The score of each weight of the model with the mask; higher is kept."""
        raise NotImplementedError

    def first_mask(self, model: nn.Module) -> Active:
        mask = Mask(super().first_mask(model))
        scored = gathered(unwrapped(model))
        if self.runs_model and not isinstance(scored, nn.Module):
            raise InputError(
                f"{type(self).__name__} scores a whole model: attach it before sharding, and to "
                "the sharded one ss.Static with the mask that it found."
            )
        for k in range(1, self.rounds + 1):
            density = (1 - self.sparsity) ** (k / self.rounds)
            found = {n: s for n, s in self.score(scored, mask).items() if n in mask}
            if not self.regrows:
                found = {n: _lowest_outside(s, mask[n]) for n, s in found.items()}
            mask = Mask.from_scores(found, sparsity=1 - density)
        return mask


def _lowest_outside(score: Tensor, active: Tensor) -> Tensor:
    score = rankable(score)
    return score.masked_fill(~active.to(score.device), torch.finfo(score.dtype).min)


@dataclass(eq=False)
class SynFlow(Foresight):
    """SynFlow: iterative synaptic flow pruning, without data.

    100 rounds of :func:`sparsescape.scores.synflow`, to density (1 − sparsity)^(k/100) in round k,
    each at what the mask has left (Tanaka et al. 2020, *Pruning neural networks without any data
    by iteratively conserving synaptic flow*, section 6, Algorithm 1; the same as ``SynFlow`` in
    the authors' ``pruners.py``).

    Args:
        inputs: one batch of inputs; only its shape is used.

    >>> import torch
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> SynFlow(0.75, inputs=torch.ones(1, 4)).attach(model, optimizer).mask.count
    12
    """

    _: KW_ONLY
    inputs: Any
    rounds: int = 100

    def score(self, model: Any, mask: Mask) -> scores.Scores:
        if not isinstance(self.inputs, Tensor):
            kind = type(self.inputs).__name__
            raise InputError(f"SynFlow's inputs are one batch of them, a tensor, not a {kind}.")
        return scores.synflow(model, self.inputs, mask=mask)


@dataclass(eq=False)
class _WithData(Foresight):
    """What scores that need data share.

    Args:
        data: ``(inputs, targets)``, or an iterable of such batches; the gradient is that of all.
        loss: ``loss(outputs, targets)``, the mean over a batch.
    """

    _: KW_ONLY
    data: Any
    loss: Loss = F.cross_entropy


@dataclass(eq=False)
class SNIP(_WithData):
    """SNIP: keep the connections whose removal changes the loss most, |w·∂L/∂w|.

    Lee et al. 2019, *SNIP: Single-shot Network Pruning based on Connection Sensitivity*, section 4
    and Algorithm 1. The authors' ``model.py`` divides all scores by their sum, which leaves the
    order as it is, and scores biases too, which are never sparse here.

    Args:
        sparsity: share of weights to close, over all layers together.
        data: ``(inputs, targets)``, or an iterable of such batches; the gradient is that of all.
        loss: ``loss(outputs, targets)``, the mean over a batch.
        rounds: 1 is the paper's; more is iterative SNIP, in which a weight that was closed stays
            so (de Jorge et al. 2021, *Progressive Skeletonization*, section 4).

    >>> import torch
    >>> model = nn.Linear(4, 2)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> data = torch.randn(5, 4), torch.tensor([0, 1, 0, 1, 1])
    >>> SNIP(sparsity=0.75, data=data).attach(model, optimizer).mask.count
    2
    """

    def score(self, model: Any, mask: Mask) -> scores.Scores:
        return scores.snip(model, self.data, self.loss, mask=mask)


@dataclass(eq=False)
class FORCE(SNIP):
    """FORCE: iterative SNIP in which closed weights may come back.

    Each round scores all weights, |w·∂L/∂w| with the gradient at the network that the last
    round's mask leaves, on an exponential schedule (de Jorge et al. 2021, *Progressive
    Skeletonization: Trimming More Fat from a Network at Initialization*, section 4 and
    Algorithm 1; the same as ``iterative_pruning`` in the authors' ``pruning_algos.py``, but that
    the data are the same in every round, where theirs draws a batch for each).

    Args:
        rounds: in how many the mask is reached; a weight that was closed may come back.
        sparsity, data, loss, dense, on_collapse: as in :class:`SNIP`.
    """

    _: KW_ONLY
    rounds: int = 60

    regrows: ClassVar[bool] = True


@dataclass(eq=False)
class GraSP(_WithData):
    """GraSP: keep the connections without which the gradient flow would be least, w·(H·g).

    Wang et al. 2020, *Picking Winning Tickets Before Training by Preserving Gradient Flow*,
    section 4, Algorithms 1 and 2. Other arguments as of :class:`SNIP`. The authors' ``GraSP.py``
    has the other sign and removes the highest, which is the same; it draws the linear layers anew
    before it scores them, which the paper does not mention and this does not do.

    Args:
        temperature: what outputs are divided by before the loss; 200 is the authors'.
    """

    _: KW_ONLY
    temperature: float = 200.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_within(temperature=self.temperature)
        if self.temperature <= 0:
            raise InputError(f"temperature is a number above 0, not {self.temperature!r}.")

    def score(self, model: Any, mask: Mask) -> scores.Scores:
        if not callable(self.loss):
            raise InputError(f"The loss is a function of outputs and targets, not {self.loss!r}.")

        def softened(outputs: Tensor, targets: Tensor) -> Tensor:
            return self.loss(outputs / self.temperature, targets)

        return scores.grasp(model, self.data, softened, mask=mask)


ScoreOf = Callable[..., scores.Scores]


@dataclass(eq=False)
class AtInitialization(Foresight):
    """Any score of :mod:`sparsescape.scores` that needs a model alone: magnitude, random, lamp.

    One threshold for all layers, before training, as Frankle et al. 2021, *Pruning Neural Networks
    at Initialization: Why Are We Missing the Mark?*, sections 3 and 4, compare
    random pruning and pruning by magnitude with :class:`SNIP` and others.

    Args:
        score_of: the score, a function of the model: weight name → tensor; the highest are kept.

    >>> import torch
    >>> model = nn.Linear(4, 2)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> AtInitialization(0.75, score_of=scores.magnitude).attach(model, optimizer).mask.count
    2
    """

    _: KW_ONLY
    score_of: ScoreOf

    runs_model: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(self.score_of):
            raise InputError(
                f"score_of is a function, as ss.scores.magnitude, not {self.score_of!r:.60}."
            )

    def score(self, model: Any, mask: Mask) -> scores.Scores:
        found = self.score_of(model)
        check_scores(found, mask)
        return found


def check_scores(found: object, mask: Mask) -> None:
    """Refuse what is no score for each number of each weight of the mask."""
    missing = set(mask) - set(found) if isinstance(found, Mapping) else set(mask)
    if not isinstance(found, Mapping) or missing:
        raise InputError(f"score_of says no score for {min(missing)!r}.")
    for name, shape in mask.shapes.items():
        score = found[name]
        if not isinstance(score, Tensor) or score.shape != shape:
            said = f"one of {tuple(score.shape)}" if isinstance(score, Tensor) else repr(score)[:60]
            raise InputError(f"The score of {name!r} is a tensor of {tuple(shape)}, not {said}.")
