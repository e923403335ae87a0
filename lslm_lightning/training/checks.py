"""Checks that settings of a task and its data fit together, made before any long work."""

from typing import TYPE_CHECKING, TypeVar

from lslm_lightning.evaluation.diagnostics import is_blind

if TYPE_CHECKING:
    from lslm_lightning.models.backbone import Backbone
    from lslm_lightning.text.prompts import Prompt
    from lslm_lightning.training.data import TaskData
    from lslm_lightning.training.task import Task

LONGEST = 256  # most tokens of an answer, where neither the user nor the training split says less
MIN_LENGTH = 0  # fewest tokens of an answer, where the user sets nothing

DataT = TypeVar("DataT", bound="TaskData")


def check_kind(task: "Task", data: "TaskData", kind: type[DataT]) -> DataT:
    """Return the data module if it is of the kind that the task reads.

    Raises:
        ValueError: the data module is not an instance of `kind`.
    """
    if not isinstance(data, kind):
        raise ValueError(
            f"{type(task).__name__} cannot read {type(data).__name__} but {kind.__name__}; "
            "choose a data.class_path of the same task"
        )
    return data


def check_encodes_only(name: str, network: "Backbone", purpose: str) -> None:
    """Raise an error if a network is not an encoder without a decoder.

    Args:
        name: setting that gives the network.
        purpose: text that says what the task does instead of writing, such as "finds answers".

    Raises:
        ValueError: the network has a decoder, or no encoder.
    """
    if network.n_decoder_layer or not network.n_encoder_layer:
        raise ValueError(
            f"n_encoder_layer={network.n_encoder_layer} of {name} must be at least 1 and "
            f"n_decoder_layer={network.n_decoder_layer} must be 0: this task {purpose} and writes "
            "none"
        )


def check_has_validation_score(task: "Task", data: "TaskData") -> None:
    """Raise an error if the data have no validation examples to answer, although a metric of
    answers selects the best checkpoint.

    Raises:
        ValueError: `n_validation_example` is 0.
    """
    if not data.n_validation_example:
        raise ValueError(
            f"data.n_validation_example=0 leaves {task.monitor}, which selects the best "
            "checkpoint, without a value; set 200"
        )


def longest_answer(longest_target: int, min_length: int = 0) -> int:
    """Return the largest number of tokens that an answer may have: 1.5 times the longest training
    target, but at least `min_length` and at most `LONGEST`.

    Args:
        longest_target: number of tokens of the longest training target.
        min_length: fewest tokens of an answer.
    """
    return max(1, min_length, min(LONGEST, longest_target + -(-longest_target // 2)))


def check_has_no_template(prompt: "Prompt") -> None:
    """Raise ValueError if a prompt has a chat template, which is for language models alone."""
    if prompt.chat_template:
        raise ValueError(
            "prompt.chat_template must be empty for a task that reads sources, since chat "
            "templates are for language models; use prompt.prefix"
        )


def check_lengths(min_length: int, max_length: int | None) -> None:
    """Raise an error if no length of an answer satisfies both limits.

    Args:
        min_length: fewest tokens of an answer.
        max_length: most tokens of an answer; None for `LONGEST`.

    Raises:
        ValueError: a limit is out of range.
    """
    max_length = LONGEST if max_length is None else max_length
    if max_length < 1:
        raise ValueError(f"max_length={max_length} must be at least 1 token")
    if not 0 <= min_length <= max_length:
        raise ValueError(f"min_length={min_length} must be between 0 and max_length={max_length}")


def check_distinguishes(task: "Task", data: "TaskData") -> None:
    """Raise an error if the metric that selects the best checkpoint gives wrong answers the same
    score as right ones.

    Raises:
        ValueError: the metric cannot tell the validation references apart.
    """
    examples = data.validation_examples()
    metric = task.validation.metrics(examples).get(task.monitor)
    if metric is None or not is_blind(metric, examples):
        return
    raise ValueError(
        f"{metric.name}, which selects the best checkpoint, cannot tell the validation references "
        "apart: a wrong answer has the score of the right one. They are scored as "
        f"language={examples[0].language!r}; set data.language to the language that they are "
        "written in"
    )
