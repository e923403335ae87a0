"""Outputs of the audited model."""

from collections.abc import Callable

from lslm_lightning.auditing.subject import AuditSubject
from lslm_lightning.training.language_model import LanguageModel

NOTHING_WRITTEN = "No outputs are recorded: what the model writes was not searched."


def writes(subject: AuditSubject) -> bool:
    """Return whether there are texts that the model has written, or can write."""
    return isinstance(subject.task, LanguageModel) or bool(_recorded(subject))


def written_texts(
    subject: AuditSubject, progress: Callable[[float], None] = lambda _: None
) -> list[tuple[str, str]]:
    """Return the input and the output of each recorded prediction that has an output; of a language
    model, "" and each text that it writes without a prompt.

    Args:
        progress: told the share that is written.
    """
    if isinstance(subject.task, LanguageModel):
        return [("", sample.text) for sample in subject.samples(progress)]
    return _recorded(subject)


def _recorded(subject: AuditSubject) -> list[tuple[str, str]]:
    """Return input and output of the recorded predictions."""
    sources = {example.id: example.text for example in subject.test_examples}
    return [
        (sources.get(prediction.id, ""), prediction.output)
        for prediction in subject.predictions
        if prediction.output
    ]
