"""Each format read into the records that were written; each fault named by file and line."""

import io
import json

import pytest

from lslm_lightning.data.readers import READERS, lines_of, read_parallel

BINARY = {"parquet", "spoken_digits"}


def read(form: str, data: str | bytes, header: bool = True) -> list[dict]:
    return list(READERS[form]("f", data.encode() if isinstance(data, str) else data, header))


def test_only_line_feeds_end_lines() -> None:
    assert lines_of("f", "a\u2028b\x85c\x0cd\r\ne\n\nf".encode()) == ["a\u2028b\x85c\x0cd", "e", "", "f"]


def test_a_byte_order_mark_is_not_text() -> None:
    assert lines_of("f", "\ufeffa\n".encode()) == ["a"]


@pytest.mark.parametrize("form", sorted(READERS.keys() - BINARY))
def test_text_that_is_not_utf8_is_located(form: str) -> None:
    with pytest.raises(ValueError, match=r"^f: line 2: byte 5 \(0xe9\) is not UTF-8; convert the file"):
        read(form, b"one\nt\xe9\n")


@pytest.mark.parametrize("form", sorted(READERS.keys() - BINARY))
@pytest.mark.parametrize("data", [b"", b"\n \n"])
def test_an_empty_file_is_refused(form: str, data: bytes) -> None:
    with pytest.raises(ValueError, match=r"^f: is empty; it needs at least one line"):
        read(form, data)


def test_text_is_one_document_and_lines_are_many() -> None:
    assert read("text", "a\n\nb\n") == [{"id": "f", "text": "a\n\nb\n"}]
    assert read("lines", "a\nb\n") == [{"id": "f:1", "text": "a"}, {"id": "f:2", "text": "b"}]


def test_tables() -> None:
    assert read("tsv", 'en\tzh\n"Hi"\t嗨\n') == [{"id": "f:2", "en": '"Hi"', "zh": "嗨"}]
    assert read("tsv", "Hi\t嗨\n", header=False) == [{"id": "f:1", 0: "Hi", 1: "嗨"}]
    assert read("csv", 'en,zh\n"Hi, ""you""\nthere",嗨\n') == [{"id": "f:3", "en": 'Hi, "you"\nthere', "zh": "嗨"}]


@pytest.mark.parametrize(("form", "data"), [("tsv", "a\tb\nc\n"), ("csv", "a,b\nc\n")])
def test_rows_of_another_width_are_located(form: str, data: str) -> None:
    with pytest.raises(ValueError, match=r"^f: line 2: has 1 columns where the first line has 2"):
        read(form, data)


def test_csv_with_an_open_quote() -> None:
    with pytest.raises(ValueError, match=r"^f: line \d: not CSV"):
        read("csv", 'a,b\n"c,d\n')


def test_a_field_of_csv_may_be_as_long_as_a_document() -> None:
    assert read("csv", f"text,n\n{'a' * 200_000},1\n") == [{"id": "f:2", "text": "a" * 200_000, "n": "1"}]


def test_json_lines_and_lists() -> None:
    objects = [{"text": "a", "n": [1, 2]}, {"text": "b\n"}]
    whole, lines = json.dumps(objects), "\n\n".join(map(json.dumps, objects))
    assert [record["text"] for record in read("json", whole)] == [record["text"] for record in read("jsonl", lines)] == ["a", "b\n"]
    assert [record["id"] for record in read("jsonl", lines)] == ["f:1", "f:3"]


@pytest.mark.parametrize(
    ("form", "data", "message"),
    [
        ("jsonl", '{"a": 1}\n{"a":\n', r"^f: line 2: not JSON"),
        ("jsonl", "[1]\n", r"^f:1: must be an object with named columns, not list"),
        ("json", '{"a": 1}', r"^f: must be a list of objects, not one dict; .* format: jsonl"),
        ("json", "[1", r"^f: not JSON"),
    ],
)
def test_broken_json_is_located(form: str, data: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(form, data)


def test_a_tag_begins_at_the_last_slash() -> None:
    text = "\n\n\tThe/at 1/2/cd dogs/nns ./.\n\n\nThey/ppss bark/vb\n"
    assert list(READERS["tagged"]("brown/ca01", text.encode(), True)) == [{"id": "ca01", "text": "The 1/2 dogs .\nThey bark"}]


def test_an_email_with_several_subjects() -> None:
    text = "Hi,\n@home today.\n\n@subject\nAt home\n\n@ann0\nhome\n@ann1\nthere"
    record = {"id": "a_1", "body": "Hi,\n@home today.", "subject": "At home", "ann0": "home", "ann1": "there"}
    assert list(READERS["subject"]("x/a_1.subject", text.encode(), True)) == [record]
    with pytest.raises(ValueError, match=r"^f: has no line @subject"):
        read("subject", "Hi\n")


def test_parquet() -> None:
    import pyarrow
    from pyarrow import parquet

    buffer = io.BytesIO()
    parquet.write_table(pyarrow.table({"text": ["a", "b"]}), buffer)
    assert read("parquet", buffer.getvalue()) == [{"id": "f:1", "text": "a"}, {"id": "f:2", "text": "b"}]
    with pytest.raises(ValueError, match=r"^f: not a readable Parquet file"):
        read("parquet", buffer.getvalue()[:-20])


def test_parallel_lines_stay_together() -> None:
    assert list(read_parallel({"en": ("train.en", b"a\nb\n"), "de": ("train.de", b"c\nd")})) == [
        {"id": "train:1", "en": "a", "de": "c"},
        {"id": "train:2", "en": "b", "de": "d"},
    ]


def test_parallel_files_of_different_lengths() -> None:
    with pytest.raises(ValueError, match=r"equal numbers of lines: train.en has 3, train.de has 2;"):
        list(read_parallel({"en": ("train.en", b"a\nb\n\n"), "de": ("train.de", b"c\nd\n")}))


def nested(*questions: dict) -> str:
    return json.dumps({"version": "v2.0", "data": [{"title": "T", "paragraphs": [{"context": "A b.", "qas": list(questions)}]}]})


def test_questions_nested_as_in_squad() -> None:
    answers = [{"text": "b", "answer_start": 2}, {"text": "A b", "answer_start": 0}]
    impossible = {"id": "r", "question": "Why?", "answers": [], "plausible_answers": answers, "is_impossible": True}
    text = nested({"id": "q", "question": "What?", "answers": answers}, impossible, {"question": "Who?", "answers": []})
    common, unmarked = {"title": "T", "context": "A b."}, {"plausible": [], "plausible_starts": []}
    assert read("squad", text) == [
        {"id": "q", **common, "question": "What?", "answers": ["b", "A b"], "starts": [2, 0], **unmarked},
        {"id": "r", **common, "question": "Why?", "answers": [], "starts": [], "plausible": ["b", "A b"], "plausible_starts": [2, 0]},
        {"id": "f:1.1.3", **common, "question": "Who?", "answers": [], "starts": [], **unmarked},
    ]
    assert read("json", text) == read("squad", text), "a file of one's own needs no entry"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("[]", r'^f: must be an object with a list "data" of articles, as SQuAD has it; .* format: json'),
        ('{"data": 5}', r'^f: must be an object with a list "data" of articles'),
        ('{"data": [{"title": "T"}]}', r"^f: article 1 is not as in SQuAD \(KeyError: 'paragraphs'\)"),
        (nested({"id": "q", "question": "What?"}), r"^f: article 1 is not as in SQuAD \(KeyError: 'answers'\)"),
        (nested({"id": "q", "question": "What?", "answers": ["b"]}), r"^f: article 1 is not as in SQuAD \(TypeError"),
    ],
)
def test_what_is_not_nested_so_is_named(data: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read("squad", data)
