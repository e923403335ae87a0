"""Search index of Chinese pages, for Sphinx's search in the browser.

Words of Chinese are not separated by spaces. The index has every pair of neighbouring characters,
and a query is divided in the same way: any word or phrase of two characters or more is found,
whatever a segmenter would take for a word. Sphinx's own class divides pages by a segmenter and
queries not at all, so that a word of three characters is not found.
"""

import re

from sphinx.search.en import SearchEnglish

HAN = r"\u3400-\u9fff"
PARTS = re.compile(rf"[{HAN}]+|[^\W_{HAN}]+(?:_[^\W{HAN}]+)*")

SPLIT_QUERY = rf"""
function splitQuery(query) {{
  const parts = [];
  for (const part of query.match(/[{HAN}]+|(?:(?![{HAN}])[\p{{Letter}}\p{{Number}}_])+/gu) || []) {{
    if (!/^[{HAN}]/.test(part) || part.length < 3) {{ parts.push(part); continue; }}
    for (let i = 0; i + 2 <= part.length; i++) parts.push(part.slice(i, i + 2));
  }}
  return parts;
}}
"""


class SearchChinese(SearchEnglish):
    """Pairs of neighbouring Chinese characters, and words of other scripts as in English."""

    lang = "zh"
    language_name = "English"  # of the stemmer, for words of other scripts
    js_splitter_code = SPLIT_QUERY

    def split(self, text: str) -> list[str]:
        """Return the terms of a text: pairs of Chinese characters, and words."""
        found: list[str] = []
        for part in PARTS.findall(text):
            is_han = "\u3400" <= part[0] <= "\u9fff"
            found += pairs_of(part) if is_han and len(part) > 2 else [part]
        return found

    def word_filter(self, word: str) -> bool:
        """Return whether a term belongs into the index."""
        return "\u3400" <= word[0] <= "\u9fff" or super().word_filter(word)


def pairs_of(text: str) -> list[str]:
    """Return all pairs of neighbouring characters."""
    return [text[i : i + 2] for i in range(len(text) - 1)]
