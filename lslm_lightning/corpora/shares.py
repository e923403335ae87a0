"""Division of rows into splits for corpora without official splits: by characters, by groups of
related rows, or by the values of a field.
"""

import hashlib
from collections.abc import Mapping, Sequence

from lslm_lightning.corpora.rows import Row, references_of


def characters_share(row: Row, low: float, high: float) -> Row:
    """Return a row whose text is cut to the characters between the fractions `low` and `high`
    (0..1) of its length.
    """
    text = row["text"]
    start = int(low * len(text))
    stop = int(high * len(text))
    return row | {"id": f"{row['id']}:{start}-{stop}", "text": text[start:stop]}


def select_rows(
    rows: Sequence[Row], chosen: Mapping[str, Sequence[str]], setting: str
) -> list[Row]:
    """Return the rows whose fields all have one of the chosen values, in order.

    Args:
        chosen: field -> accepted values.
        setting: name of the setting `chosen`, for messages.

    Raises:
        ValueError: rows lack a field, or no row has one of the values.
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
    """Return a number in [0, 1) for every row, equal within a group of related rows.

    Rows with the same value in one of the `fields` are related, and so are rows connected through
    others. The number is a hash of `seed` and the group's first row, so that the split `low <=
    number < high` depends only on the rows and their order.
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
    """Return the positions, changed so that no share is empty.

    For each empty share the nearest group is moved into it, as long as another share has at least
    two groups.

    Args:
        positions: number in [0, 1) for every row; rows with equal numbers form a group.
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
    """Return a hash of seed and key as a number in [0, 1)."""
    digest = hashlib.sha256("\0".join([str(seed), *key]).encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
