"""Permutation alignment: the relabelling of one network's units that brings it nearest to another.

Ainsworth, Hayase & Srinivasa 2023, *Git Re-Basin: Merging Models modulo Permutation Symmetries*.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ...errors import InputError, is_whole
from ...masks import Mask, check_mask
from ...points import Point, PointLike, as_point, is_statistic, snapshot
from ...seeds import generator
from .units import Axis, Units, find_units


@dataclass(frozen=True)
class Alignment:
    """A relabelling of hidden units, and the point that it leads to."""

    point: Point = field(repr=False)
    """The same function as the point given, its units relabelled."""
    units: tuple[Units, ...]
    permutations: tuple[Tensor, ...]
    """For each of ``units``: unit i is now what unit ``permutation[i]`` was."""

    @property
    def moved(self) -> int:
        """How many units have another place than before; 0 is the identity."""
        return sum(int((p != torch.arange(len(p))).sum()) for p in self.permutations)

    def relabel(self, point: PointLike) -> Point:
        """Any other point, its units relabelled in the same way."""
        return _permuted(snapshot(point), self.units, self.permutations)

    def carry(self, mask: Mask) -> Mask:
        """The mask, relabelled in the same way: the point's own mask goes where its weights go."""
        return Mask(_permuted(dict(mask.items()), self.units, self.permutations))


def align(
    reference: PointLike,
    point: PointLike,
    model: nn.Module | None = None,
    *,
    inputs: Tensor | None = None,
    subspace: Mask | None = None,
    rounds: int = 100,
    seed: int = 0,
) -> Alignment:
    """Relabel the hidden units of a network so that it comes as near to another as it can.

    What the network computes stays the same, up to the rounding of sums in another order.

    - Without ``inputs``, by *weight matching* (section 3.2 and algorithm 1): maximize
      ⟨θ_reference, π(θ)⟩ over relabellings π, which minimizes ‖θ_reference − π(θ)‖; layer by layer,
      each a linear assignment with all others held, in random order until no layer gains. A local
      optimum: over all layers at once the problem is NP-hard.
    - With them, by *activation matching* (section 3.1): of each layer's units, the assignment
      that maximizes Σ ⟨z_reference, z⟩ over what the next layer is given for these inputs.

    With ``subspace``, only relabellings that keep the mask: two units may change places where
    their patterns in the mask are equal, entry by entry, in every parameter that they lie along
    (the weights that come in and those that go out). That is an equivalence, so units are assigned
    within its classes. Relabellings of several layers that keep the mask only together are not
    tried. Where no two units have the same pattern it is the identity. Without ``subspace`` every
    relabelling is allowed, and :meth:`Alignment.carry` takes the point's own mask along.

    Args:
        reference: where to go near to; not changed.
        point: what is relabelled; not changed, the result is a copy.
        model: the network, where neither of the two is one; its units are found by tracing it
            (:func:`sparsescape.landscape.alignment.units.find_units`).
        inputs: of the network, for activation matching.
        subspace: the mask to keep.
        rounds: of all layers, at most.
        seed: decides the order in which layers are taken.

    Raises:
        InputError: there is no model, its units cannot be found, or a point does not fit it or is
            not finite.

    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> swapped = copy.deepcopy(model)
    >>> with torch.no_grad():
    ...     for p in (swapped[0].weight, swapped[0].bias): _ = p.copy_(p[[2, 0, 1]])
    ...     _ = swapped[2].weight.copy_(swapped[2].weight[:, [2, 0, 1]])
    >>> align(model, swapped).permutations
    (tensor([1, 2, 0]),)
    """
    check_mask(subspace)
    if not is_whole(rounds, 0):
        raise InputError(f"Rounds are 0 or more, and whole, not {rounds}.")
    network = next((m for m in (model, point, reference) if isinstance(m, nn.Module)), None)
    if network is None:
        raise InputError("To find the units of two points, align needs the model as well.")
    units = tuple(find_units(getattr(network, "_orig_mod", network)))
    ours, theirs = as_point(point), as_point(reference)
    for what, given in (("point", ours), ("reference", theirs)):
        _check(given, network, what)
    if subspace is not None:
        subspace.check(ours)
    classes = [_interchangeable(each, subspace) for each in units]
    if inputs is None:
        found = _by_weights(theirs, ours, units, classes, rounds, seed)
    else:
        found = _by_activations(theirs, ours, network, inputs, units, classes)
    return Alignment(_permuted(snapshot(ours), units, found), units, tuple(found))


def _check(point: Point, network: nn.Module, what: str) -> None:
    for name, parameter in as_point(dict(network.named_parameters())).items():
        if name not in point or point[name].shape != parameter.shape:
            raise InputError(f"The {what} has no {name!r} of shape {tuple(parameter.shape)}.")
        if not point[name].isfinite().all():
            raise InputError(f"The {what} has numbers in {name!r} that are not finite.")


# ---------------------------------------------------------------------- what may move


def _interchangeable(units: Units, mask: Mask | None) -> list[Tensor]:
    """The classes of units that may change places, each as its units in ascending order."""
    if mask is None:
        return [torch.arange(units.size)]
    patterns = [
        _by_unit(mask[axis.name], axis, units.size) for axis in units.axes if axis.name in mask
    ]
    if not patterns:
        return [torch.arange(units.size)]
    _, which = torch.unique(torch.cat(patterns, dim=1), dim=0, return_inverse=True)
    return [(which == k).nonzero().flatten() for k in range(int(which.max()) + 1)]


def _by_unit(tensor: Tensor, axis: Axis, size: int) -> Tensor:
    """(units, all that belongs to one unit)."""
    here = tensor.narrow(axis.dim, axis.start, size * axis.repeat)
    return here.movedim(axis.dim, 0).reshape(size, -1)


# ---------------------------------------------------------------------- permuting


def _permuted(
    point: Mapping[str, Tensor], units: Sequence[Units], permutations: Sequence[Tensor]
) -> Point:
    found = dict(point)
    for each, permutation in zip(units, permutations, strict=True):
        for axis in each.axes:
            if axis.name in found:
                found[axis.name] = _taken(found[axis.name], axis, permutation)
    return found


def _taken(tensor: Tensor, axis: Axis, permutation: Tensor) -> Tensor:
    entries = permutation[:, None] * axis.repeat + torch.arange(axis.repeat)
    order = torch.arange(tensor.shape[axis.dim])
    order[axis.start : axis.start + entries.numel()] = axis.start + entries.flatten()
    return tensor.index_select(axis.dim, order.to(tensor.device))


# ---------------------------------------------------------------------- matching


def _by_weights(
    reference: Point,
    point: Point,
    units: Sequence[Units],
    classes: Sequence[Sequence[Tensor]],
    rounds: int,
    seed: int,
) -> list[Tensor]:
    """Coordinate descent over layers (Ainsworth et al. 2023, algorithm 1)."""
    found = [torch.arange(each.size) for each in units]
    for turn in range(rounds):
        gained = False
        order = torch.randperm(len(units), generator=generator(seed, "layers", turn)).tolist()
        for i in order:
            likeness = _likeness(reference, point, units, found, i)
            fresh = _assigned(likeness, classes[i], found[i])
            if _closer(reference, point, units, found, i, fresh):
                found[i], gained = fresh, True
        if not gained:
            break
    return found


def _likeness(
    reference: Point, point: Point, units: Sequence[Units], found: Sequence[Tensor], i: int
) -> Tensor:
    """(n, n): how much unit j of the point, in place k, adds to the inner product."""
    here = units[i]
    others = [u for j, u in enumerate(units) if j != i], [p for j, p in enumerate(found) if j != i]
    total = torch.zeros(here.size, here.size, dtype=torch.float64)
    for axis in here.axes:
        if not is_statistic(axis.name):
            # The same units elsewhere in this tensor keep the order that they have.
            along = [a for a in here.axes if a.name == axis.name and a != axis]
            moved = _permuted({axis.name: point[axis.name]}, *others)[axis.name]
            for other in along:
                moved = _taken(moved, other, found[i])
            mine = _by_unit(reference[axis.name], axis, here.size).double()
            total += mine @ _by_unit(moved, axis, here.size).double().T
    return total


def _closer(
    reference: Point,
    point: Point,
    units: Sequence[Units],
    found: Sequence[Tensor],
    i: int,
    fresh: Tensor,
) -> bool:
    """Whether the inner product of the two points grows, by more than rounding."""
    names = [a.name for a in units[i].axes if not is_statistic(a.name)]
    part = {name: point[name] for name in names}

    def product(permutations: Sequence[Tensor]) -> float:
        moved = _permuted(part, units, permutations)
        return sum(float((reference[n].double() * moved[n].double()).sum()) for n in moved)

    size = sum(float(p.double().norm() * reference[n].double().norm()) for n, p in part.items())
    replaced = [fresh if j == i else p for j, p in enumerate(found)]
    return product(replaced) > product(found) + 1e-9 * size


def _assigned(likeness: Tensor, classes: Sequence[Tensor], before: Tensor) -> Tensor:
    """The best assignment within each class of units; those alone in theirs stay."""
    from scipy.optimize import linear_sum_assignment

    found = before.clone()
    for members in classes:
        if len(members) > 1:
            part = likeness[members][:, members]
            _, columns = linear_sum_assignment(part.numpy(), maximize=True)
            found[members] = members[torch.from_numpy(columns)]
    return found


@torch.no_grad()
def _by_activations(
    reference: Point,
    point: Point,
    network: nn.Module,
    inputs: Tensor,
    units: Sequence[Units],
    classes: Sequence[Sequence[Tensor]],
) -> list[Tensor]:
    """Each layer by the inner products of what its readers are given."""
    network = getattr(network, "_orig_mod", network)
    seen = [_given_to_readers(network, p, inputs, units) for p in (reference, point)]
    found = []
    for i, each in enumerate(units):
        total = torch.zeros(each.size, each.size, dtype=torch.float64)
        for reader in each.readers:
            for axis in each.axes:
                if (axis.name, axis.dim) == (f"{reader}.weight", 1):
                    mine, theirs = (_of_units(s[reader], axis, network, reader) for s in seen)
                    total += _by_unit(mine, axis, each.size) @ _by_unit(theirs, axis, each.size).T
        found.append(_assigned(total, classes[i], torch.arange(each.size)))
    return found


def _of_units(given: Tensor, axis: Axis, network: nn.Module, reader: str) -> Tensor:
    """What the layer is given, its units along the axis' dimension."""
    last = isinstance(network.get_submodule(reader), nn.Linear)
    return given.double().movedim(-1 if last else 1, axis.dim)


def _given_to_readers(
    network: nn.Module, point: Point, inputs: Tensor, units: Sequence[Units]
) -> dict[str, Tensor]:
    """What every layer that reads relabelled units is given, in evaluation mode."""
    model = copy.deepcopy(network).eval()
    wanted = {name for each in units for name in each.readers}
    seen: dict[str, Tensor] = {}
    for name, module in model.named_modules():
        if name in wanted:
            module.register_forward_pre_hook(
                lambda _, given, name=name: seen.__setitem__(name, given[0].detach())
            )
    try:
        functional_call(model, point, (inputs,))
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        told = str(error).splitlines() or [type(error).__name__]
        shape = tuple(getattr(inputs, "shape", ()))
        raise InputError(
            f"The network cannot be run on inputs of shape {shape}: {told[0]}"
        ) from None
    return seen
