"""Contamination: test examples whose text occurs in the training texts."""

from lslm_lightning.auditing.finding import AuditExample, AuditFigure, AuditFinding
from lslm_lightning.auditing.part import AuditPart, Progress
from lslm_lightning.auditing.subject import AuditSubject
from lslm_lightning.corpora.locations import cache_directory
from lslm_lightning.evaluation.contamination import cached_text_index, contaminated

N_EXAMPLE = 3
LIMITS = (
    "Only texts of this corpus are compared: what a pretrained model has read is not known.",
    "Paraphrases and translations of a training text are not found.",
)


class Contamination(AuditPart):
    """Share of the test examples whose source, or one of whose references, occurs in the training
    texts; see `evaluation.contamination.contaminated`.
    """

    name = "contamination"
    title = "Contamination of the test set"
    weight = 0.5

    def reason_not(self, subject: AuditSubject) -> str | None:
        if subject.data is None:
            return subject.without_data
        if subject.training_texts is None:
            return "The training texts are not available: they are a stream or prepared ids."
        if not subject.test_examples:
            return "The corpus has no test split here."
        if all(example.modality != "text" for example in subject.test_examples):
            return "The sources are recordings: different recordings may have the same words."
        return None

    def measure(self, subject: AuditSubject, progress: Progress) -> AuditFinding:
        texts = subject.training_texts
        assert subject.data is not None
        assert texts is not None
        known = cached_text_index(texts, subject.data.training_key(), cache_directory() / "ngrams")
        progress(0.8)
        examples = subject.test_examples
        found = contaminated(examples, known)
        n = int(found.sum())
        share = 100 * n / len(examples)
        if n:
            summary = (
                f"{n:,} of {len(examples):,} test examples occur in the training texts: scores on "
                "them tell what was learned by heart."
            )
        else:
            summary = f"None of {len(examples):,} test examples occurs in the training texts."
        shown = [e for e, is_known in zip(examples, found, strict=True) if is_known][:N_EXAMPLE]
        return AuditFinding(
            self.name,
            self.title,
            "look" if n else "ok",
            (summary,),
            LIMITS,
            (AuditFigure("share", "test examples that occur in training", share, "%"),),
            tuple(
                AuditExample(
                    subject.masked(e.source or e.references[0]),
                    f"test example {e.id}",
                    e.source_language,
                )
                for e in shown
            ),
        )
