"""Personal data in the training texts, and in what the model writes."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from lslm_lightning.auditing.finding import AuditExample, AuditFigure, AuditFinding, AuditTable
from lslm_lightning.auditing.masking import masked
from lslm_lightning.auditing.outputs import NOTHING_WRITTEN, writes, written_texts
from lslm_lightning.auditing.part import AuditPart, Progress
from lslm_lightning.auditing.subject import AuditSubject
from lslm_lightning.text.personal_data import (
    KINDS,
    PersonalData,
    PersonalDataFinder,
    Redaction,
    placeholder_of,
)
from lslm_lightning.types import JsonObject

N_EXAMPLE = 8  # shown, at most as many of one kind as of another
CAPITALIZED = re.compile(r"\b([A-ZÀ-Þ])\w+(?![\w\]])")
AROUND = 16  # characters shown on each side
IN_TRAINING = "in a training text"
IN_OUTPUT = "in an output"
EVERY = 500  # texts between two calls of `progress`
KIND_NAMES = {
    "email": "e-mail addresses",
    "identity_number": "identity numbers",
    "iban": "IBANs",
    "payment_card": "payment cards",
    "ip_address": "IP addresses",
    "phone": "phone numbers",
    "name": "names of the list",
}
LIMITS = (
    "Only kinds with a known shape are found; postal addresses, dates of birth, user names and "
    "names that are not in the list are not looked for.",
    "A number may look like a phone number by chance, and public addresses of companies count as "
    "well: read the examples before you conclude anything.",
    "Data in the training texts need not be in the model, and a model may write data that it was "
    "not asked for here.",
)


class _Found(NamedTuple):
    """Personal datum, and the text that it stands in."""

    datum: PersonalData
    text: str
    source: str  # input of an output, otherwise ""
    place: str


class PersonalDataPart(AuditPart):
    """Personal data in the training texts and in what the model writes; see
    `text.personal_data.PersonalDataFinder`. Of those in outputs, those that the input does not have
    are counted, and those among them that the training texts have: these were learned by heart.

    Args:
        names: names of people that are personal data too.
    """

    name = "personal_data"
    title = "Personal data"
    weight = 0.3

    def __init__(self, names: Sequence[str] = ()) -> None:
        self.finder = PersonalDataFinder(names=names)

    def settings(self) -> JsonObject:
        return self.finder.description

    def reason_not(self, subject: AuditSubject) -> str | None:
        if subject.training_texts is None and not writes(subject):
            return "Neither the training texts nor outputs of the model are available."
        return None

    def measure(self, subject: AuditSubject, progress: Progress) -> AuditFinding:
        texts = subject.training_texts or []
        outputs = written_texts(subject)
        n = max(1, len(texts) + len(outputs))
        in_texts = self._found([("", text) for text in texts], IN_TRAINING, progress, 0, n)
        in_outputs = self._found(outputs, IN_OUTPUT, progress, len(texts), n)
        known = {(found.datum.kind, found.datum.text) for found in in_texts}
        added = [found for found in in_outputs if found.datum.text not in found.source]
        learned = [found for found in added if (found.datum.kind, found.datum.text) in known]
        return AuditFinding(
            self.name,
            self.title,
            "look" if in_texts or in_outputs else "ok",
            tuple(_summary(subject, len(outputs), in_texts, added, learned)),
            LIMITS,
            (
                AuditFigure("in_training", "in training texts", len(in_texts)),
                AuditFigure("in_outputs", "in outputs", len(in_outputs)),
                AuditFigure("added", "in outputs and not in their inputs", len(added)),
                AuditFigure("learned", "of these in training texts", len(learned)),
            ),
            tuple(
                _example(one, subject.redaction) for one in _chosen([*learned, *added, *in_texts])
            ),
            (_table(self.finder, in_texts, in_outputs, added, learned),),
        )

    def _found(
        self,
        texts: Sequence[tuple[str, str]],
        place: str,
        progress: Progress,
        n_done: int,
        n: int,
    ) -> list[_Found]:
        """Return the personal data of texts.

        Args:
            texts: input and text of each; "" for a text without an input.
            place: words for where the texts are from.
            n_done: number of texts that were searched before.
            n: number of all texts.
        """
        found = []
        for i, (source, text) in enumerate(texts):
            found += [_Found(datum, text, source, place) for datum in self.finder.find(text)]
            if i % EVERY == 0:
                progress((n_done + i) / n)
        return found


def _summary(
    subject: AuditSubject,
    n_output: int,
    in_texts: Sequence[_Found],
    added: Sequence[_Found],
    learned: Sequence[_Found],
) -> Iterator[str]:
    """Yield the sentences that say what was found."""
    texts = subject.training_texts
    if texts is None:
        yield "The training texts are not available: only outputs were searched."
    else:
        n = len({found.text for found in in_texts})
        yield (
            f"{n:,} of {len(texts):,} training texts have personal data, {len(in_texts):,} in all."
        )
    if n_output:
        yield (
            f"{n_output:,} outputs have {len(added):,} personal data that their inputs have not, "
            f"{len(learned):,} of them from the training texts."
        )
    else:
        yield NOTHING_WRITTEN
    if in_texts:
        yield "lslm data prepare --redact-personal-data replaces them before training."


def _table(finder: PersonalDataFinder, *columns: Sequence[_Found]) -> AuditTable:
    """Return the table of the numbers by kind."""
    counts = [Counter(found.datum.kind for found in column) for column in columns]
    return AuditTable(
        "Personal data by kind",
        ("kind", "training texts", "outputs", "not in the input", "learned"),
        tuple(
            (KIND_NAMES[kind], *(count[kind] for count in counts))
            for kind in finder.kinds
            if any(count[kind] for count in counts)
        ),
    )


def _chosen(found: Sequence[_Found]) -> list[_Found]:
    """Return examples of each kind in turn, without repetitions, the first ones first."""
    by_kind: dict[str, list[_Found]] = {kind: [] for kind in KINDS}
    for one in {each.datum.text: each for each in reversed(found)}.values():
        by_kind[one.datum.kind].insert(0, one)
    turns = [(turn, one) for of_kind in by_kind.values() for turn, one in enumerate(of_kind)]
    return [one for _, one in sorted(turns, key=lambda each: each[0])[:N_EXAMPLE]]


def _example(found: _Found, redaction: Redaction) -> AuditExample:
    """Return the surroundings of a personal datum with placeholders for all personal data. Words
    in capitals, which may be names, are cut to their first letter.
    """
    datum, text = found.datum, found.text
    before = masked(redaction(text[: datum.start])[-AROUND:], AROUND)
    after = masked(redaction(text[datum.end :])[:AROUND], AROUND)
    before, after = (CAPITALIZED.sub(r"\1•", side) for side in (before, after))
    shown = f"{before}{placeholder_of(datum.kind)}{after}"
    return AuditExample(" ".join(shown.split()), found.place)
