"""Settings that must fit together, refused before any long work."""

from typing import Any

from lslm_lightning.evaluation.diagnostics import is_blind


def check_kind(task: Any, data: Any, kind: type) -> None:
    """Refuse the data module of another sort of task."""
    if not isinstance(data, kind):
        raise ValueError(
            f"{type(task).__name__} cannot read {type(data).__name__} but {kind.__name__}; "
            "choose a data.class_path of the same task"
        )


LONGEST = 256  # tokens of an answer, where neither the user nor the training split says less


def longest_answer(longest_target: int, min_length: int = 0) -> int:
    """Return the most tokens that an answer may have, by the longest training target: half as many
    more, and no more than `LONGEST`.
    """
    return max(1, min_length, min(LONGEST, longest_target + -(-longest_target // 2)))


def check_lengths(min_length: int, max_length: int | None) -> None:
    """Refuse answers that cannot be."""
    max_length = LONGEST if max_length is None else max_length
    if max_length < 1:
        raise ValueError(f"max_length={max_length} must be at least 1 token")
    if not 0 <= min_length <= max_length:
        raise ValueError(f"min_length={min_length} must be between 0 and max_length={max_length}")


def check_distinguishes(task: Any, data: Any) -> None:
    """Refuse to choose the best checkpoint by a metric that gives wrong answers the score of right
    ones.

    Raises:
        ValueError: the metric is named, with what to set.
    """
    name = task.monitor.removeprefix("val/")
    examples = data.validation_exam()
    metrics = task.all_metrics(examples[0].language) if examples else []
    metric = next((metric for metric in metrics if metric.name == name), None)
    if metric is None or not is_blind(metric, examples):
        return
    raise ValueError(
        f"{name}, by which the best checkpoint is chosen, cannot tell the validation references "
        "apart: another answer has the score of the"
        f" right one. They are scored as language={examples[0].language!r}; set data.language to "
        "the language that they"
        " are written in"
    )
