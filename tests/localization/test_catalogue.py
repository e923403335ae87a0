"""Texts are translated by templates, and the environment chooses the language."""

import re

import pytest

from lslm_lightning.localization.catalogue import (
    CATALOGUES,
    FIELD,
    FOLDER,
    Catalogue,
    entries_of,
)
from lslm_lightning.localization.language import interface_language

CATALOGUE = Catalogue(
    {
        "{path} does not exist": "{path} 不存在",
        "File {path} does not exist": "文件 {path} 不存在",
        "{name}: {reason}": "{name}：{reason!t}",
        "Best checkpoint.": "最佳检查点。",
        "Scores": "分数",
        "Scores.": "分数。",
    }
)


@pytest.mark.parametrize(
    ("text", "translation"),
    [
        ("Scores", "分数"),
        ("Scores of mine", "Scores of mine"),
        ("a/b.txt does not exist", "a/b.txt 不存在"),
        ("File a/b.txt does not exist", "文件 a/b.txt 不存在"),
        ("corpus: Scores", "corpus：分数"),
        ("corpus: Scores. Best checkpoint.", "corpus：分数。最佳检查点。"),
        ("Best checkpoint. x does not exist", "最佳检查点。x 不存在"),
        ("Best checkpoint. Nothing known.", "最佳检查点。Nothing known."),
        ("Scores\n  Scores", "分数\n  分数"),
        ("", ""),
    ],
)
def test_templates(text: str, translation: str) -> None:
    assert CATALOGUE.translated(text) == translation


def test_values_are_translated_only_where_the_template_says_so() -> None:
    assert CATALOGUE.translated("Scores does not exist") == "Scores 不存在"
    assert CATALOGUE.translated("x: Scores") == "x：分数"


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": ""}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LSLM_LANG": "en"}, "en"),
        ({"LANG": "en_US.UTF-8", "LSLM_LANG": "zh"}, "zh"),
        ({"LSLM_LANG": "zh-Hans"}, "zh"),
    ],
)
def test_the_environment_chooses_the_language(environment: dict[str, str], language: str) -> None:
    assert interface_language(environment) == language


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(ValueError, match=r"LSLM_LANG.*'fr'"):
        interface_language({"LSLM_LANG": "fr"})


@pytest.mark.parametrize("kind", CATALOGUES)
def test_translations_repeat_fields_of_the_template_and_are_chinese(kind: str) -> None:
    for text, translation in entries_of(kind, "zh").items():
        given = {name for name, _ in FIELD.findall(text)}
        used = {name for name, _ in FIELD.findall(translation)}
        assert used <= given, text
        words = FIELD.sub("", translation)
        assert re.search("[\u4e00-\u9fff]", words) or not re.search("[A-Za-z]", words), text


@pytest.mark.parametrize(
    ("text", "translation"),
    [
        ("1 to 9", "1 至 9"),
        ("one to nine", "one to nine"),  # a number is asked for
        ("Wrong: a. b", "错误：a. b"),
        ("Both of a, b and this run", "a、b、本次运行的两者"),
        ("Both of score and no answer", "score、no answer 的两者"),  # names stay
        ("Best in score and F1", "分数、F1 最好"),
    ],
)
def test_marks_of_fields(text: str, translation: str) -> None:
    entries = {
        "{low!n} to {high!n}": "{low} 至 {high}",
        "Wrong: {reason!s}": "错误：{reason}",
        "Both of {names}": "{names!l} 的两者",
        "Best in {metrics}": "{metrics!lt} 最好",
        "this run": "本次运行",
        "score": "分数",
        "no answer": "无答案",
    }
    assert Catalogue(entries).translated(text) == translation


@pytest.mark.parametrize("kind", CATALOGUES)
def test_no_text_stands_twice(kind: str) -> None:
    home = FOLDER / "zh" / kind
    files = sorted(home.glob("*.po")) or [home.with_suffix(".po")]
    n_header = len(files)
    n_entry = sum(len(re.findall("^msgid ", file.read_text("utf-8"), re.M)) for file in files)
    assert len(entries_of(kind, "zh")) == n_entry - n_header
