"""Sheets are balanced and blind, on made-up systems whose outputs tell nothing."""

import csv
import io
import json
import random
import re
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_predict

from lslm_lightning.contracts import Example
from lslm_lightning.human.design import (
    LEFT,
    IdMaker,
    SheetPlan,
    annotator_names,
    assign_items,
    damage,
    make_sheets,
    seen,
)
from lslm_lightning.human.page import write_page
from lslm_lightning.human.sheets import write_sheet

SYSTEMS = ("alpha", "beta", "gamma", "delta")
N = 120
EXAMPLES = [Example(f"id-{i}", f"source {i}", (f"reference {i}",)) for i in range(N)]
ANNOTATORS = tuple(f"annotator-{i}" for i in range(1, 6))


def outputs(n_system=4):
    return {
        name: [f"{name} writes some words about {i} here" for i in range(N)]
        for name in SYSTEMS[:n_system]
    }


def sheets_of(method="direct", seed=0, n_item=60, per_item=2, n_system=4):
    plan = SheetPlan(method, ANNOTATORS, n_item, per_item, 0.1, 0.1)
    return plan, make_sheets(plan, outputs(n_system), random.Random(seed))


@pytest.mark.parametrize(("n_item", "per_item"), [(60, 1), (60, 2), (47, 3), (30, 5)])
def test_items_have_their_annotators_and_loads_are_equal(n_item, per_item):
    found = assign_items(range(n_item), ANNOTATORS, per_item, random.Random(1))
    counts = Counter(item for own in found.values() for item in own)
    assert counts == dict.fromkeys(range(n_item), per_item)
    assert all(len(set(own)) == len(own) for own in found.values())
    loads = [len(own) for own in found.values()]
    assert max(loads) - min(loads) <= 1
    if per_item > 1:
        together = Counter(
            pair
            for item in range(n_item)
            for pair in combinations(sorted(a for a in found if item in found[a]), 2)
        )
        assert len(together) == 10, "every two annotators share items, so that all are compared"


@pytest.mark.parametrize("method", ["direct", "mqm"])
def test_every_system_occurs_equally_often_in_every_round(method):
    plan, sheets = sheets_of(method)
    for own in sheets.values():
        rows = [row for row in own if row.kind == "rating"]
        n_item = len(rows) // len(SYSTEMS)
        seen = Counter((row.item, row.systems) for row in rows)
        assert len(seen) == n_item * len(SYSTEMS), "each output once"
        for start in range(0, len(rows), n_item):
            part = rows[start : start + n_item]
            assert len({row.item for row in part}) == n_item, "each item once in a round"
            counts = Counter(row.systems[0] for row in part)
            assert max(counts.values()) - min(counts.values()) <= 1
    every = [row for own in sheets.values() for row in own if row.kind == "rating"]
    assert Counter((row.item, row.systems) for row in every).most_common()[-1][1] == plan.per_item


def test_pairs_and_sides_are_balanced():
    _, sheets = sheets_of("pairwise", n_system=3)
    for own in sheets.values():
        rows = [row for row in own if row.kind == "rating"]
        counts = Counter(tuple(sorted(row.systems)) for row in rows)
        assert len(counts) == 3
        assert max(counts.values()) == min(counts.values())
        for pair, n in counts.items():
            lefts = sum(row.systems == pair for row in rows)
            assert abs(2 * lefts - n) <= 1


def test_equal_outputs_are_no_question():
    same = {name: ["the same words"] * N for name in SYSTEMS[:2]}
    plan = SheetPlan("pairwise", ANNOTATORS, 20)
    with pytest.raises(ValueError, match="all outputs are equal"):
        make_sheets(plan, same, random.Random(0))
    same[SYSTEMS[0]][::2] = ["other words"] * (N // 2)
    rows = [row for own in make_sheets(plan, same, random.Random(0)).values() for row in own]
    assert {row.item % 2 for row in seen(rows)} == {0}
    assert {row.item % 2 for row in rows if row.kind == "tie"} == {1}


@pytest.mark.parametrize("method", ["direct", "mqm", "pairwise"])
def test_repeats_and_checks_have_their_share_and_follow_their_rows(method):
    _, sheets = sheets_of(method)
    for own in sheets.values():
        kinds = Counter(row.kind for row in own)
        assert kinds["repeat"] == kinds["check"] == round(0.1 * kinds["rating"])
        position = {row.id: i for i, row in enumerate(own)}
        rows = {row.id: row for row in own}
        for row in own:
            if row.kind == "rating":
                continue
            before = rows[row.of]
            assert position[row.id] > position[row.of]
            assert row.item == before.item
            if row.kind == "repeat":
                assert row.texts == before.texts[::-1]
            elif method == "pairwise":
                good = row.texts[0 if row.better == LEFT else 1]
                assert good == before.texts[0]
                assert row.texts[0] != row.texts[1]
            else:
                assert row.texts != before.texts
        for kind in ("repeat", "check") if method != "pairwise" else ():
            turns = Counter(row.systems[0] for row in own if row.kind == kind)
            assert max(turns.values()) - min(turns[name] for name in SYSTEMS) <= 1


@pytest.mark.parametrize("text", ["one two three four five six", "两个人在雪地里走", "ok", ""])
def test_damage_changes_a_text_and_keeps_some_of_a_long_one(text):
    for seed in range(20):
        damaged = damage(text, "全新的内容 with other words in it", random.Random(seed))
        assert damaged.strip() != text.strip()
        if len(text) > 8:
            assert set(damaged) & set(text)


# blinding


def permutation_p(features, labels, seed, n_trial=40):
    """p-value of a classifier's accuracy, against labels that were shuffled."""
    rng = np.random.default_rng(seed)

    def accuracy(target):
        forest = RandomForestClassifier(10, max_depth=4, random_state=0)
        return (cross_val_predict(forest, features, target, cv=3) == target).mean()

    own = accuracy(labels)
    null = [accuracy(rng.permutation(labels)) for _ in range(n_trial)]
    return (1 + sum(each >= own for each in null)) / (1 + n_trial)


def features_of(path: Path, html: Path, texts: int):
    """Everything of a sheet but its texts: file, order, ids, how long the sources are, and what a
    page has beside them.
    """
    rows = list(csv.reader(io.StringIO(path.read_text("utf-8-sig"), newline="")))
    header, *body = rows
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', html.read_text())
    shown = json.loads(data[1])["rows"]
    assert [row["id"] for row in shown] == [row[0] for row in body]
    found = []
    for i, (row, own) in enumerate(zip(body, shown, strict=True)):
        assert set(own) == {"id", "source", "texts", "language", "sourceLanguage"}
        rest = [cell for name, cell in zip(header, row) if name not in ("output", "A", "B")]
        assert len(own["texts"]) == texts
        found.append(
            [
                *(i, i % 2, i % 3, i % 4, len(body) - i, len(rest[1]), sum(map(len, rest[2:]))),
                *map(ord, row[0]),
                sum(map(ord, path.name)),
            ]
        )
    return found


@pytest.mark.slow
@pytest.mark.parametrize("method", ["direct", "pairwise", "mqm"])
def test_a_classifier_cannot_tell_the_system_from_anything_but_the_text(tmp_path, method):
    """Of pairs, it cannot tell which system is on the left."""
    features, systems = [], []
    for seed in range(5):
        _, sheets = sheets_of(method, seed, n_item=50, per_item=2, n_system=2)
        for name, rows in sheets.items():
            path = tmp_path / f"{method}-{seed}" / f"{name}.csv"
            write_sheet(path, method, rows, EXAMPLES, False)
            write_page(path.with_suffix(".html"), name, method, rows, EXAMPLES, False)
            own = features_of(path, path.with_suffix(".html"), len(rows[0].texts))
            is_rating = [row.kind == "rating" for row in rows]
            features += [each for each, is_own in zip(own, is_rating, strict=True) if is_own]
            systems += [row.systems[0] for row in rows if row.kind == "rating"]
    p = permutation_p(np.array(features), np.array(systems), 0)
    assert p > 0.03, p


def test_a_leak_would_be_found():
    """The same classifier on sheets whose order tells the system."""
    rng = np.random.default_rng(0)
    order = np.arange(200)
    labels = np.where(order % 2 == 0, "alpha", "beta")
    features = np.stack([order, order % 2, rng.random(200)], axis=1)
    assert permutation_p(features, labels, 0) < 0.05


def test_texts_of_systems_do_not_reach_the_sheets_names(tmp_path):
    """No name of a system, no id of an example and no kind of row stands in what annotators get."""
    neutral = {name: [f"some words {i}{name[0]}" for i in range(N)] for name in SYSTEMS}
    plan = SheetPlan("direct", ANNOTATORS, 20, 1, 0.1, 0.1)
    for name, rows in make_sheets(plan, neutral, random.Random(3)).items():
        write_sheet(tmp_path / f"{name}.csv", "direct", rows, EXAMPLES, True)
        write_page(tmp_path / f"{name}.html", "x", "direct", rows, EXAMPLES, True)
    for path in tmp_path.iterdir():
        text = path.read_text("utf-8")
        for word in (*SYSTEMS, "id-", "check", "repeat"):
            assert word not in path.name
            found = re.findall(rf"\b{word}\b|{re.escape(word)}\d", text)
            assert not found or word in ("check", "repeat"), (path.name, word)
        data = text.partition('id="data">')[2].partition("</script>")[0] or text
        assert not re.search(r"\b(check|repeat|kind|system)\b", data), path.name


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"annotators": ("a", "a")}, "called a"),
        ({"per_item": 6}, "per_item=6"),
        ({"n_item": 0}, "n_item=0"),
        ({"repeats": 0.9}, "repeats=0.9"),
    ],
)
def test_impossible_plans_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        SheetPlan(
            **{"method": "direct", "annotators": ANNOTATORS, "n_item": 5, "per_item": 1} | change
        )


def test_nobody_gets_an_empty_sheet():
    plan = SheetPlan("direct", ANNOTATORS, 60, 2)
    texts = {"a": ["one"] * 2, "b": ["two"] * 2}
    with pytest.raises(ValueError, match="items=2 with per_item=2 leave some of 5"):
        make_sheets(plan, texts, random.Random(0))
    enough = {name: own * 2 for name, own in texts.items()}
    assert all(map(seen, make_sheets(plan, enough, random.Random(0)).values()))


def test_names_of_annotators():
    assert annotator_names("3") == ("annotator-1", "annotator-2", "annotator-3")
    assert annotator_names("anna, 本") == ("anna", "本")
    for wrong in ("", "0", "1000000", ","):
        with pytest.raises(ValueError, match="annotators="):
            annotator_names(wrong)


def test_no_spreadsheet_takes_an_id_for_a_number_or_a_date():
    make = IdMaker(random.Random(0))
    ids = [make() for _ in range(30_000)]
    assert len(set(ids)) == len(ids)
    number = re.compile(r"\d+(e\d+)?")
    date = re.compile(r"\d*(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)\d*")
    assert not [id_ for id_ in ids if number.fullmatch(id_) or date.fullmatch(id_)]
