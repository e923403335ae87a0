"""Filled sheets are read, and what is wrong in them is named by file and line."""

import csv
import io
import random
import re
import stat
from dataclasses import replace

import pytest

from lslm_lightning.contracts import Example
from lslm_lightning.human.design import SheetPlan, make_sheets
from lslm_lightning.human.key import EvaluationKey, read_key, write_key
from lslm_lightning.human.sheets import parse_errors, read_sheets, write_sheet

EXAMPLES = [Example(f"id-{i}", f"source {i}", (f"reference {i}",)) for i in range(30)]
HOSTILE = {0: "=HYPERLINK(1)", 1: "＋1", 2: '"quoted", and\nmore lines', 3: "-0.5", 4: "二，三"}


def outputs():
    return {
        name: [HOSTILE.get(i, f"{name} output {i}") + name[0] for i in range(30)]
        for name in ("old", "new")
    }


def key_of(method):
    rows = make_sheets(
        SheetPlan(method, ("anna", "ben"), 10, 2, 0.1, 0.1), outputs(), random.Random(0)
    )
    items = {row.item for own in rows.values() for row in own}
    ids = {i: EXAMPLES[i].id for i in sorted(items)}
    return EvaluationKey(method, "translation", "2:ab", ("old", "new"), "", (), ids, rows)


def written(folder, method):
    key = key_of(method)
    for name, rows in key.rows.items():
        write_sheet(folder / f"{name}.csv", method, rows, EXAMPLES, True)
    return key


def filled(path, answer, change=lambda rows: rows):
    """Fill the sheet with `answer(i)`, as a spreadsheet saves it."""
    rows = list(csv.reader(io.StringIO(path.read_text("utf-8-sig"), newline="")))
    for i, row in enumerate(rows[1:]):
        row[-2] = answer(i)
    file = io.StringIO(newline="")
    csv.writer(file).writerows(change(rows))
    path.write_text("\ufeff" + file.getvalue(), "utf-8")
    return path


GOOD = {
    "direct": lambda i: str(i % 101),
    "pairwise": lambda i: ["A", "b", "same"][i % 3],
    "mqm": lambda i: ["none", "minor fluency: some\nMajor accuracy：other", "critical other"][
        i % 3
    ],
}


@pytest.mark.parametrize("method", GOOD)
def test_filled_sheets_are_read(tmp_path, method):
    key = written(tmp_path, method)
    paths = [filled(tmp_path / f"{name}.csv", GOOD[method]) for name in key.rows]
    ratings = read_sheets(paths, key)
    assert [rating.row for rating in ratings] == [row for own in key.rows.values() for row in own]
    own = [rating.value for rating in ratings if rating.row.annotator == "anna"]
    values = {"direct": [0, 1, 2], "pairwise": [1, 0, 0.5], "mqm": [0, 6, 25]}[method]
    assert own[:3] == values


def test_a_sheet_opens_in_a_spreadsheet_and_computes_nothing(tmp_path):
    key = written(tmp_path, "direct")
    content = (tmp_path / "anna.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    assert [row["row"] for row in rows] == [row.id for row in key.rows["anna"]]
    for row in rows:
        assert not re.match(r"\s*[=+\-@＝＋－＠]", row["output"])
        assert (row["score"], row["comment"]) == ("", "")


def edited(path, change):
    return filled(path, GOOD["direct"], change)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rows: [*rows[:2], [*rows[2][:-2], "101", ""], *rows[3:]], ["line 3", "'101'"]),
        (lambda rows: [*rows[:2], [*rows[2][:-2], "nan", ""], *rows[3:]], ["'nan'"]),
        (lambda rows: [*rows[:2], [*rows[2][:-2], "good", ""], *rows[3:]], ["'good'"]),
        (lambda rows: [*rows[:2], [*rows[2][:-2], "", ""], *rows[3:]], ["line 3", "no score"]),
        (lambda rows: [*rows, rows[1]], ["already", "line 2"]),
        (lambda rows: [*rows, ["zzzzzz", *rows[1][1:]]], ["'zzzzzz'"]),
        (lambda rows: rows[:-1], ["lacks 1 rows"]),
        (lambda rows: [["row", "points"], *rows[1:]], ["line 1", "'score'"]),
        (lambda rows: [], ["line 1", "'row'"]),
    ],
)
def test_faults_are_named_by_file_and_line(tmp_path, change, words):
    key = written(tmp_path, "direct")
    # texts of one line, so that lines of the file are rows
    for rows in key.rows.values():
        assert len(rows) > 3
    paths = [filled(tmp_path / "ben.csv", GOOD["direct"]), edited(tmp_path / "anna.csv", change)]
    with pytest.raises(ValueError, match="faults in the sheets") as error:
        read_sheets(paths, key)
    for word in ("anna", *words):
        assert word in str(error.value)


def test_gaps_are_accepted_on_request(tmp_path):
    key = written(tmp_path, "direct")
    path = filled(tmp_path / "anna.csv", lambda i: "50" if i < 4 else "")
    with pytest.raises(ValueError, match="the sheet of ben is missing"):
        read_sheets([path], key)
    assert len(read_sheets([path], key, incomplete=True)) == 4
    empty = filled(tmp_path / "anna.csv", lambda i: "")
    with pytest.raises(ValueError, match="no answers"):
        read_sheets([empty], key, incomplete=True)


def test_sheets_of_other_regions_are_read(tmp_path):
    """With semicolons between columns, and a comma as the decimal mark."""
    key = written(tmp_path, "direct")
    for name, rows in key.rows.items():
        lines = [f"{row.id};{i % 100},5;" for i, row in enumerate(rows)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["row;score;comment", *lines]))
    ratings = read_sheets([tmp_path / "anna.csv", tmp_path / "ben.csv"], key)
    assert ratings[1].value == 1.5


def test_a_sheet_in_another_encoding_is_named_with_a_way_out(tmp_path):
    key = written(tmp_path, "direct")
    path = filled(tmp_path / "anna.csv", GOOD["direct"])
    text = path.read_text("utf-8-sig").replace("source", "来源")
    for encoding in ("gb18030", "utf-16"):
        path.write_bytes(text.encode(encoding))
        with pytest.raises(
            ValueError, match=r"anna\.csv: cannot be read: it is not in UTF-8; save"
        ):
            read_sheets([path], key, incomplete=True)


def test_texts_of_any_length_come_back(tmp_path):
    before = csv.field_size_limit(131_072)  # that of a new process
    try:
        key = written(tmp_path, "direct")
        long = "x" * (csv.field_size_limit() + 1)
        path = edited(
            tmp_path / "anna.csv", lambda rows: [rows[0], [rows[1][0], long, *rows[1][2:]]]
        )
        assert len(read_sheets([path], key, incomplete=True)) == 1
    finally:
        csv.field_size_limit(before)


def test_an_annotator_without_rows_is_not_missed(tmp_path):
    plan = SheetPlan("direct", ("anna",), 1)
    rows = {**make_sheets(plan, outputs(), random.Random(0)), "ben": []}
    key = replace(key_of("direct"), rows=rows)
    assert sorted(map(len, rows.values())) == [0, 2]
    for name, own in rows.items():
        write_sheet(tmp_path / f"{name}.csv", "direct", own, EXAMPLES, False)
    paths = [filled(tmp_path / f"{name}.csv", GOOD["direct"]) for name in rows]
    assert len(read_sheets(paths, key)) == 2


@pytest.mark.parametrize("line", ["bad fluency: x", "minor", "minor poetry: x", "fluency minor: x"])
def test_errors_of_another_form_are_refused(line):
    with pytest.raises(ValueError, match=r"SEVERITY|must be one of"):
        parse_errors(line)


def test_the_key_comes_back_and_is_its_owners_alone(tmp_path):
    key = key_of("pairwise")
    path = write_key(tmp_path, key)
    assert read_key(tmp_path).all_rows() == key.all_rows()
    assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
    for content in ("", "{}", '{"format": 99}', "[1]"):
        path.write_text(content)
        with pytest.raises(ValueError, match=r"key\.json"):
            read_key(tmp_path)
