"""Somebody else's outputs are taken as they are, or refused with the line."""

import gzip
import json

import pytest

from lslm_lightning.contracts import Example, OutputsError
from lslm_lightning.corpora.text_lines import lines_of
from lslm_lightning.evaluation.results import Entry, check_entries
from lslm_lightning.metrics.bleu import Bleu
from lslm_lightning.systems.outputs import Outputs
from tests.corpora.test_roads import PACK

RUSSIAN = "Привет, как дела? Сегодня хорошая погода, и мы идём гулять в парк с собакой."
EXAMPLES = [Example(str(i), f"source {i}", ("reference",)) for i in range(3)]


def written(path):
    return [(p.id, p.output) for p in Outputs(str(path)).generate(EXAMPLES)]


def test_lines_are_in_the_order_of_the_examples(tmp_path):
    (tmp_path / "a.txt").write_text("eins\u2028und\n\n三\n", "utf-8")
    assert written(tmp_path / "a.txt") == [("0", "eins\u2028und"), ("1", ""), ("2", "三")]
    (tmp_path / "windows.txt").write_bytes("\ufeffeins\r\nzwei\r\ndrei".encode())
    assert written(tmp_path / "windows.txt") == [("0", "eins"), ("1", "zwei"), ("2", "drei")]


def test_json_lines_are_found_by_id(tmp_path):
    rows = [{"id": str(i), "output": f"出{i}\u2028", "model": "any"} for i in (2, 0, 1, 9)]
    (tmp_path / "a.jsonl").write_text(
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8"
    )
    assert written(tmp_path / "a.jsonl") == [
        ("0", "出0\u2028"),
        ("1", "出1\u2028"),
        ("2", "出2\u2028"),
    ]


@pytest.mark.parametrize("others", [[], ["9"], ["9", "10", "z"]])
def test_outputs_of_ids_that_the_evaluation_set_lacks_are_told(others, tmp_path):
    path = tmp_path / "a.jsonl"
    ids = [*others, *(e.id for e in EXAMPLES)]
    path.write_text("".join(json.dumps({"id": i, "output": "a"}) + "\n" for i in ids), "utf-8")
    system = Outputs(str(path))
    predictions = list(system.generate(EXAMPLES))
    entry = Entry("it", predictions, facts=system.info())
    found = [f for f in check_entries(EXAMPLES, [entry], [Bleu("de")]) if f.check.startswith("un")]
    assert [f.words.split(" outputs")[0] for f in found] == (
        [f"{len(others)} of {len(ids)}"] if others else []
    )


@pytest.mark.parametrize("ending", ["", ".gz", ".GZ", ".xz", ".bz2"])
def test_names_say_the_format_in_any_case_packed_or_not(ending, tmp_path):
    pack = PACK[ending.lower()]
    (tmp_path / f"a.JSONL{ending}").write_bytes(
        pack("".join(f'{{"id": "{i}", "output": "x{i}"}}\n' for i in range(3)).encode())
    )
    (tmp_path / f"a.de{ending}").write_bytes(pack(b"x0\nx1\nx2\n"))
    for name in ("a.JSONL", "a.de"):
        assert written(tmp_path / f"{name}{ending}") == [(str(i), f"x{i}") for i in range(3)]
        assert Outputs(str(tmp_path / f"{name}{ending}")).name == "a"


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.json", "a.CSV.gz"])
def test_a_table_is_not_taken_for_lines(name, tmp_path):
    data = b"id,output\n0,x\n1,y\n"
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    with pytest.raises(OutputsError, match=rf"{name}: answers are read from lines of text"):
        Outputs(str(tmp_path / name)).prepare(EXAMPLES)


@pytest.mark.parametrize(
    "inner", ["\r", "\x0b", "\x0c", "\x1c", "\x1e", "\x85", "\u2028", "\u2029", " ", "\r\r"]
)
def test_only_line_feeds_end_lines(inner, tmp_path):
    """Other characters that some tools take for line ends stay in the line, as in corpora."""
    outputs = [f"eins{inner}und", f"{inner}zwei", "drei"]
    for end in ("\n", "\r\n"):
        (tmp_path / "a.txt").write_bytes(end.join([*outputs, ""]).encode())
        assert [output for _, output in written(tmp_path / "a.txt")] == outputs
        assert [output for _, output in written(tmp_path / "a.txt")] == lines_of(
            "a", (tmp_path / "a.txt").read_bytes()
        )
        rows = [
            json.dumps({"id": str(i), "output": output}, ensure_ascii=False)
            for i, output in enumerate(outputs)
        ]
        (tmp_path / "a.jsonl").write_bytes(end.join([*rows, ""]).encode())
        assert [output for _, output in written(tmp_path / "a.jsonl")] == outputs


def test_ids_may_be_numbers(tmp_path):
    (tmp_path / "a.jsonl").write_text("".join(f'{{"id": {i}, "output": "x"}}\n' for i in range(3)))
    assert len(written(tmp_path / "a.jsonl")) == 3


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", b"one\ntwo\n", "2 lines for 3 examples"),
        ("a.txt", b"\xff\xfe\n", "line 1: byte 0 .* the file is UTF-16"),
        ("a.jsonl", b'{"id": "0"}\n', "line 1: expected"),
        ("a.jsonl", b'{"id": "0", "output": 3}\n', "line 1: output must be text"),
        ("a.jsonl", b'{"id": "0", "output": "x"}\n', "no output for 2 of 3 examples; '1'"),
        (
            "a.jsonl",
            b'{"id": "0", "output": "x"}\n\n{"id": "0", "output": "x"}\n',
            "line 3: the id '0' is in line 1 already; remove one",
        ),
        (
            "a.jsonl",
            b'{"id": "0", "output": "x"}\n{"id": 0, "output": "y"}\n',
            "line 2: the id '0' is in line 1 already",
        ),
        (
            "a.jsonl",
            b'{"id": "0", "output": "x", "output": "y"}\n',
            "line 1: the key 'output' stands twice",
        ),
        (
            "a.jsonl",
            rb'{"id": "0", "output": "dr\ud83d"}',
            r"line 1: output has half a surrogate pair, \\ud83d, at character 3",
        ),
        ("a.jsonl", rb'{"id": "\udfff", "output": "x"}', "line 1: id has half a surrogate pair"),
        (
            "a.jsonl",
            rb'{"id": "0", "output": "x\u0000"}',
            r"line 1: output has a NUL, U\+0000, at character 2",
        ),
        ("a.jsonl", b'{"id": "0", "output": NaN}', "line 1: output must be text, not NaN"),
        ("a.jsonl", b'{"id": "0", "output": true}', "line 1: output must be text, not true"),
        ("a.jsonl", b'{"id": "0", "output": null}', "line 1: output must be text, not null"),
        (
            "a.jsonl",
            b'{"id": null, "output": "x"}',
            "line 1: id must be text or a number, not null",
        ),
        ("a.jsonl", b'{"id": true, "output": "x"}', "line 1: id must be text, not true"),
        ("a.jsonl", b'{"id": "0"\n', "line 1: not JSON"),
        ("a.jsonl", b'["0", "x"]\n', "line 1: expected"),
        ("a.txt", b"one\nt\0o\nthree\n", r"line 2: byte 5 \(0x00\) is NUL"),
        ("a.txt", "eins\nzwei\ndrei\n".encode("utf-16-le"), "the file is UTF-16"),
        (
            "a.txt",
            f"{RUSSIAN}\nx\ny\n".encode("cp1251"),
            "line 1: .*reads as Windows-1251, .*: iconv -f CP1251 -t UTF-8",
        ),
    ],
)
def test_what_is_no_answer_is_refused(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=words):
        written(tmp_path / name)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        Outputs(str(tmp_path / "none.txt")).prepare(EXAMPLES)


def test_a_file_of_another_evaluation_set_is_refused_before_anything_is_asked(tmp_path):
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    with pytest.raises(ValueError, match="2 lines for 3 examples"):
        Outputs(str(tmp_path / "a.txt")).prepare(EXAMPLES)
