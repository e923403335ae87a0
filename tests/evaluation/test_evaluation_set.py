"""Identity of evaluation sets: what makes two of them one, and what tells them apart."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lslm_lightning.contracts import Example
from lslm_lightning.evaluation.evaluation_set import VERSION, evaluation_set, shown, version_of
from lslm_lightning.text.languages import base_language
from tasks.language_modeling.data import LanguageModelingData
from tasks.question_answering.data import GenerativeData
from tasks.speech_recognition.data import SpeechData
from tasks.summarization.data import SummarizationData
from tasks.translation.data import TranslationData
from tests.support.tone_corpus import write_spoken

TEXTS = st.text(st.characters(exclude_categories=()), max_size=4)  # half surrogates and NUL too
PAIR = [
    Example("0", "a cat", ("猫",), "zh", "en"),
    Example("1", "two dogs", ("两只狗",), "zh", "en"),
]


def digest(examples):
    return evaluation_set(examples).digest


def translation(corpus, source="en", target="zh", **more):
    return TranslationData(str(corpus), source_language=source, target_language=target, **more)


@given(
    st.lists(st.tuples(TEXTS, st.lists(TEXTS, max_size=3)), max_size=3),
    st.lists(st.tuples(TEXTS, st.lists(TEXTS, max_size=3)), max_size=3),
)
def test_different_examples_have_different_digests(first, second):
    """Wherever texts are cut: ("ab", "c") is not ("a", "bc"), and one reference is not two."""
    one, two = (
        [Example(str(i), source, tuple(references)) for i, (source, references) in enumerate(rows)]
        for rows in (first, second)
    )
    assert (digest(one) == digest(two)) == (first == second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("ab", ("c",)), ("a", ("bc",))),
        (("a", ("b", "c")), ("a", ("bc",))),
        (("a", ("b", "c")), ("a", ("c", "b"))),
        (("a", ('b","c',)), ("a", ("b", "c"))),
        (("a", ("b",)), ("", ("a", "b"))),
        (("a\n", ("b",)), ("a", ("\nb",))),
    ],
)
def test_boundaries_count(first, second):
    assert digest([Example("0", *first)]) != digest([Example("0", *second)])


def test_boundaries_between_examples_count():
    assert digest([Example("0", "ab", ("x",)), Example("1", "c", ("x",))]) != digest(
        [Example("0", "a", ("x",)), Example("1", "bc", ("x",))]
    )
    assert digest(PAIR) != digest(PAIR[:1]) != digest([])


def test_ids_and_questions_in_words_are_no_part_of_it():
    others = [replace(e, id=f"line-{e.id}", question="Translate!") for e in PAIR]
    found = evaluation_set(others)
    asked = evaluation_set(PAIR)
    assert (found.digest, found.members) == (asked.digest, asked.members)
    assert found.ids != asked.ids


@pytest.mark.parametrize(
    "change",
    [
        {"source": "a bat"},
        {"references": ("狗",)},
        {"references": ("猫", "貓")},
        {"references": ("猫 ",)},
        {"language": "yue"},
        {"source_language": "de"},
        {"modality": "sound"},
    ],
)
def test_what_is_asked_and_what_is_right_are_part_of_it(change):
    assert digest([replace(PAIR[0], **change), PAIR[1]]) != digest(PAIR)


@pytest.mark.parametrize("code", ["zh", "zh-Hans", "zh_CN", "ZH", "cmn", "zho"])
def test_codes_of_one_language_are_one(code):
    if base_language(code) != "zh":
        pytest.skip(f"base_language does not know {code}")
    assert digest([replace(e, language=code) for e in PAIR]) == digest(PAIR)
    assert digest([replace(e, language="yue") for e in PAIR]) != digest(PAIR)


def test_texts_without_a_source_have_one_language():
    assert evaluation_set(PAIR).languages == "en-zh"
    texts = [replace(example, source="") for example in PAIR]
    assert evaluation_set(texts).languages == "zh"


def test_another_order_is_another_set_with_the_same_members():
    there = evaluation_set(PAIR)
    back = evaluation_set(PAIR[::-1])
    assert there.digest != back.digest
    assert there.members == back.members != evaluation_set(PAIR[:1]).members


def test_passages_of_one_text_are_not_texts_of_their_own():
    def texts(*ids):
        return [
            Example(name, "", (text,))
            for name, text in zip(ids, ("Once upon", " a time"), strict=True)
        ]

    assert (
        digest(texts("play#0", "play#1"))
        == digest(texts("tale#0", "tale#1"))
        != digest(texts("a", "b"))
        == digest(texts("1", "2"))
    )
    assert digest(texts("a#0", "b#0")) == digest(texts("a", "b"))
    asked = [replace(e, id=f"play#{e.id}") for e in PAIR]
    assert digest(asked) == digest(PAIR), "where something is asked, ids only pair"


def test_the_version_is_part_of_the_digest():
    found = digest(PAIR)
    assert found.startswith(f"{VERSION}:")
    assert len(found) == len(f"{VERSION}:") + 64
    assert (version_of(found), version_of("ab" * 32)) == (VERSION, 1)
    assert shown(found) == found[: len(f"{VERSION}:") + 12]
    assert shown("ab" * 32) == "1:abababababab"
    assert evaluation_set(PAIR).languages == "en-zh"
    assert evaluation_set([Example("0", "", ("x",))]).languages == "en"


# Through corpora


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text, "utf-8")
    return folder


@pytest.fixture
def formats(project) -> list[Path]:
    """The same rows as parallel text, JSON Lines, CSV and TSV, with ids of their own or none."""
    rows = [("a cat", "猫"), ("two, dogs", "两只狗"), ('"so"', "“是”")]
    made = {
        "parallel": {
            f"test__{x}": "".join(f"{row[i]}\n" for row in rows) for i, x in enumerate(("en", "zh"))
        },
        "lines": {
            "test__jsonl": "".join(json.dumps({"zh": zh, "en": en}) + "\n" for en, zh in rows)
        },
        "named": {
            "test__jsonl": "".join(
                json.dumps({"id": f"x{i}", "en": en, "zh": zh}) + "\n"
                for i, (en, zh) in enumerate(rows)
            )
        },
        "csv": {
            "test__csv": "en,zh\n"
            + "".join('"{}","{}"\n'.format(*(t.replace('"', '""') for t in row)) for row in rows)
        },
        "more": {
            "test__jsonl": "".join(
                json.dumps({"en": en, "zh": zh, "note": "!"}) + "\n" for en, zh in rows
            )
        },
    }
    return [write(project / name, **files) for name, files in made.items()]


def test_the_file_format_is_no_part_of_it(formats):
    sets = [translation(path).evaluation_set("test") for path in formats]
    assert len({found.digest for found in sets}) == 1
    assert len({translation(path).corpus.digest("test") for path in formats}) == len(formats), (
        "how it is read is told apart"
    )
    assert translation(formats[0], "zh", "en").evaluation_set("test").digest != sets[0].digest


def test_directions_and_columns_of_one_corpus(project):
    corpus = write(
        project / "many",
        test__jsonl=(
            '{"en": "cat", "zh": "猫", "de": "Katze"}\n{"en": "dog", "zh": "狗", "de": "Hund"}\n'
        ),
    )
    pairs = [("en", "zh"), ("en", "de"), ("zh", "en"), ("de", "zh")]
    found = {pair: translation(corpus, *pair).evaluation_set("test") for pair in pairs}
    assert len({each.digest for each in found.values()}) == len(pairs)
    assert {pair: each.languages for pair, each in found.items()} == {
        pair: "-".join(pair) for pair in pairs
    }
    columns = {"en": "de", "zh": "zh"}  # German called English
    assert translation(corpus, columns=columns).evaluation_set("test").digest not in {
        each.digest for each in found.values()
    }


def test_another_split_and_part_of_one(project):
    corpus = write(
        project / "two", test__en="cat\ndog\n", test__zh="猫\n狗\n", val__en="cat\n", val__zh="猫\n"
    )
    data = translation(corpus)
    assert data.evaluation_set("test").digest != data.evaluation_set("val").digest
    assert (
        data.recorded("test", data.examples("test")[:1])["digest"]
        == data.evaluation_set("val").digest
    )
    assert data.recorded("test")["digest"] == data.evaluation_set("test").digest
    assert data.recorded("test")["files"] == data.corpus.digest("test")


@pytest.mark.slow
def test_questions_texts_and_documents(project):
    rows = {"context": "The cat sat on the mat.", "question": "Who sat?", "answers": ["The cat"]}
    asked = GenerativeData(str(write(project / "asked", test__jsonl=json.dumps(rows) + "\n")))
    moved = rows | {"context": "The cat sat.", "question": "Who?"}
    other = GenerativeData(str(write(project / "moved", test__jsonl=json.dumps(moved) + "\n")))
    assert asked.evaluation_set("test").digest != other.evaluation_set("test").digest
    text = {"text": "The cat sat on the mat."}
    read = [
        LanguageModelingData(
            str(write(project / name, test__jsonl=json.dumps({"id": name} | text) + "\n"))
        )
        for name in ("a", "b")
    ]
    assert read[0].evaluation_set("test").digest == read[1].evaluation_set("test").digest
    several = {"document": "A cat sat.", "summary": ["A cat.", "Cat."]}
    corpus = str(write(project / "several", test__jsonl=json.dumps(several) + "\n"))
    first, both = (
        SummarizationData(corpus, first_reference_only=only).evaluation_set("test")
        for only in (True, False)
    )
    assert first.digest != both.digest


def test_recordings_are_compared_by_their_bytes(project):
    first, second = (SpeechData(str(write_spoken(project / name))) for name in ("one", "two"))
    folder = project / "two"
    [manifest] = folder.glob("test.*")
    for path in sorted(folder.rglob("*.wav")):
        path.rename(path.with_name(f"other-{path.name}"))
    for path in folder.glob("*.jsonl"):
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        for row in rows:
            row["audio"] = str(Path(row["audio"]).with_name(f"other-{Path(row['audio']).name}"))
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    assert manifest.suffix == ".jsonl"
    assert first.evaluation_set("test").digest == second.evaluation_set("test").digest
    wav = folder / second.examples("test")[0].source
    wav.write_bytes(wav.read_bytes()[:-2] + b"\x01\x02")
    changed = SpeechData(str(folder))
    assert changed.evaluation_set("test").digest != first.evaluation_set("test").digest


@dataclass(frozen=True, slots=True)
class Picture(Example):
    """An example of a modality that a user adds."""

    modality: str = "picture"

    def content(self) -> bytes:
        return b"pixels"


def test_another_modality_says_what_it_reads():
    assert digest([Picture("0", "a.png", ("cat",))]) == digest([Picture("1", "b.png", ("cat",))])
    assert digest([Picture("0", "pixels", ("cat",))]) != digest([Example("0", "pixels", ("cat",))])
