"""Tables of weight names: which weights of ours are which of another library, in both directions.

A table is a list of rows. A row pairs some weights of ours with some of theirs, and knows how to
compute either side from the other.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

Weights: TypeAlias = Mapping[str, Tensor]
Convert: TypeAlias = Callable[[list[Tensor]], list[Tensor]]
FUSED = "queries, keys and values of a layer are one matrix"


@dataclass(frozen=True)
class Row:
    """Weights that correspond to each other.

    Args:
        ours: names in the state dict of a task; empty for weights that only they have.
        theirs: names in the other library; empty for weights that only we have.
        outward: computes their weights from ours.
        inward: computes our weights from theirs.
        is_optional: whether a file may lack their weights.
        note: how their weights differ from ours, for people; "" if they do not.
    """

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    outward: Convert
    inward: Convert
    is_optional: bool = False
    note: str = ""


def same(ours: str, theirs: str) -> Row:
    """Return the row of a weight that is the same on both sides."""
    return Row((ours,), (theirs,), list, list)


def transposed(ours: str, theirs: str) -> Row:
    """Return the row of a matrix that they multiply from the other side."""
    note = "matrices are transposed"
    return Row((ours,), (theirs,), transpose, transpose, note=note)


def transpose(tensors: list[Tensor]) -> list[Tensor]:
    """Return the tensors with their last two axes exchanged; vectors as they are."""
    return [tensor.mT if tensor.dim() > 1 else tensor for tensor in tensors]


def after_offset(ours: str, theirs: str, n_row: int) -> Row:
    """Return the row of a table of vectors, of which theirs has `n_row` more at the start that no
    input selects; they are written as zeros.
    """
    return Row(
        (ours,),
        (theirs,),
        lambda tensors: [torch.cat([tensors[0].new_zeros(n_row, tensors[0].size(1)), tensors[0]])],
        lambda tensors: [tensors[0][n_row:]],
        note=f"learned positions begin behind {n_row} unused vectors" if n_row else "",
    )


def scaled(ours: str, theirs: str, factor: float, note: str) -> Row:
    """Return the row of a weight that is theirs times a factor."""
    return Row(
        (ours,),
        (theirs,),
        lambda tensors: [tensors[0] / factor],
        lambda tensors: [tensors[0] * factor],
        note=note,
    )


def or_copy(ours: tuple[str, str], theirs: tuple[str, str]) -> Row:
    """Return the row of two weights, of which they store one if both are the same."""

    def inward(tensors: list[Tensor]) -> list[Tensor]:
        if not tensors:
            raise ValueError(f"its weight {theirs[0]} is missing; fetch its files again")
        return [tensors[0], tensors[-1]]

    return Row(ours, theirs, list, inward, is_optional=True)


def as_row(ours: str, theirs: str) -> Row:
    """Return the row of a vector (V,) that they store as a matrix (1, V)."""
    return Row(
        (ours,),
        (theirs,),
        lambda tensors: [tensors[0][None]],
        lambda tensors: [tensors[0][0]],
    )


def fused(ours: Sequence[str], theirs: str, is_transposed: bool = False) -> Row:
    """Return the row of several projections that they compute by one matrix, one below the
    other.
    """

    def outward(tensors: list[Tensor]) -> list[Tensor]:
        whole = [torch.cat(tensors)]
        return transpose(whole) if is_transposed else whole

    def inward(tensors: list[Tensor]) -> list[Tensor]:
        [whole] = transpose(tensors) if is_transposed else tensors
        return list(whole.chunk(len(ours)))

    return Row(tuple(ours), (theirs,), outward, inward, note=FUSED)


def fused_by_head(ours: Sequence[str], theirs: str, n_head: int) -> Row:
    """Return the row of several projections that they compute by one matrix, in which the rows of
    each head stand together.
    """

    def outward(tensors: list[Tensor]) -> list[Tensor]:
        heads = [tensor.unflatten(0, (n_head, -1)) for tensor in tensors]
        return [torch.cat(heads, 1).flatten(0, 1)]

    def inward(tensors: list[Tensor]) -> list[Tensor]:
        heads = tensors[0].unflatten(0, (n_head, -1))
        return [part.flatten(0, 1) for part in heads.chunk(len(ours), 1)]

    return Row(tuple(ours), (theirs,), outward, inward, note=FUSED)


def copies(ours: str, *theirs: str) -> Row:
    """Return the row of a weight that they store more than once; one copy is enough to read."""

    def inward(tensors: list[Tensor]) -> list[Tensor]:
        if not tensors:
            raise ValueError(f"its weight {theirs[0]} is missing; fetch its files again")
        if any(not torch.equal(tensors[0], other) for other in tensors[1:]):
            raise ValueError(
                f"its weights {', '.join(theirs)} must be equal, since our models have one of them"
                "; import a model with one vocabulary"
            )
        return tensors[:1]

    return Row((ours,), theirs, lambda tensors: tensors * len(theirs), inward, is_optional=True)


def zeros(theirs: str, *shape: int, is_optional: bool = False) -> Row:
    """Return the row of a weight that only they have, and that does nothing if it is zero."""

    def inward(tensors: list[Tensor]) -> list[Tensor]:
        if tensors and tensors[0].any():
            raise ValueError(
                f"its weight {theirs} must be zero, since our model has nothing like it; import a "
                "model without it"
            )
        return []

    note = "biases that the model lacks are written as zeros"
    return Row((), (theirs,), lambda _: [torch.zeros(shape)], inward, is_optional, note)


def only_ours(ours: str, *shape: int) -> Row:
    """Return the row of a weight that only we have, and that does nothing if it is zero."""

    def outward(tensors: list[Tensor]) -> list[Tensor]:
        if tensors[0].any():
            raise ValueError(
                f"the weight {ours} must be zero, since the layout has none like it; take another "
                "--layout"
            )
        return []

    return Row((ours,), (), outward, lambda _: [torch.zeros(shape)])


def setting(ours: str, value: float) -> Row:
    """Return the row of a number that we store with the weights, and they in config.json."""
    return Row((ours,), (), lambda _: [], lambda _: [torch.tensor(value)])


def constant(
    theirs: str, shape: tuple[int, int], value: Callable[[], Tensor], tolerance: float
) -> Row:
    """Return the row of a table that they store and we compute.

    Args:
        shape: shape of the table, which theirs must have before ours is computed.
        value: computes the table.
        tolerance: largest difference between their table and ours.
    """

    def inward(tensors: list[Tensor]) -> list[Tensor]:
        for tensor in tensors:
            if tensor.shape != shape:
                raise ValueError(
                    f"its weight {theirs} is {tuple(tensor.shape)} and must be {shape}, as its "
                    "config.json states; fetch both files again"
                )
            if not ((value().to(tensor) - tensor).abs() <= tolerance).all():
                raise ValueError(
                    f"its weight {theirs} is another table than the one computed here; import a "
                    "model that was not trained beyond it"
                )
        return []

    note = "the table of sinusoidal positions is stored with the weights"
    return Row((), (theirs,), lambda _: [value()], inward, True, note)


def to_theirs(rows: Iterable[Row], ours: Weights) -> dict[str, Tensor]:
    """Return their weights for ours.

    Raises:
        ValueError: a weight that they lack is not zero.
    """
    left = dict(ours)
    theirs: dict[str, Tensor] = {}
    for row in rows:
        found = [left.pop(name) for name in row.ours]
        theirs |= zip(row.theirs, row.outward(found), strict=True)
    assert not left, f"no row has {sorted(left)}"
    device = next(iter(ours.values())).device
    return {name: tensor.to(device).contiguous() for name, tensor in theirs.items()}


def to_ours(
    rows: Iterable[Row],
    theirs: Weights,
    aliases: Mapping[str, str],
    ignored: str,
) -> dict[str, Tensor]:
    """Return our weights for theirs, which may share memory with them.

    Args:
        aliases: other name -> name in the rows, for weights that they may store twice.
        ignored: regular expression of names of weights without effect.

    Raises:
        ValueError: a weight is missing, is not known, or must be zero and is not.
    """
    left = {name: tensor for name, tensor in theirs.items() if not re.search(ignored, name)}
    for alias, name in aliases.items():
        if alias not in left:
            continue
        copy = left.pop(alias)
        if not torch.equal(left.setdefault(name, copy), copy):
            raise ValueError(
                f"its weights {alias} and {name} must be equal, since config.json ties them; if "
                "they are not meant to be, set tie_word_embeddings to false there"
            )
    ours: dict[str, Tensor] = {}
    for row in rows:
        found = [left.pop(name) for name in row.theirs if name in left]
        if len(found) < len(row.theirs) and not row.is_optional:
            missing = next(name for name in row.theirs if name not in theirs)
            raise ValueError(f"its weight {missing} is missing; fetch its files again")
        ours |= zip(row.ours, row.inward(found), strict=True)
    if left:
        raise ValueError(
            f"its weight {min(left)} belongs to no part of its layout (such weights: "
            f"{len(left):,}); fetch its config.json again, or import a model without adapters and "
            "other heads"
        )
    return ours
