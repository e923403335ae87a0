"""Help on settings and generated pages are Chinese as a whole in the Chinese interface."""

import re
from functools import cache

import pytest

from docs.generate import MARKER, benchmarks, text_of
from docs.generate.language import FOLDER, language_of_texts
from lslm_lightning.configuration.class_help import block_help, class_help
from lslm_lightning.configuration.help import help_of
from lslm_lightning.configuration.subcommands import TRAINED, TRAINING
from lslm_lightning.localization.catalogue import (
    FIELD,
    SETTINGS,
    Catalogue,
    entries_of,
    read_entries,
)
from lslm_lightning.localization.width import padded, text_width, wrapped
from tests.localization.settings_texts import settings_texts
from tests.support.documents import PAGES, SITE
from tests.support.growth_record import write_growth
from tests.support.serving_record import write_record

HAN = re.compile("[\u4e00-\u9fff]")
THREE_WORDS = re.compile(r"(?<![-\w./:`'\"=({\[])[A-Za-z][a-z]+(?: [a-z]+){2}(?![\w(=])")

OF_OTHERS = (  # documents in English, files, help of commands, citations
    "document ",
    "contents ",
    "command ",
    "corpora",
)


@cache
def markers() -> list[str]:
    """The markers of all Chinese pages, each once."""
    pages = ((SITE / "zh" / page).read_text("utf-8") for page in PAGES)
    return list(dict.fromkeys(marker for page in pages for marker in MARKER.findall(page)))


@pytest.mark.slow
def test_the_catalogue_has_the_texts_of_the_help_and_no_others() -> None:
    texts = set(settings_texts())
    entries = entries_of(SETTINGS, "zh").keys()
    assert not texts - entries, "without a translation"
    assert not entries - texts, "of no text any more"


@pytest.mark.parametrize("command", [*TRAINING, *TRAINED])
def test_help_of_a_command_has_no_english_sentence(command, monkeypatch) -> None:
    monkeypatch.setenv("LSLM_LANG", "zh")
    lines = help_of(command).splitlines()
    assert not [line for line in lines if THREE_WORDS.search(line)]
    assert max(map(text_width, lines)) <= 80


def test_help_on_classes_has_no_english_sentence(monkeypatch) -> None:
    monkeypatch.setenv("LSLM_LANG", "zh")
    for text in (block_help("trainer"), block_help("job"), class_help("TranslationTask")):
        assert not THREE_WORDS.search(text)
        assert len(HAN.findall(text)) > 100


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", [""]),
        ("one two three", ["one two", "three"]),
        ("检查点一二三四", ["检查点一", "二三四"]),
        ("一二三四，五", ["一二三", "四，五"]),
        ("一 abcdefgh", ["一", "abcdefgh"]),
    ],
)
def test_lines_end_at_spaces_or_between_chinese_characters(text: str, lines: list[str]) -> None:
    assert wrapped(text, 8) == lines


def test_columns_of_chinese_texts_are_as_wide_as_they_look() -> None:
    assert padded("必填", 6) == "必填  "


# Pages


@pytest.mark.slow
def test_generated_parts_of_chinese_pages_are_chinese(monkeypatch, tmp_path) -> None:
    """Every cell, paragraph or label of three English words has Chinese characters; code is left
    out. No entry of the catalogue of pages is left over, with and without a record of a benchmark
    that comes later.
    """
    used: set[str] = set()
    whole = Catalogue.whole

    def noted(catalogue: Catalogue, text: str, depth: int) -> str | None:
        found = whole(catalogue, text, depth)
        used.update([text.strip()] if found is not None else [])
        return found

    monkeypatch.setattr(Catalogue, "whole", noted)
    text_of.cache_clear()
    texts = {marker: text_of(marker, "zh") for marker in markers()}
    english = [
        f"{marker}: {part}"
        for marker, text in texts.items()
        if not marker.startswith(OF_OTHERS)
        for part in parts_of(text)
        if THREE_WORDS.search(part) and not HAN.search(part)
    ]
    assert not english, "\n".join(english)
    monkeypatch.setattr(benchmarks, "RESULTS", tmp_path)
    monkeypatch.setattr(benchmarks, "ROOT", tmp_path)
    with language_of_texts("zh"):
        for _ in range(2):
            benchmarks.capacity()
            benchmarks.tables_to_come("serving", "scale")
            write_record(tmp_path / "serving.json")
            write_growth(tmp_path / "scale.json")
    entries = {text for path in FOLDER.glob("*.po") for text in read_entries(path)}
    left = [text for text in entries - used if not FIELD.search(text)]
    assert not left, "\n".join(["on no page:", *left])


def parts_of(text: str) -> list[str]:
    """Return cells, list items, paragraphs and labels of figures of a generated text, without
    code.
    """
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^:+\{py:.*$|^:type:.*$|^#.*$|`[^`]*`", "", text, flags=re.MULTILINE)
    return re.split(r"\n|(?<!\\)\||<[^>]+>", text)
