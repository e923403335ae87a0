"""Splits of corpora that have no official one: by characters, by groups of rows that belong
together, or by the value of a field.
"""

import hashlib
from collections.abc import Mapping, Sequence

from lslm_lightning.data.rows import Row, references_of


def characters_share(row: Row, low: float, high: float) -> Row:
    """Return a row with its text from share `low` to share `high` (0..1) of its characters."""
    text = row["text"]
    start = int(low * len(text))
    stop = int(high * len(text))
    return row | {"id": f"{row['id']}:{start}-{stop}", "text": text[start:stop]}


def select_rows(
    rows: Sequence[Row], chosen: Mapping[str, Sequence[str]], setting: str
) -> list[Row]:
    """Return the rows whose fields have one of the chosen values, in their order.

    Args:
        chosen: field -> values.
        setting: name of `chosen` in messages.

    Raises:
        ValueError: rows lack a field, or no row has a value.
    """
    for field, values in chosen.items():
        if rows and field not in rows[0]:
            raise ValueError(
                f"{setting}: rows have no {field!r}, but {', '.join(rows[0])}; name it under "
                "columns"
            )
        if lacking := set(values) - {text for row in rows for text in references_of(row[field])}:
            raise ValueError(
                f"{setting}.{field}: no row has {sorted(lacking)[0]!r}; it may be misspelt"
            )
        rows = [row for row in rows if not set(values).isdisjoint(references_of(row[field]))]
    return list(rows)


def group_positions(rows: Sequence[Row], fields: Sequence[str], seed: int) -> list[float]:
    """Return a number in [0, 1) for every row, the same for all rows of its group.

    A group is a connected component of rows that agree in one of the `fields`. The number is a hash
    of the seed and the group's first row, so that the split `low <= number < high` depends on
    nothing but contents and order.
    """
    parent = list(range(len(rows)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for field in fields:
        first: dict[str, int] = {}
        for i, row in enumerate(rows):
            a = root(i)
            b = root(first.setdefault(str(row[field]), i))
            parent[max(a, b)] = min(a, b)
    return [
        _uniform(seed, [str(rows[root(i)][field]) for field in fields]) for i in range(len(rows))
    ]


def without_empty_shares(
    positions: Sequence[float], shares: Sequence[tuple[float, float]]
) -> list[float]:
    """Return the positions with the nearest group moved into each share that has none, as long as
    another share has two groups.

    Args:
        positions: a number in [0, 1) for every row; equal ones are a group.
        shares: (from, to) of each split.
    """
    moved = list(positions)
    for low, high in shares:
        groups = [
            [p for p in set(moved) if other_low <= p < other_high]
            for other_low, other_high in shares
        ]
        movable = [p for group in groups if len(group) > 1 for p in group]
        if movable and not any(low <= p < high for p in moved):
            nearest = min(movable, key=lambda p: max(low - p, p - high))
            moved = [low if p == nearest else p for p in moved]
    return moved


def _uniform(seed: int, key: Sequence[str]) -> float:
    """Return a number in [0, 1) that is a hash of seed and key."""
    digest = hashlib.sha256("\0".join([str(seed), *key]).encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
