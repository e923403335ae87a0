"""Licence of the data against the intended use of the model: a part of an audit, and of a card."""

from collections.abc import Mapping, Sequence

from lslm_lightning.auditing.finding import AuditFinding, AuditTable, Severity
from lslm_lightning.auditing.licences import (
    RESULTS,
    UNKNOWN,
    Result,
    answers_of,
    is_stated,
    licence_of,
    licence_sentences,
)
from lslm_lightning.auditing.part import AuditPart, Progress
from lslm_lightning.auditing.settings import USES
from lslm_lightning.auditing.subject import AuditSubject
from lslm_lightning.types import IntendedUse, JsonObject

NAME = "licence"
TITLE = "Licence of the data"
LICENCE = "Licence of the corpus"
INTENDED = "Intended use"
NOT_STATED = "not stated"
ROWS: dict[IntendedUse, str] = {
    "research": "Intended use (research)",
    "commercial": "Intended use (commercial)",
    "publication": "Intended use (publication of the weights)",
}
IN_SENTENCE: dict[IntendedUse, str] = {
    "research": "research",
    "commercial": "commercial use",
    "publication": "publication of the weights",
}
ANSWERS: dict[Result, str] = {
    "allowed": "allowed",
    "conditions": "allowed under conditions",
    "unclear": "not clear",
    "forbidden": "not allowed",
}
LIMITS = (
    "This is read from the name of the licence and is no legal advice.",
    "Texts of a corpus may have licences of their own, and those that a pretrained model has read "
    "are not known.",
)


class LicencePart(AuditPart):
    """Licence of the corpus, held against the intended use of the model.

    Args:
        uses: intended uses; by default those that the run states in `job.intended_use`.
    """

    name = NAME
    title = TITLE
    weight = 0.01

    def __init__(self, uses: Sequence[IntendedUse] = ()) -> None:
        self.uses = tuple(uses)

    @property
    def outlives_data(self) -> bool:
        return not self.uses  # an earlier finding may answer for another use

    def settings(self) -> JsonObject:
        return {"uses": list(self.uses)}

    def inputs(self, subject: AuditSubject) -> JsonObject:
        """Return the licence, of which the catalogue may state another by now, and the uses that
        the run states.
        """
        licence = None if subject.data is None else subject.data.corpus.licence
        return {"licence": licence, "stated": list(stated_uses(subject.config))}

    def reason_not(self, subject: AuditSubject) -> str | None:
        return subject.without_data if subject.data is None else None

    def measure(self, subject: AuditSubject, progress: Progress) -> AuditFinding:
        assert subject.data is not None
        return licence_finding(
            subject.data.corpus.licence, self.uses or stated_uses(subject.config)
        )


def stated_uses(config: JsonObject) -> tuple[IntendedUse, ...]:
    """Return the intended uses that the config of a run states; empty if it states none."""
    given = (config.get("job") or {}).get("intended_use") or ()
    return tuple(use for use in USES if use in ([given] if isinstance(given, str) else given))


def licence_finding(name: str, uses: Sequence[IntendedUse]) -> AuditFinding:
    """Hold a licence against the intended use; return a sentence, what the licence says, what
    is to be done, and a table with a row per use.

    Args:
        name: name of the licence; "not known" if the corpus cannot be opened.
        uses: intended uses; empty if they are not stated.
    """
    results, todo = answers_of(name, uses)
    strictest = max(results.values(), key=RESULTS.index, default=None)
    rows = [
        (LICENCE, name if is_stated(name) or name == UNKNOWN else NOT_STATED),
        ("SPDX id", licence_of(name).spdx or "none"),
        *((ROWS[use], ANSWERS[result]) for use, result in results.items()),
        *([] if uses else [(INTENDED, NOT_STATED)]),
    ]
    summary = (result_sentence(name, results), *licence_sentences(name), *todo)
    table = AuditTable("Licence and intended use", ("question", "answer"), tuple(rows))
    severity: Severity = "ok" if strictest == "allowed" else "look"
    severity = "unknown" if strictest is None else severity
    return AuditFinding(NAME, TITLE, severity, summary, LIMITS, tables=(table,))


def result_sentence(name: str, results: Mapping[IntendedUse, Result]) -> str:
    """Return the sentence that says which of the intended uses a licence restricts most.

    Args:
        results: the answer of the licence to each intended use.
    """
    strictest = max(results.values(), key=RESULTS.index, default=None)
    uses = [IN_SENTENCE[use] for use, result in results.items() if result == strictest]
    use = " and ".join(filter(None, (", ".join(uses[:-1]), *uses[-1:])))
    if not is_stated(name):
        known = "No licence of the data is known here"
        return f"{known}: what it allows for {use} is not clear." if uses else f"{known}."
    if strictest is None:
        return f"The licence is {name}; the intended use is not stated."
    if strictest == "unclear":
        return f"Whether the licence ({name}) allows {use} is not clear."
    if strictest == "forbidden":
        return f"The licence ({name}) does not allow {use}."
    if strictest == "conditions":
        return f"The licence ({name}) allows {use} under conditions."
    return f"The licence ({name}) allows {use}."
