"""Words of a list that the user names, such as abuse or refusals, in what a model writes."""

import hashlib
import re
import unicodedata
from collections.abc import Sequence

from lslm_lightning.auditing.finding import AuditExample, AuditFinding
from lslm_lightning.auditing.outputs import NOTHING_WRITTEN, writes, written_texts
from lslm_lightning.auditing.part import AuditPart, Progress
from lslm_lightning.auditing.shares import share_figure
from lslm_lightning.auditing.subject import AuditSubject
from lslm_lightning.text.scripts import IDEOGRAPHIC, script_of
from lslm_lightning.types import JsonObject

N_EXAMPLE = 5
LIMITS = (
    "Words are counted whatever they mean in their sentence: quoted, denied or harmless uses "
    "count, and abuse without these words does not.",
    "The list decides what is found; this project has none of its own.",
)


class Lexicon:
    """Words and phrases that are found in texts: as whole words, in any case, in scripts with
    spaces, and anywhere in Chinese and Japanese.
    """

    def __init__(self, entries: Sequence[str]) -> None:
        self.entries = sorted({_plain(entry) for entry in entries} - {""}, key=len, reverse=True)
        patterns = []
        for entry in self.entries:
            words = r"\s+".join(map(re.escape, entry.split()))
            before = "" if _is_unspaced(entry[0]) else r"(?<!\w)"
            after = "" if _is_unspaced(entry[-1]) else r"(?!\w)"
            patterns.append(f"{before}{words}{after}")
        self._pattern = re.compile("|".join(patterns) or r"(?!)")

    def find(self, text: str) -> list[str]:
        """Return the entries that a text has, in order, in lower case."""
        return [" ".join(match[0].split()) for match in self._pattern.finditer(_plain(text))]


class LexiconPart(AuditPart):
    """Share of outputs with words of a list.

    Args:
        entries: words and phrases; none where the user names no list.
    """

    name = "lexicon"
    title = "Words of the list"
    weight = 0.2

    def __init__(self, entries: Sequence[str] = ()) -> None:
        self.lexicon = Lexicon(entries)

    def settings(self) -> JsonObject:
        return {"entries": hashlib.sha256("\n".join(self.lexicon.entries).encode()).hexdigest()}

    def reason_not(self, subject: AuditSubject) -> str | None:
        if not self.lexicon.entries:
            return "No list of words is given: name one with --lexicon FILE."
        if not writes(subject):
            return NOTHING_WRITTEN
        return None

    def measure(self, subject: AuditSubject, progress: Progress) -> AuditFinding:
        outputs = [output for _, output in written_texts(subject, progress)]
        found = [(output, words) for output in outputs if (words := self.lexicon.find(output))]
        share = share_figure("share", "outputs with these words", len(found), len(outputs))
        figures = [share]
        if texts := subject.training_texts:
            n = sum(bool(self.lexicon.find(text)) for text in texts)
            figures.append(share_figure("training", "training texts with them", n, len(texts)))
        return AuditFinding(
            self.name,
            self.title,
            "look" if found else "ok",
            (f"{len(found):,} of {len(outputs):,} outputs have words of the list.",),
            LIMITS,
            tuple(figures),
            tuple(
                AuditExample(subject.masked(output), f"words: {', '.join(map(_hidden, words))}")
                for output, words in found[:N_EXAMPLE]
            ),
        )


def _plain(text: str) -> str:
    """Return a text in NFKC and lower case, without spaces at its ends."""
    return unicodedata.normalize("NFKC", text).lower().strip()


def _is_unspaced(letter: str) -> bool:
    """Return whether words of a letter's script stand without spaces."""
    return script_of(letter) in IDEOGRAPHIC


def _hidden(word: str) -> str:
    """Return a word with all letters but the first replaced."""
    return word[0] + "•" * (len(word) - 1)
