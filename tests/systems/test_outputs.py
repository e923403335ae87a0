"""Somebody else's outputs are taken as they are, or refused with the line."""

import json

import pytest

from lslm_lightning.contracts import Example
from lslm_lightning.systems.outputs import Outputs

EXAMPLES = [Example(str(i), f"source {i}", ("reference",)) for i in range(3)]


def written(path):
    return [(p.id, p.output) for p in Outputs(str(path)).generate(EXAMPLES)]


def test_lines_stand_in_the_order_of_the_exam(tmp_path):
    (tmp_path / "a.txt").write_text("eins\u2028und\n\n三\n", "utf-8")
    assert written(tmp_path / "a.txt") == [("0", "eins\u2028und"), ("1", ""), ("2", "三")]
    (tmp_path / "windows.txt").write_bytes("\ufeffeins\r\nzwei\r\ndrei".encode())
    assert written(tmp_path / "windows.txt") == [("0", "eins"), ("1", "zwei"), ("2", "drei")]


def test_json_lines_are_found_by_id(tmp_path):
    rows = [{"id": str(i), "output": f"出{i}\u2028", "model": "any"} for i in (2, 0, 1, 9)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    assert written(tmp_path / "a.jsonl") == [("0", "出0\u2028"), ("1", "出1\u2028"), ("2", "出2\u2028")]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", b"one\ntwo\n", "2 lines for 3 examples"),
        ("a.txt", b"\xff\xfe\n", "not UTF-8"),
        ("a.jsonl", b'{"id": "0"}\n', "line 1: expected"),
        ("a.jsonl", b'{"id": "0", "output": 3}\n', "line 1: output must be text"),
        ("a.jsonl", b'{"id": "0", "output": "x"}\n', "no output for 2 of 3 examples; '1'"),
    ],
)
def test_what_is_no_answer_is_refused(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=words):
        written(tmp_path / name)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        Outputs(str(tmp_path / "none.txt")).ready(EXAMPLES)


def test_a_file_of_another_exam_is_refused_before_anything_is_asked(tmp_path):
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    with pytest.raises(ValueError, match="2 lines for 3 examples"):
        Outputs(str(tmp_path / "a.txt")).ready(EXAMPLES)
