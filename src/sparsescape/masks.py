"""Masks: coordinate subspaces of weight space, which weights may be nonzero."""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .errors import InputError, shown
from .points import PointLike, as_point, named_weights, plain_name
from .positions import Positions
from .selection import has_nan, keep_count, top

_FORMAT = "sparsescape.mask/1"


class Mask(Mapping[str, Tensor]):
    """Which weights may be nonzero: a frozen mapping from weight names to bool tensors.

    A mask is a coordinate subspace of weight space: all points that are 0 wherever it is
    ``False``. A parameter that the mask does not name is free in it. Positions are held as a bool
    tensor or as sorted flat indices, whichever is smaller; ``mask[name]`` is a bool tensor of the
    weight's shape either way, a copy that may be changed.

    ``a | b``, ``a & b`` and ``~a`` are union, intersection and complement, weight by weight; both
    sides must name the same weights.

    Args:
        active: weight name → bool tensor of the weight's shape, ``True`` where active, or
            :class:`~sparsescape.positions.Positions`.

    Raises:
        InputError: a value is neither.

    >>> mask = Mask({"0.weight": torch.tensor([[True, False], [False, False]])})
    >>> mask.count, mask.total, mask.density, mask.sparsity
    (1, 4, 0.25, 0.75)
    >>> (~mask).count
    3
    >>> (mask | ~mask).sparsity
    0.0
    """

    def __init__(self, active: Mapping[str, Tensor] | Mapping[str, Tensor | Positions]):
        self._positions = {plain_name(n): _positions(n, active) for n in active}

    # ------------------------------------------------------------------ making one

    @classmethod
    def from_indices(
        cls, indices: Mapping[str, Tensor], shapes: Mapping[str, torch.Size | tuple[int, ...]]
    ) -> Mask:
        """A mask from the flat indices of the active weights; nothing dense is made.

        Args:
            indices: weight name → integers in [0, numel), in any order, none twice.
            shapes: weight name → shape of the weight.

        Raises:
            InputError: names differ, or an index is out of range or stands twice.

        >>> Mask.from_indices({"w": torch.tensor([5, 0])}, {"w": (2, 3)})["w"].int().tolist()
        [[1, 0, 0], [0, 0, 1]]
        """
        if indices.keys() != shapes.keys():
            raise InputError("Indices and shapes must name the same weights.")
        mask = cls({})
        for name, flat in indices.items():
            shape, flat = torch.Size(shapes[name]), flat.reshape(-1).sort().values
            size = shape.numel()
            if flat.numel() and (flat[0] < 0 or flat[-1] >= size):
                raise InputError(f"An index of {name!r} is outside its {size} weights.")
            if (flat[1:] == flat[:-1]).any():
                raise InputError(f"An index of {name!r} stands twice.")
            mask._positions[name] = Positions.at(flat, shape)
        return mask

    @classmethod
    def from_scores(
        cls,
        scores: Mapping[str, Tensor],
        *,
        densities: Mapping[str, float] | None = None,
        sparsity: float | None = None,
    ) -> Mask:
        """Keep the weights with the highest scores, exactly as many as asked for.

        With ``densities``, weight tensor l of n_l weights loses round((1 − d_l)·n_l) of them, as
        in ``torch.nn.utils.prune``; a weight that ``densities`` does not name is not in the mask.
        With ``sparsity``, one threshold serves all tensors (global): round(sparsity·Σ n_l) weights
        are closed. Equal scores go to the lower flat index, in the order of the names.

        Args:
            scores: weight name → score of each weight, of the weight's shape; higher is kept.
            densities: weight name → share of weights to keep, in [0, 1].
            sparsity: share of all weights to close, in [0, 1].

        Raises:
            InputError: both or neither of ``densities`` and ``sparsity``; one outside [0, 1];
                a density without scores; a score that is NaN.

        >>> scores = {"a": torch.tensor([[1., 4.]]), "b": torch.tensor([[3., 2.]])}
        >>> mask = Mask.from_scores(scores, sparsity=0.5)
        >>> {name: active.tolist() for name, active in mask.items()}
        {'a': [[False, True]], 'b': [[True, False]]}
        """
        if (densities is None) == (sparsity is None):
            raise InputError("Give either densities (per layer) or sparsity (one threshold).")
        for name, score in scores.items():
            if has_nan(score):
                raise InputError(f"The scores of {name!r} contain NaN.")
        if densities is None:
            assert sparsity is not None
            return cls._from_one_threshold(scores, sparsity)
        missing = [name for name in densities if name not in scores]
        if missing:
            raise InputError(f"There are no scores for {missing[0]!r}.")
        kept = {n: keep_count(scores[n].numel(), 1 - d) for n, d in densities.items()}
        return cls({n: top(scores[n], k) for n, k in kept.items()})

    @classmethod
    def _from_one_threshold(cls, scores: Mapping[str, Tensor], sparsity: float) -> Mask:
        flat = torch.cat([score.detach().reshape(-1) for score in scores.values()])
        active = top(flat, keep_count(flat.numel(), sparsity))
        parts = active.split([score.numel() for score in scores.values()])
        return cls({n: p.reshape(scores[n].shape) for n, p in zip(scores, parts, strict=True)})

    @classmethod
    def of(cls, model: PointLike) -> Mask:
        """Where the weights (parameters of two dimensions or more) are nonzero now."""
        return cls({name: w.detach() != 0 for name, w in named_weights(model).items()})

    # ------------------------------------------------------------------ reading it

    def __getitem__(self, name: str) -> Tensor:
        return self._positions[name].as_bool()

    def __iter__(self) -> Iterator[str]:
        return iter(self._positions)

    def __len__(self) -> int:
        return len(self._positions)

    def __contains__(self, name: object) -> bool:
        return name in self._positions

    def indices(self, name: str) -> Tensor:
        """The active positions of one weight as sorted flat indices (int64)."""
        return self._positions[name].as_indices()

    def positions(self, name: str) -> Positions:
        """The active positions of one weight as they are held; nothing dense is made of them."""
        return self._positions[name]

    @property
    def shapes(self) -> dict[str, torch.Size]:
        return {name: p.shape for name, p in self._positions.items()}

    @property
    def counts(self) -> dict[str, int]:
        """Weight name → number of active weights."""
        return {name: p.count for name, p in self._positions.items()}

    @property
    def densities(self) -> dict[str, float]:
        """Weight name → share of active weights."""
        return {n: p.count / max(p.shape.numel(), 1) for n, p in self._positions.items()}

    @property
    def count(self) -> int:
        """Number of active weights."""
        return sum(p.count for p in self._positions.values())

    @property
    def total(self) -> int:
        """Number of weights, active or not."""
        return sum(p.shape.numel() for p in self._positions.values())

    @property
    def density(self) -> float:
        return self.count / self.total if self.total else 1.0

    @property
    def sparsity(self) -> float:
        return 1 - self.count / self.total if self.total else 0.0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mask):
            return NotImplemented
        return self.shapes == other.shapes and all(
            torch.equal(self.indices(n).cpu(), other.indices(n).cpu()) for n in self
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Mask({self.count} of {self.total} weights active, sparsity {self.sparsity:.4f})"

    # ------------------------------------------------------------------ algebra

    def __or__(self, other: Mask) -> Mask:
        return self._with(other, operator.or_)

    def __and__(self, other: Mask) -> Mask:
        return self._with(other, operator.and_)

    def __invert__(self) -> Mask:
        return Mask({name: ~active for name, active in self.items()})

    def _with(self, other: Mask, combine: Callable[[Positions, Positions], Positions]) -> Mask:
        if not isinstance(other, Mask):
            return NotImplemented
        if self.shapes != other.shapes:
            differ = {n for n, _ in self.shapes.items() ^ other.shapes.items()}
            raise InputError(f"The two masks do not name the same weights: {sorted(differ)}.")
        return Mask({n: combine(p, other.positions(n)) for n, p in self._positions.items()})

    # ------------------------------------------------------------------ use

    @torch.no_grad()
    def apply_(self, model: PointLike) -> None:
        """Set the closed weights of a model, or of a point, to exactly 0, in place.

        Raises:
            InputError: the mask does not fit the model; nothing was changed then.
        """
        self.check(model)
        point = as_point(model)
        for name in self:
            point[name].masked_fill_(~self[name].to(point[name].device), 0)

    def check(self, model: PointLike) -> None:
        """Raise :class:`InputError` unless every weight the mask names is there, in its shape."""
        point = as_point(model)
        for name, shape in self.shapes.items():
            if name not in point:
                raise InputError(f"The mask does not fit: the model has no weight {name!r}.")
            if point[name].shape != shape:
                raise InputError(
                    f"The mask does not fit: {name!r} is {tuple(point[name].shape)} "
                    f"in the model and {tuple(shape)} in the mask."
                )

    def check_contains(self, point: PointLike, what: str = "The point") -> None:
        """Raise :class:`InputError` unless the point lies in this subspace."""
        self.check(point)
        values = as_point(point)
        for name in self:
            outside = int((values[name][~self[name].to(values[name].device)] != 0).sum())
            if outside:
                raise InputError(
                    f"{what} is outside the subspace: {outside} weights of {name!r} "
                    "that the mask closes are not 0."
                )

    def save(self, path: str | Path) -> None:
        """Write the mask as one safetensors file (int32 or int64 indices, or bool tensors)."""
        from safetensors.torch import save_file

        held = {name: p.held.contiguous() for name, p in self._positions.items()}
        shapes = json.dumps({name: list(shape) for name, shape in self.shapes.items()})
        # One entry only: safetensors writes several in an order that changes from run to run.
        save_file(held, str(path), metadata={_FORMAT: shapes})

    @classmethod
    def load(cls, path: str | Path) -> Mask:
        """Read a mask that :meth:`save` wrote.

        Raises:
            InputError: the file is not a mask.
        """
        from safetensors import SafetensorError, safe_open

        try:
            opened = safe_open(str(path), framework="pt")
        except (SafetensorError, OSError) as error:
            raise InputError(f"{path} is not a mask: {error}.") from error
        with opened as file:
            metadata = file.metadata() or {}
            if _FORMAT not in metadata:
                raise InputError(f"{path} is not a mask.")
            mask = cls({})
            for name, shape in json.loads(metadata[_FORMAT]).items():
                mask._positions[name] = Positions(torch.Size(shape), file.get_tensor(name))
        return mask


def _positions(name: str, active: Mapping[str, Any]) -> Positions:
    given = active.positions(name) if isinstance(active, Mask) else active[name]
    if isinstance(given, Positions):
        return given
    if not isinstance(given, Tensor) or given.dtype != torch.bool:
        kind = getattr(given, "dtype", type(given).__name__)
        raise InputError(f"A mask holds bool tensors; {name!r} is {kind}.")
    return Positions.of(given)


def check_mask(mask: object) -> None:
    """Raise :class:`InputError` for anything but a mask, or None for all of weight space."""
    if mask is not None and not isinstance(mask, Mask):
        raise InputError(f"The mask is an ss.Mask, not {shown(mask)}.")
