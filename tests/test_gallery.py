"""Laws of the gallery of reports: its commands, and the corpora that it makes."""

import re

from docs.gallery.corpora import in_chinese, in_english
from docs.gallery.making import PAGE, commands_of, stages
from tests.support.documents import text_of


def test_the_gallery_has_a_report_in_each_section() -> None:
    commands = commands_of(text_of(PAGE))
    assert len(commands) == len(re.findall(r"^## ", text_of(PAGE), re.MULTILINE)) > 6
    assert commands == commands_of(text_of("docs/zh/gallery.md"))
    first, then = stages(commands)
    assert not {"comparison", "evaluation"} & first.keys()
    assert {**first, **then} == commands


def test_numbers_of_the_gallery_differ_in_both_languages() -> None:
    for name_of in (in_english, in_chinese):
        assert len(set(map(name_of, range(10_000)))) == 10_000
    assert in_english(2305) == "two thousand three hundred and five"
    assert in_chinese(2305) == "二千三百零五"
