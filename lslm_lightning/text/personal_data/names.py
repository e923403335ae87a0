"""Names of people from a list, found in texts."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator

from lslm_lightning.text.scripts import IDEOGRAPHIC, script_of

WORD = re.compile(r"[^\W\d_]")
SPACES = {ord(space): " " for space in "\t\n\r"}


class NameList:
    """Names that are looked for in texts.

    Names in scripts with spaces begin and end where words do; Chinese and Japanese names stand
    anywhere. A name of several words is found in any case, one of a single word as it is written or
    in capitals, since many are words as well ("May", "Will").
    """

    def __init__(self, names: Iterable[str]) -> None:
        written = {" ".join(unicodedata.normalize("NFC", name).split()) for name in names}
        self.names = frozenset(name for name in written if name)
        self._by_prefix: dict[str, list[str]] = defaultdict(list)
        for name in sorted(self.names, key=len, reverse=True):
            self._by_prefix[name[:2].lower()].append(name)

    def find(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield start and end of each name, the longest where several begin."""
        text = text.translate(SPACES)
        end = 0
        for letter in WORD.finditer(text):
            start = letter.start()
            if start < end:
                continue
            for name in self._by_prefix.get(text[start : start + 2].lower(), ()):
                if self._is_at(name, text, start):
                    end = start + len(name)
                    yield start, end
                    break

    def _is_at(self, name: str, text: str, start: int) -> bool:
        """Return whether a name stands at `start` of a text, as whole words."""
        there = text[start : start + len(name)]
        is_same = there == name or there == name.upper()
        if not is_same and not (" " in name and there.lower() == name.lower()):
            return False
        if _is_unspaced(name[0]):
            return True
        return not (
            _is_letter(text[start - 1 : start]) or _is_letter(text[start + len(name) :][:1])
        )


def _is_letter(character: str) -> bool:
    """Return whether a character continues a word of a script with spaces."""
    return character.isalpha() and not _is_unspaced(character)


def _is_unspaced(letter: str) -> bool:
    """Return whether words around a letter may stand without a space: Chinese, Japanese, Korean."""
    script = script_of(letter)
    return script in IDEOGRAPHIC or script == "Hang"
