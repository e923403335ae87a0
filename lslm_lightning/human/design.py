"""Design of a human evaluation: which annotator sees which outputs, in which order.

Every item goes to the same number of annotators, and each of these sees the outputs of all systems
for it. A sheet has as many rounds as there are systems (or pairs of systems): in each round each
item of the annotator occurs once, by a Latin square, so that every system occurs equally often in
every round, and outputs for one item are far apart.
"""

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

from lslm_lightning.long_options import listed_names

Method = Literal["direct", "mqm", "pairwise"]
Kind = Literal["rating", "repeat", "check", "tie"]
LEFT = "A"
RIGHT = "B"
SAME = "same"
ID_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none that looks like another
ID_LENGTH = 6
DAMAGED = 0.5  # share of an output that a check replaces
MOST_ANNOTATORS = 1000


@dataclass(frozen=True, slots=True)
class SheetRow:
    """Row of an annotator's sheet.

    Attributes:
        id: random identifier, which tells nothing.
        annotator: name of the annotator.
        item: index of the example.
        systems: system of the output; for pairs, of the output on the left and on the right.
        texts: outputs as they are shown.
        kind: "rating"; "repeat", a row that occurred before; "check", a row with a damaged output;
            "tie", a pair of equal outputs, which no sheet shows.
        of: id of the row that is repeated or damaged; "" for others.
        better: side that must win a check of a pair; "" for others.
    """

    id: str
    annotator: str
    item: int
    systems: tuple[str, ...]
    texts: tuple[str, ...]
    kind: Kind = "rating"
    of: str = ""
    better: str = ""


@dataclass(frozen=True, slots=True)
class SheetPlan:
    """Sizes of a human evaluation.

    Attributes:
        method: "direct" (0 to 100), "mqm" (errors with a severity) or "pairwise" (which is better).
        annotators: names of the annotators.
        n_item: number of test examples that are annotated.
        per_item: number of annotators of each item.
        repeats: share of rows of a sheet that occur again, to measure how an annotator agrees with
            himself or herself.
        checks: share of rows of a sheet that occur again with a damaged output, to measure
            attention.
    """

    method: Method
    annotators: tuple[str, ...]
    n_item: int
    per_item: int = 1
    repeats: float = 0.05
    checks: float = 0.05

    def __post_init__(self) -> None:
        """Check the sizes.

        Raises:
            ValueError: a size is impossible.
        """
        if twice := [name for name, n in Counter(self.annotators).items() if n > 1]:
            raise ValueError(f"two annotators are called {twice[0]}; give each a name")
        if not 1 <= self.per_item <= len(self.annotators):
            raise ValueError(
                f"per_item={self.per_item} must be at least 1 and at most the number of "
                f"annotators, {len(self.annotators)}"
            )
        if self.n_item < 1:
            raise ValueError(f"n_item={self.n_item} must be at least 1")
        for name in ("repeats", "checks"):
            share = self.repeats if name == "repeats" else self.checks
            if not 0 <= share <= 0.5:
                raise ValueError(f"{name}={share} must be a share from 0 to 0.5; 0.05 is usual")


def choose_items(n_example: int, n_item: int, rng: random.Random) -> list[int]:
    """Return the indices of the examples that are annotated, drawn at random."""
    return sorted(rng.sample(range(n_example), min(n_item, n_example)))


def assign_items(
    items: Sequence[int], annotators: Sequence[str], per_item: int, rng: random.Random
) -> dict[str, list[int]]:
    """Return the items of each annotator: every item has `per_item` annotators, loads differ by at
    most one, and annotators who share items do so about equally often.
    """
    found: dict[str, list[int]] = {name: [] for name in annotators}
    together: Counter[frozenset[str]] = Counter()
    for item in rng.sample(list(items), len(items)):
        chosen: list[str] = []
        for _ in range(per_item):

            def burden(name: str, chosen: Sequence[str] = tuple(chosen)) -> tuple[int, int, float]:
                shared = sum(together[frozenset((name, other))] for other in chosen)
                return len(found[name]), shared, rng.random()

            chosen.append(min((name for name in annotators if name not in chosen), key=burden))
        together.update(map(frozenset, combinations(chosen, 2)))
        for name in chosen:
            found[name].append(item)
    return found


def make_sheets(
    plan: SheetPlan, outputs: Mapping[str, Sequence[str]], rng: random.Random
) -> dict[str, list[SheetRow]]:
    """Return the rows of each annotator: those of the sheet, in order, and then the pairs of equal
    outputs, which are ties that nobody needs to see.

    Args:
        outputs: outputs of each system for all examples, by name.
        rng: source of all random choices.

    Raises:
        ValueError: there are too few systems for the method, or all pairs are ties.
    """
    systems = list(outputs)
    if len(systems) < (2 if plan.method == "pairwise" else 1):
        raise ValueError(f"method {plan.method} needs two systems or more, but got {systems}")
    shown = list(combinations(systems, 2)) if plan.method == "pairwise" else [(s,) for s in systems]
    rng.shuffle(shown)
    n_example = len(outputs[systems[0]])
    items = choose_items(n_example, plan.n_item, rng)
    if len(items) * plan.per_item < len(plan.annotators):
        least = -(-len(plan.annotators) // plan.per_item)
        raise ValueError(
            f"items={len(items)} with per_item={plan.per_item} leave some of "
            f"{len(plan.annotators)} annotators without a row: give at least {least} items, more "
            "annotators of each item, or fewer annotators"
        )
    ids = IdMaker(rng)
    sheets = {}
    for name, own in assign_items(items, plan.annotators, plan.per_item, rng).items():
        rows = rating_rows(name, own, shown, outputs, ids, rng)
        ties = [row for row in rows if row.kind == "tie"]
        sheets[name] = with_controls(seen(rows), plan, outputs, ids, rng) + ties
    if not any(map(seen, sheets.values())):
        raise ValueError("all outputs are equal, so that there is nothing to choose between")
    return sheets


def seen(rows: Sequence[SheetRow]) -> list[SheetRow]:
    """Return the rows that a sheet shows."""
    return [row for row in rows if row.kind != "tie"]


def rating_rows(
    annotator: str,
    items: Sequence[int],
    shown: Sequence[tuple[str, ...]],
    outputs: Mapping[str, Sequence[str]],
    ids: "IdMaker",
    rng: random.Random,
) -> list[SheetRow]:
    """Return the rows of one annotator without repeats and checks: one round for each system or
    pair, by a Latin square.

    Args:
        shown: systems, or pairs of systems, each as a tuple.
    """
    own = rng.sample(list(items), len(items))
    sides: Counter[tuple[str, ...]] = Counter()  # turns of each pair
    start = {pair: rng.randrange(2) for pair in shown}
    rows = []
    for round_ in range(len(shown)):
        in_round = []
        for j, item in enumerate(own):
            pair = shown[(j + round_) % len(shown)]
            texts = tuple(outputs[system][item] for system in pair)
            if len(set(texts)) < len(texts):
                in_round.append(SheetRow(ids(), annotator, item, pair, texts, "tie"))
                continue
            if len(pair) > 1 and (sides[pair] + start[pair]) % 2:
                in_round.append(SheetRow(ids(), annotator, item, pair[::-1], texts[::-1]))
            else:
                in_round.append(SheetRow(ids(), annotator, item, pair, texts))
            sides[pair] += 1
        rng.shuffle(in_round)
        rows += in_round
    return rows


def with_controls(
    rows: Sequence[SheetRow],
    plan: SheetPlan,
    outputs: Mapping[str, Sequence[str]],
    ids: "IdMaker",
    rng: random.Random,
) -> list[SheetRow]:
    """Return the rows of a sheet with repeats and checks at random places, behind the rows that
    they repeat or damage.
    """
    n_repeat = round(plan.repeats * len(rows))
    n_check = round(plan.checks * len(rows))
    chosen = spread_over_systems(rows, min(len(rows), n_repeat + n_check), rng)
    found = list(rows)
    for i, row in enumerate(chosen):
        if i < n_repeat:
            turned = replace(row, systems=row.systems[::-1], texts=row.texts[::-1])
            again = replace(turned, id=ids(), kind="repeat", of=row.id)
        else:
            again = check_row(row, outputs, ids, rng)
        at = next(j for j, each in enumerate(found) if each.id == row.id)
        middle = min(len(found), at + max(1, len(rows) // 4))
        found.insert(rng.randint(middle, len(found)), again)
    return found


def spread_over_systems(rows: Sequence[SheetRow], n: int, rng: random.Random) -> list[SheetRow]:
    """Return `n` rows at random, of each system or pair in turn."""
    by_systems: dict[tuple[str, ...], list[SheetRow]] = {}
    for row in rng.sample(list(rows), len(rows)):
        by_systems.setdefault(tuple(sorted(row.systems)), []).append(row)
    chosen: list[SheetRow] = []
    while len(chosen) < n:
        for own in by_systems.values():
            chosen += [own.pop()] if own and len(chosen) < n else []
    return chosen


def check_row(
    row: SheetRow, outputs: Mapping[str, Sequence[str]], ids: "IdMaker", rng: random.Random
) -> SheetRow:
    """Return a row with a damaged output: in place of the output, or beside it."""
    system = row.systems[0]
    others = [text for i, text in enumerate(outputs[system]) if i != row.item and text.strip()]
    damaged = damage(row.texts[0], rng.choice(others) if others else "", rng)
    if len(row.texts) == 1:
        return replace(row, id=ids(), texts=(damaged,), kind="check", of=row.id)
    is_left = rng.random() < 0.5
    texts = (row.texts[0], damaged) if is_left else (damaged, row.texts[0])
    better = LEFT if is_left else RIGHT
    return SheetRow(
        ids(), row.annotator, row.item, (system, system), texts, "check", row.id, better
    )


def damage(text: str, other: str, rng: random.Random) -> str:
    """Return a text of which a span is replaced by a span of another text, as the damaged
    references of direct assessment at WMT are (Graham et al. 2013).

    Texts without spaces are damaged by characters.
    """
    own, foreign = (re.findall(r"\S+\s*|\S", each) for each in (text, other))
    if len(own) < 4:
        own, foreign = list(text), list(other)
    n = max(1, round(DAMAGED * len(own)))
    start = rng.randint(0, len(own) - n) if own else 0
    begin = rng.randint(0, max(0, len(foreign) - n))
    span = "".join(foreign[begin : begin + n])
    damaged = "".join([*own[:start], span, *own[start + n :]])
    return damaged if damaged.strip() != text.strip() else other or f"{text} {text}"


class IdMaker:
    """Maker of random row ids, none twice.

    Each begins with a letter that no number and no name of a month has, since a spreadsheet would
    save 234e56 as 2.34E+58.
    """

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.made: set[str] = set()

    def __call__(self) -> str:
        """Return a new id."""
        while True:
            found = "q" + "".join(self.rng.choice(ID_LETTERS) for _ in range(ID_LENGTH))
            if found not in self.made:
                self.made.add(found)
                return found


def annotator_names(given: str) -> tuple[str, ...]:
    """Return the names of annotators: those that are given, separated by commas, or as many as a
    number says.

    Raises:
        ValueError: there is none, or too many.
    """
    names = tuple(listed_names(given))
    if len(names) == 1 and names[0].isdecimal():
        n = min(int(names[0]), MOST_ANNOTATORS + 1)
        names = tuple(f"annotator-{i}" for i in range(1, n + 1))
    if not 1 <= len(names) <= MOST_ANNOTATORS:
        raise ValueError(
            f"annotators={given[:80]} must be 1 to {MOST_ANNOTATORS} names, or their number"
        )
    return names
