"""The best checkpoint is never chosen by a constant."""

import math
from types import SimpleNamespace

import pytest
import torch

from lslm_lightning.contracts import Example
from lslm_lightning.metrics.rouge import Rouge
from lslm_lightning.training.answering import Answering
from lslm_lightning.training.callbacks.checkpoints import Checkpoints
from lslm_lightning.training.checks import check_distinguishes
from lslm_lightning.training.validation import Validation

REFERENCES = {
    "ru": ["новый план", "победа команды", "дождь в городе"],
    "ar": ["خطة جديدة", "فوز الفريق", "مطر في المدينة"],
    "el": ["νέο σχέδιο", "νίκη της ομάδας", "βροχή στην πόλη"],
    "hi": ["नई योजना", "टीम की जीत", "शहर में बारिश"],
}


def made(language, stated):
    """A task that goes by ROUGE-L, and its validation examples."""
    task = SimpleNamespace(
        monitor="val/rougeL",
        metrics=lambda code: [Rouge("1", code), Rouge("L", code)],
        extra_metrics=[],
    )
    task.answering = Answering(task)
    task.validation = Validation(task)
    exam = [
        Example(str(i), "x", (text,), stated, stated) for i, text in enumerate(REFERENCES[language])
    ]
    return task, SimpleNamespace(validation_examples=lambda: exam)


@pytest.mark.parametrize("language", REFERENCES)
def test_a_metric_that_tells_no_reference_from_another_is_refused_before_training(language):
    with pytest.raises(ValueError, match=r"rougeL.*language='en'; set data.language"):
        check_distinguishes(*made(language, "en"))
    check_distinguishes(*made(language, language))
    check_distinguishes(*made(language, "und"))


def test_what_is_chosen_by_loss_or_on_no_examples_is_not_tried():
    task, data = made("ru", "en")
    check_distinguishes(SimpleNamespace(monitor="val/loss", validation=task.validation), data)
    check_distinguishes(task, SimpleNamespace(validation_examples=lambda: []))


class Saved(Checkpoints):
    """Keeps nothing on disk but the number of the step that is best."""

    def save(self, trainer):
        self.saved_step = trainer.global_step


def validated(folder, values, higher_is_better=True):
    """Checkpoints after validations with these (score, val/loss)."""
    folder.mkdir(exist_ok=True)
    checkpoints = Saved(folder)
    task = SimpleNamespace(monitor="val/rougeL", higher_is_better=higher_is_better)
    for step, (score, loss) in enumerate(values, 1):
        metrics = {"val/rougeL": torch.tensor(score), "val/loss": torch.tensor(loss)}
        trainer = SimpleNamespace(global_step=step, callback_metrics=metrics, is_global_zero=False)
        restored = Saved(folder)
        # as if each validation were of a run that was resumed
        restored.load_state_dict(checkpoints.state_dict())
        checkpoints = restored
        checkpoints.keep(trainer, task)
    return checkpoints


@pytest.mark.parametrize(
    ("values", "best", "n_alike"),
    [
        ([(0.0, 3.0), (0.0, 2.0), (0.0, 2.5)], 2, 3),
        ([(0.0, 3.0), (0.0, 2.0), (1.0, 2.5)], 3, None),
        ([(0.0, 3.0), (5.0, 2.0), (5.0, 1.0), (4.0, 0.5)], 3, None),
        ([(5.0, 1.0), (5.0, 1.0)], 1, 2),
        ([(5.0, math.nan), (5.0, 1.0)], 1, 2),
    ],
)
def test_of_equal_scores_the_lower_loss_wins(tmp_path, values, best, n_alike):
    found = validated(tmp_path, values)
    assert (found.record.step, found.record.n_equal) == (best, n_alike)
    mirrored = validated(
        tmp_path, [(-score, loss) for score, loss in values], higher_is_better=False
    )
    assert mirrored.record.step == best
