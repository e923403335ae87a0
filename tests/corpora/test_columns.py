"""Columns are found by the names that people give them, and what is not found is refused with the
words to add.
"""

import json
import re

import pytest
import yaml

from lslm_lightning.corpora.lookup import open_corpus
from lslm_lightning.text.language_names import language_named, match_language
from lslm_lightning.text.languages import base_language

SUMMARIES = ("document", "summary")
TRANSLATIONS = ("en", "de")
TURNS = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello"},
]


def lines(*records: dict) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("train.csv", "English,German\nHi,Hallo\n"),
        ("train.tsv", "Deutsch\tEnglish\nHallo\tHi\n"),
        ("train.csv", "EN,De\nHi,Hallo\n"),
        ("train.csv", " en , de \nHi,Hallo\n"),
        ("train.csv", "\ufeffen,de\nHi,Hallo\n"),
        ("train.csv", "Unnamed: 0,en,de\n0,Hi,Hallo\n"),
        ("train.csv", ",german,english,score\n0,Hallo,Hi,1\n"),
        ("train.csv", "en_GB,de-AT\nHi,Hallo\n"),
        ("train.jsonl", lines({"translation": {"en": "Hi", "de": "Hallo"}})),
        ("train.jsonl", lines({"sentences": {"de_DE": "Hallo", "en_US": "Hi"}, "id": "7"})),
    ],
)
def test_languages_by_code_and_name(name: str, text: str, put) -> None:
    put({name: text}, "d")
    corpus = open_corpus("d", languages=TRANSLATIONS, fields=TRANSLATIONS)
    assert set(corpus.languages) == set(TRANSLATIONS)
    assert [(row["en"], row["de"]) for row in corpus.rows("train")] == [("Hi", "Hallo")]


@pytest.mark.parametrize(
    ("name", "code"),
    [("Chinese", "zh"), ("中文", "zh"), ("русский", "ru"), ("FRANÇAIS", "fr"), ("title", None)],
)
def test_names_of_languages(name: str, code: str | None) -> None:
    assert language_named(name) == code


@pytest.mark.parametrize(
    ("code", "names", "found"),
    [
        ("zh-CN", ["zh", "en"], "zh"),
        ("zh", ["zh_Hans", "en"], "zh_Hans"),
        ("zh", ["zh-CN", "zh-TW"], None),
        ("zh-TW", ["zh-CN"], None),
        ("pt-BR", ["pt_br", "pt"], "pt_br"),
        ("de", ["text", "German"], "German"),
        ("de", ["text", "id"], None),
    ],
)
def test_codes_that_mean_one_language(code: str, names: list[str], found: str | None) -> None:
    assert match_language(code, names) == found


@pytest.mark.skipif(base_language("cmn") != "zh", reason="needs codes of three letters")
@pytest.mark.parametrize(
    "files", [{"test.cmn": "你好\n", "test.eng": "Hi\n"}, {"test.csv": "cmn_Hans,eng\n你好,Hi\n"}]
)
def test_codes_of_three_letters(files: dict, put) -> None:
    put(files, "d")
    row = open_corpus("d", languages=("en", "zh"), fields=("en", "zh")).rows("test")[0]
    assert (row["en"], row["zh"]) == ("Hi", "你好")


def test_a_column_that_is_read_by_its_name_is_told(put, caplog: pytest.LogCaptureFixture) -> None:
    put({"train.csv": "English,中文\nHi,你好\n"}, "d")
    with caplog.at_level("INFO"):
        corpus = open_corpus("d")
    assert corpus.languages == ("en", "zh")
    assert corpus.note == "Column 'English' is read as en. Column '中文' is read as zh."
    assert "is read as zh" in caplog.text


@pytest.mark.parametrize("header", ["Text", " text", "TEXT "])
def test_fields_in_any_case(header: str, put) -> None:
    put({"train.csv": f"Unnamed: 0,{header}\n0,hello\n"}, "d")
    assert open_corpus("d").rows("train") == [{"id": "train.csv:2", "text": "hello"}]


def test_a_field_in_its_own_case_comes_first(put) -> None:
    put({"train.csv": "Text,text\nA,b\n"}, "d")
    assert open_corpus("d").rows("train")[0]["text"] == "b"


@pytest.mark.parametrize("fields", [(), ("text",)])
@pytest.mark.parametrize(
    "record",
    [
        {"messages": TURNS},
        {"conversations": [{"from": turn["role"], "value": turn["content"]} for turn in TURNS]},
        {
            "messages": [
                turn | {"content": [{"type": "text", "text": turn["content"]}]} for turn in TURNS
            ]
        },
    ],
)
def test_chat_is_text(record: dict, fields: tuple[str, ...], put) -> None:
    put({"train.jsonl": lines(record)}, "d")
    corpus = open_corpus("d", fields=fields)
    assert corpus.rows("train")[0]["text"] == "system: Be kind.\n\nuser: Hi\n\nassistant: Hello"
    assert "are read as text, each as role: content" in corpus.note


def test_chat_in_parquet_and_single_turns_of_it(alone) -> None:
    import pyarrow
    from pyarrow import parquet

    (alone / "d").mkdir()
    parquet.write_table(pyarrow.table({"messages": [TURNS]}), alone / "d/test.parquet")
    assert open_corpus("d").rows("test")[0]["text"].endswith("assistant: Hello")
    with pytest.raises(
        ValueError, match=r"no column for 'document' and 'summary'; it has messages"
    ) as caught:
        open_corpus("d", fields=SUMMARIES)
    columns = yaml.safe_load(re.search(r"columns: (\{.*?\})", str(caught.value))[1])
    assert columns == {"document": "messages.1.content", "summary": "messages.-1.content"}
    row = open_corpus("d", columns, fields=SUMMARIES).rows("test")[0]
    assert (row["document"], row["summary"]) == ("Hi", ["Hello"])


def test_a_turn_without_text_is_refused_by_line(put) -> None:
    put(
        {
            "train.jsonl": lines(
                {"messages": TURNS},
                {"messages": [*TURNS, {"role": "assistant", "content": None, "tool_calls": []}]},
            )
        },
        "d",
    )
    with pytest.raises(
        ValueError, match=r"^train.jsonl:2: turn 4 of 4 has nothing where its text should be"
    ):
        open_corpus("d").rows("train")


@pytest.mark.parametrize(
    "answers", [{"text": ["c"], "answer_start": [2]}, [{"text": "c", "answer_start": 2}]]
)
def test_answers_of_questions_in_objects(answers, put) -> None:
    empty = {"text": [], "answer_start": []} if isinstance(answers, dict) else []
    put(
        {
            "train.jsonl": lines(
                *({"question": "q", "context": "a c", "answers": own} for own in (answers, empty))
            )
        },
        "d",
    )
    rows = open_corpus("d", fields=("context", "question", "answers")).rows("train")
    assert [(row["answers"], row["starts"]) for row in rows] == [(["c"], ["2"]), ([], [])]


@pytest.mark.parametrize(
    ("header", "languages", "fields", "columns"),
    [
        ("src,tgt", TRANSLATIONS, TRANSLATIONS, {"en": "src", "de": "tgt"}),
        ("target,source,score", TRANSLATIONS, TRANSLATIONS, {"en": "source", "de": "target"}),
        ("id,article,highlights", (), SUMMARIES, {"document": "article", "summary": "highlights"}),
        ("dialogue,topic,summary", (), SUMMARIES, {"document": "dialogue", "summary": "summary"}),
        ("body,label", (), ("text",), {"text": "body"}),
        ("file,sentence", (), ("audio", "text"), {"audio": "file", "text": "sentence"}),
        (
            "passage,query,answer",
            (),
            ("context", "question", "answers"),
            {"context": "passage", "question": "query", "answers": "answer"},
        ),
    ],
)
def test_what_is_not_found_is_refused_with_the_words_to_add(
    header, languages, fields, columns, put
) -> None:
    put({"train.csv": f"{header}\n{','.join('x' * (header.count(',') + 1))}\n"}, "d")
    with pytest.raises(ValueError, match="no column for") as caught:
        open_corpus("d", languages=languages, fields=fields)
    proposal = yaml.safe_load(re.search(r"columns: (\{.*?\})", str(caught.value))[1])
    assert proposal == columns
    assert set(fields) <= set(open_corpus("d", proposal, languages, fields).rows("train")[0])


@pytest.mark.slow
def test_columns_that_are_given_are_laid_over_those_found(put) -> None:
    put({"train.csv": "article,summary\na,b\n"}, "d")
    assert open_corpus("d", {"document": "article"}, fields=SUMMARIES).rows("train")[0][
        "summary"
    ] == ["b"]
    with pytest.raises(
        ValueError,
        match=(
            r"train.csv:2: no column 'artcle' for document; .* for example columns: "
            r"\{document: article\}"
        ),
    ):
        open_corpus("d", {"document": "artcle"}, fields=SUMMARIES).rows("train")


def test_running_text_is_no_parallel_text(put) -> None:
    put({"pairs.txt": "Hi\tHallo\n"}, ".")
    with pytest.raises(
        ValueError,
        match=(
            r"is running text without en and de; .* call it .tsv and set data.columns=\{en: 0, "
            r"de: 1\}"
        ),
    ):
        open_corpus("pairs.txt", languages=TRANSLATIONS, fields=TRANSLATIONS)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("train.json", lines({"text": "a"}, {"text": "b"})),
        ("train.ndjson", lines({"text": "a"}, {"text": "b"})),
    ],
)
def test_json_lines_by_other_names(name: str, text: str, put) -> None:
    put({name: text}, "d")
    assert [row["text"] for row in open_corpus("d").rows("train")] == ["a", "b"]


# Indonesian, whose code is the name of ids


@pytest.mark.parametrize(
    ("files", "columns", "ids"),
    [
        ({"test.en": "a\nb\n", "test.id": "c\nc\n"}, None, ["test:1", "test:2"]),
        ({"test.csv": "en,id\na,c\nb,c\n"}, None, ["test.csv:2", "test.csv:3"]),
        (
            {"test.jsonl": lines({"en": "a", "id": "c"}, {"en": "b", "id": "c"})},
            None,
            ["test.jsonl:1", "test.jsonl:2"],
        ),
        ({"test.csv": "id,en,Indonesian\n7,a,c\n8,b,c\n"}, None, ["7", "8"]),
        ({"test.csv": "id,en,teks\n7,a,c\n8,b,c\n"}, {"id": "teks"}, ["test.csv:2", "test.csv:3"]),
        ({"test.csv": "id,en,teks\n7,a,c\n8,b,c\n"}, {"id": "teks", "row_id": "id"}, ["7", "8"]),
    ],
)
def test_indonesian_is_text_and_no_id(
    files: dict, columns: dict | None, ids: list[str], put
) -> None:
    put(files, "d")
    corpus = open_corpus("d", columns, ("en", "id"), ("en", "ind"))
    assert [(row["id"], row["en"], row["ind"]) for row in corpus.rows("test")] == [
        (ids[0], "a", "c"),
        (ids[1], "b", "c"),
    ]


def test_an_indonesian_pair_that_nobody_states(put) -> None:
    put({"test.csv": "en,id\na,c\n"}, "d")
    assert open_corpus("d", {"en": "en", "id": "id"}).rows("test") == [
        {"id": "test.csv:2", "en": "a", "ind": "c"}
    ]
    with pytest.raises(ValueError, match=r"columns: \{en: en, id: id\} where id is Indonesian"):
        open_corpus("d")


def test_ids_by_position_where_those_of_the_file_are_not_unique(put) -> None:
    put({"test.csv": "id,text\n1,a\n1,b\n"}, "d")
    with pytest.raises(
        ValueError,
        match=r"ids must be unique, .* columns: \{row_id: null\}, which numbers the rows",
    ):
        open_corpus("d").rows("test")
    assert [
        row["id"] for row in open_corpus("d", {"row_id": None}, fields=("text",)).rows("test")
    ] == ["test.csv:2", "test.csv:3"]
