"""Each format read into the records that were written; each fault named by file and line."""

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lslm_lightning.corpora import text_lines
from lslm_lightning.corpora.corpus_formats import read_parallel
from lslm_lightning.corpora.readers import READERS
from lslm_lightning.corpora.rows import to_row
from lslm_lightning.corpora.text_lines import lines_of

BINARY = {"parquet", "arrow", "spoken_digits"}


def read(form: str, data: str | bytes, header: bool = True) -> list[dict]:
    return list(READERS[form]("f", data.encode() if isinstance(data, str) else data, header))


def test_only_line_feeds_end_lines() -> None:
    assert lines_of("f", "a\u2028b\x85c\x0cd\r\ne\n\nf".encode()) == [
        "a\u2028b\x85c\x0cd",
        "e",
        "",
        "f",
    ]


def test_a_byte_order_mark_is_not_text() -> None:
    assert lines_of("f", "\ufeffa\n".encode()) == ["a"]


@pytest.mark.parametrize("form", sorted(READERS.keys() - BINARY))
def test_text_that_is_not_utf8_is_located(form: str) -> None:
    with pytest.raises(
        ValueError,
        match=r"^f: line 2: byte 10 \(0xe9\) is not UTF-8, and its encoding cannot be told from",
    ):
        read(form, b'{"a": 1}\nt\xe9\n')


@pytest.mark.parametrize("form", sorted(READERS.keys() - BINARY))
@pytest.mark.parametrize("data", [b"", b"\n \n"])
def test_an_empty_file_is_refused(form: str, data: bytes) -> None:
    with pytest.raises(ValueError, match=r"^f: is empty; it needs at least one line"):
        read(form, data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            '{"train": [{"en": "a"}], "test": [{"en": "b"}]}',
            r"under 'train', 'test'; .*: jq '.\[.train.\]' FILE > train.json and",
        ),
        (
            '{"version": "1", "data": [{"en": "a"}]}',
            r"lists of rows under 'data'; .*: jq '.\[.data.\]' FILE > data.json$",
        ),
        ('{"rows": [{"en": "a"}, {"en": "b"}], "n": 2}', r"lists of rows under 'rows'; "),
        ('{"en": "a", "de": ["b"]}', r"must be a list of objects, not one dict; .* format: jsonl"),
    ],
)
def test_an_object_with_lists_of_rows_is_told_how_to_be_a_list(data: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"^f: .*{message}"):
        read("json", data)


def test_a_list_in_json_lines_is_told_its_name() -> None:
    with pytest.raises(
        ValueError,
        match=r"^f:1: must be .*, not list; call a file that is one list of objects .json$",
    ):
        read("jsonl", '[{"en": "a"}]\n')


def test_text_is_one_document_and_lines_are_many() -> None:
    assert read("text", "a\n\nb\n") == [{"id": "f", "text": "a\n\nb\n"}]
    assert read("lines", "a\nb\n") == [{"id": "f:1", "text": "a"}, {"id": "f:2", "text": "b"}]


def test_tables() -> None:
    assert read("tsv", 'en\tzh\n"Hi"\t嗨\n') == [{"id": "f:2", "en": '"Hi"', "zh": "嗨"}]
    assert read("tsv", "Hi\t嗨\n", header=False) == [{"id": "f:1", 0: "Hi", 1: "嗨"}]
    assert read("csv", 'en,zh\n"Hi, ""you""\nthere",嗨\n') == [
        {"id": "f:3", "en": 'Hi, "you"\nthere', "zh": "嗨"}
    ]


@pytest.mark.parametrize(("form", "data"), [("tsv", "a\tb\nc\n"), ("csv", "a,b\nc\n")])
def test_rows_of_another_width_are_located(form: str, data: str) -> None:
    with pytest.raises(ValueError, match=r"^f: line 2: has 1 columns where the first line has 2"):
        read(form, data)


@pytest.mark.parametrize(
    "row",
    ['a, "b"', '"a", "b"', 'a, "b, c"', 'a,  "b"', ' "a",b', 'a, "b ""c"""', 'a, "two\nlines"'],
)
def test_a_space_before_a_quote_does_not_make_the_quote_text(row: str) -> None:
    with pytest.raises(ValueError, match=r"x\.csv: line 3: .*space before a quote"):
        list(READERS["csv"]("x.csv", f"en,de\nc,d\n{row}\n".encode(), True))


@pytest.mark.parametrize("values", [[' "b" ', "a"], [" b", ' ""'], ["a", ' b "c"'], [" ", '"']])
def test_quotes_that_are_text_stay(values: list[str]) -> None:
    table = io.StringIO(newline="")
    csv.writer(table, quoting=csv.QUOTE_ALL).writerows([["en", "de"], values])
    [row] = READERS["csv"]("x.csv", table.getvalue().encode(), True)
    assert [row["en"], row["de"]] == values


@pytest.mark.parametrize(("form", "mark"), [("csv", ","), ("tsv", "\t")])
def test_names_of_columns_between_rows_are_refused(form: str, mark: str) -> None:
    rows = [["en", "de"], ["en", "x"], ["de", "en"], ["en", "de"], ["a", "b"]]
    data = "".join(mark.join(row) + "\n" for row in rows).encode()
    with pytest.raises(ValueError, match=rf"x\.{form}: line 4: .*names of the columns again"):
        list(READERS[form](f"x.{form}", data, True))
    assert len(list(READERS[form](f"x.{form}", data, False))) == len(rows)  # no names are stated
    one = b"text\na\ntext\n"
    assert len(list(READERS[form](f"x.{form}", one, True))) == 2  # a word, perhaps


def test_csv_with_an_open_quote() -> None:
    with pytest.raises(
        ValueError, match=r"^f: line 3: not CSV \(unexpected end of data, in line 5\)"
    ):
        read("csv", 'a,b\nx,y\n"c,d\ne,f\ng,h\n')


def test_a_blank_line_of_a_table_is_named() -> None:
    with pytest.raises(
        ValueError, match=r"^f: line 3: is blank; it has 1 columns where the first line has 2"
    ):
        read("tsv", "a\tb\nc\td\n\ne\tf\n")


@pytest.mark.parametrize(("form", "mark"), [("csv", ","), ("tsv", "\t")])
def test_a_column_that_stands_twice_is_named(form: str, mark: str) -> None:
    with pytest.raises(
        ValueError, match=r"^f: line 1: has the column 'en' twice; rename or remove one"
    ):
        read(form, "en|de|en\na|b|c\n".replace("|", mark))
    [record] = read(form, "en|de||\na|b||\n".replace("|", mark))
    assert (record["en"], record["de"]) == ("a", "b"), "columns without a name cannot be chosen"
    assert read(form, "x|x\n".replace("|", mark), header=False) == [{"id": "f:1", 0: "x", 1: "x"}]


def column_store(form: str, columns: list, names: list[str]) -> bytes:
    import pyarrow
    from pyarrow import ipc, parquet

    table = pyarrow.Table.from_arrays([pyarrow.array(column) for column in columns], names=names)
    buffer = io.BytesIO()
    if form == "parquet":
        parquet.write_table(table, buffer)
    else:
        with ipc.new_file(buffer, table.schema) as writer:
            writer.write_table(table)
    return buffer.getvalue()


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_column_stores(form: str) -> None:
    import pyarrow

    assert read(form, column_store(form, [["a", None], [1, 2]], ["text", "n"])) == [
        {"id": "f:1", "text": "a", "n": 1},
        {"id": "f:2", "text": None, "n": 2},
    ]
    with pytest.raises(ValueError, match=r"^f: the schema: has the column 'en' twice"):
        read(form, column_store(form, [["a"], ["b"], ["c"]], ["en", "de", "en"]))
    fields = [pyarrow.field("a", pyarrow.string())] * 2
    twice = pyarrow.StructArray.from_arrays(
        [pyarrow.array(["x"]), pyarrow.array(["y"])], fields=fields
    )
    with pytest.raises(ValueError, match=r"^f: rows from 1 on: .*duplicate field names"):
        read(form, column_store(form, [twice], ["text"]))
    broken = pyarrow.Array.from_buffers(
        pyarrow.utf8(), 2, pyarrow.array([b"good", b"b\xe9d"]).buffers()
    )
    with pytest.raises(ValueError, match=r"^f: row 2: a text is not UTF-8"):
        read(form, column_store(form, [broken], ["text"]))
    with pytest.raises(ValueError, match=rf"^f: not a readable {form.title()} file"):
        read(form, b"no such thing")


@pytest.mark.parametrize(
    ("form", "data", "message"),
    [
        (
            "csv",
            "en;de\nHi;Hallo\n",
            r"has one column, 'en;de': columns seem to be separated by ';', not by ','; convert it",
        ),
        ("csv", "en\tde\nHi\tHallo\n", "separated by tabs, not by ','; name the file .tsv"),
        ("csv", "en|de\nHi|Hallo\n", r"separated by '\|'"),
        ("tsv", "en,de\nHi,Hallo\n", "separated by ',', not by tabs; name the file .csv"),
        ("tsv", "en;de\nHi;Hallo\n", "separated by ';', not by tabs"),
    ],
)
def test_another_separator_is_named(form: str, data: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"^f: line 1: .*{message}"):
        read(form, data)


def test_one_column_may_have_any_sign() -> None:
    assert [record["text"] for record in read("csv", "text\nHi; you\nb|c\n")] == ["Hi; you", "b|c"]
    assert [record["text"] for record in read("tsv", "text\nHi, you\nb;c\n")] == ["Hi, you", "b;c"]
    assert [record["a; b"] for record in read("csv", "a; b\nHi\n")] == ["Hi"]


@pytest.mark.parametrize(("form", "mark"), [("csv", ","), ("tsv", "\t")])
def test_a_return_alone_ends_no_row(form: str, mark: str) -> None:
    rows = read(form, "en|de\r\none\rtwo|drei\rvier\r\nfive\r|six\r\r\n".replace("|", mark))
    assert [(row["en"], row["de"]) for row in rows] == [
        ("one\rtwo", "drei\rvier"),
        ("five\r", "six\r"),
    ]
    with pytest.raises(
        ValueError,
        match=(
            r"^f: line 1: the names of columns have a carriage return; only LF and CRLF end a "
            r"line"
        ),
    ):
        read(form, "en|de\ra|b\rc|d\r".replace("|", mark))


def test_a_field_of_csv_may_be_as_long_as_a_document() -> None:
    assert read("csv", f"text,n\n{'a' * 200_000},1\n") == [
        {"id": "f:2", "text": "a" * 200_000, "n": "1"}
    ]


def test_json_lines_and_lists() -> None:
    objects = [{"text": "a", "n": [1, 2]}, {"text": "b\n"}]
    whole = json.dumps(objects)
    lines = "\n\n".join(map(json.dumps, objects))
    assert (
        [record["text"] for record in read("json", whole)]
        == [record["text"] for record in read("jsonl", lines)]
        == ["a", "b\n"]
    )
    assert [record["id"] for record in read("jsonl", lines)] == ["f:1", "f:3"]


@pytest.mark.parametrize(
    ("form", "data", "message"),
    [
        ("jsonl", '{"a": 1}\n{"a":\n', r"^f: line 2: not JSON"),
        ("jsonl", "[1]\n", r"^f:1: must be an object with named columns, not list"),
        ("json", '{"a": 1}', r"^f: must be a list of objects, not one dict; .* format: jsonl"),
        ("json", '[{"a": 1}', r"^f: line 1: not JSON \(the list has no"),
        ("json", '[{"a":\n1 "b"}]', r"^f: line 2: not JSON \(Expecting ',' delimiter"),
        ("json", "[1]", r"^f: line 1, object 1: must be an object with named columns, not number"),
    ],
)
def test_broken_json_is_located(form: str, data: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(form, data)


def test_a_tag_begins_at_the_last_slash() -> None:
    text = "\n\n\tThe/at 1/2/cd dogs/nns ./.\n\n\nThey/ppss bark/vb\n"
    assert list(READERS["tagged"]("brown/ca01", text.encode(), True)) == [
        {"id": "ca01", "text": "The 1/2 dogs .\nThey bark"}
    ]


def test_an_email_with_several_subjects() -> None:
    text = "Hi,\n@home today.\n\n@subject\nAt home\n\n@ann0\nhome\n@ann1\nthere"
    record = {
        "id": "a_1",
        "body": "Hi,\n@home today.",
        "subject": "At home",
        "ann0": "home",
        "ann1": "there",
    }
    assert list(READERS["subject"]("x/a_1.subject", text.encode(), True)) == [record]
    with pytest.raises(ValueError, match=r"^f: has no line @subject"):
        read("subject", "Hi\n")


class Counted(io.BytesIO):
    """A file that counts the bytes it gave."""

    n_byte = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.n_byte += len(data)
        return data

    def readline(self, size: int | None = -1) -> bytes:
        line = super().readline(size)
        self.n_byte += len(line)
        return line


@pytest.mark.parametrize("form", ["lines", "csv", "tsv", "jsonl", "json"])
def test_no_more_is_read_than_is_needed(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_lines, "CHUNK", 1000)
    objects = [{"text": f"文{i}"} for i in range(10_000)]
    data = (
        json.dumps(objects)
        if form == "json"
        else "".join(json.dumps(one) + "\n" for one in objects)
    )
    if form != "json" and form != "jsonl":
        data = "text\n" + "".join(f"文{i}\n" for i in range(10_000))
    file = Counted(data.encode())
    found = READERS[form]("f", file, True)
    next(found), next(found)
    assert file.n_byte <= 2000
    assert sum(1 for _ in found) >= 9_998
    assert file.n_byte == len(data.encode())


@pytest.mark.slow
@given(
    st.lists(
        st.recursive(
            st.text(max_size=5) | st.integers() | st.booleans() | st.none(),
            lambda v: st.lists(v, max_size=3),
        )
    ),
    st.data(),
)
def test_json_is_the_same_in_chunks_of_any_size(values, data) -> None:
    values = [value for value in values if not isinstance(value, float)]
    objects = [{"a": value, "é": {"b": value}} for value in values]
    indent = data.draw(st.sampled_from([None, 1]))
    n = data.draw(st.integers(1, 9))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_lines, "CHUNK", n)
        found = list(
            READERS["json"](
                "f",
                json.dumps(objects, indent=indent, ensure_ascii=False).encode(
                    "utf-8", "surrogatepass"
                ),
                True,
            )
        )
    assert [(record["a"], record["é"]) for record in found] == [
        (each["a"], each["é"]) for each in map(spelled, objects)
    ]


def spelled(value):
    """With the digits of numbers in place of them."""
    if isinstance(value, dict):
        return {name: spelled(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [spelled(inner) for inner in value]
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def test_a_fault_in_the_middle_of_a_long_list_is_found_in_its_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(text_lines, "CHUNK", 64)
    lines = [json.dumps({"text": f"{i}" * (i % 50)}) for i in range(200)]
    for number, wrong in (
        (120, '{"text": x}'),
        (199, '{"text": "a"'),
        (5, '{"text": "a", "text": 1}'),
    ):
        broken = [*lines[: number - 1], wrong, *lines[number:]]
        with pytest.raises(ValueError, match=rf"^f: line {number + (number == 199)}: "):
            read("json", "[" + ",\n".join(broken) + "]")


def test_parallel_lines_stay_together() -> None:
    assert list(read_parallel({"en": ("train.en", b"a\nb\n"), "de": ("train.de", b"c\nd")})) == [
        {"id": "train:1", "en": "a", "de": "c"},
        {"id": "train:2", "en": "b", "de": "d"},
    ]


def test_parallel_files_of_different_lengths() -> None:
    with pytest.raises(
        ValueError, match=r"equal numbers of lines: train.en has 3, train.de has 2;"
    ):
        list(read_parallel({"en": ("train.en", b"a\nb\n\n"), "de": ("train.de", b"c\nd\n")}))


def nested(*questions: dict) -> str:
    return json.dumps(
        {
            "version": "v2.0",
            "data": [{"title": "T", "paragraphs": [{"context": "A b.", "qas": list(questions)}]}],
        }
    )


def test_questions_nested_as_in_squad() -> None:
    answers = [{"text": "b", "answer_start": 2}, {"text": "A b", "answer_start": 0}]
    impossible = {
        "id": "r",
        "question": "Why?",
        "answers": [],
        "plausible_answers": answers,
        "is_impossible": True,
    }
    text = nested(
        {"id": "q", "question": "What?", "answers": answers},
        impossible,
        {"question": "Who?", "answers": []},
    )
    common = {"title": "T", "context": "A b."}
    unmarked = {"plausible": [], "plausible_starts": []}
    assert read("squad", text) == [
        {
            "id": "q",
            **common,
            "question": "What?",
            "answers": ["b", "A b"],
            "starts": [2, 0],
            **unmarked,
        },
        {
            "id": "r",
            **common,
            "question": "Why?",
            "answers": [],
            "starts": [],
            "plausible": ["b", "A b"],
            "plausible_starts": [2, 0],
        },
        {"id": "f:1.1.3", **common, "question": "Who?", "answers": [], "starts": [], **unmarked},
    ]
    assert read("json", text) == read("squad", text), "a file of one's own needs no entry"


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (
            r'{"question": "Wh\ud83dat?", "answers": []}',
            r"question has half a surrogate pair, \\ud83d, at character 3",
        ),
        (r'{"question": "What\u0000?", "answers": []}', r"question has a NUL"),
        ('{"question": true, "answers": []}', "question must be text, not true"),
        ('{"question": NaN, "answers": []}', "question must be text, not NaN"),
        (
            r'{"question": "a", "answers": [{"text": "\ude00", "answer_start": 0}]}',
            "answers has half a surrogate pair",
        ),
    ],
)
def test_texts_of_questions_are_checked_with_their_place(question: str, message: str) -> None:
    text = nested({"id": "q", "question": "What?", "answers": []}).replace(
        "}]}]}]}", "}, " + question + "]}]}]}"
    )
    assert text.endswith("]}]}]}")
    rows = (
        to_row(record, {}, ("context", "question", "answers", "starts"))
        for record in READERS["squad"]("f", text.encode(), True)
    )
    with pytest.raises(ValueError, match=rf"^f: article 1, paragraph 1, question 2: {message}"):
        list(rows)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            "[]",
            (
                r'^f: must be an object with a list "data" of articles, as SQuAD has it; .* '
                r"format: json"
            ),
        ),
        ('{"data": 5}', r'^f: must be an object with a list "data" of articles'),
        (
            '{"data": [{"title": "T"}]}',
            r"^f: article 1 is not as in SQuAD \(KeyError: 'paragraphs'\)",
        ),
        (
            nested({"id": "q", "question": "What?"}),
            r"^f: article 1 is not as in SQuAD \(KeyError: 'answers'\)",
        ),
        (
            nested({"id": "q", "question": "What?", "answers": ["b"]}),
            r"^f: article 1 is not as in SQuAD \(TypeError",
        ),
    ],
)
def test_what_is_not_nested_so_is_named(data: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read("squad", data)
