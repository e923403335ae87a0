"""Checks that systems were trained for the task and the languages of an evaluation set."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lslm_lightning.contracts import Purpose, System
from lslm_lightning.systems.purpose import purpose_of_run
from lslm_lightning.text.languages import base_language

if TYPE_CHECKING:
    from lslm_lightning.training.data import TaskData

# the task whose models are made for no language and no question alone
LANGUAGE_MODELING = "language_modeling"


class MismatchError(ValueError):
    """A system was trained for another task or other languages than the evaluation set has."""


def check_purposes(systems: Mapping[str, System], task: str, data: "TaskData") -> dict[str, str]:
    """Refuse systems that were trained for another task or for other languages than the evaluation
    set has.

    Tasks and languages that are not stated are no reason to refuse. A language model may continue,
    or give the probability of, any text in any language: its mismatch is returned, and so is one
    that `allow_mismatch` allows.

    Args:
        task: name of the evaluation's task: "translation".

    Returns:
        Mismatches that are allowed, as text, by system.

    Raises:
        MismatchError: a system does not fit.
    """
    asked = Purpose(task, data.stated_languages)
    told = {}
    for name, system in systems.items():
        for purpose in trained_for(system):
            differing = mismatch(purpose, asked)
            if not differing:
                continue
            message = (
                f"it was trained for {purpose}, and the evaluation set is {asked} "
                f"({data.corpus_name})"
            )
            is_language_model = purpose.task == LANGUAGE_MODELING or (
                differing == ["languages"] and data.mode == "log_prob"
            )
            if not is_language_model and not system.allow_mismatch:
                which = "".join(f" ({chosen})" for chosen in system.chosen_runs())
                verb = "differs" if differing == ["task"] else "differ"
                raise MismatchError(
                    f"system {name}{which}: {message}: {' and '.join(differing)} {verb}; name "
                    f"another run, or set systems.{name}.init_args.allow_mismatch to true to "
                    "score it anyway"
                )
            told[name] = message
    return told


def check_checkpoint(checkpoint: str | Path, task: str, data: "TaskData") -> None:
    """Refuse to score a run's checkpoint by another task, or on other languages, than it was
    trained for.

    Args:
        task: name of the task that this config scores: "translation".

    Raises:
        ValueError: they differ.
    """
    purpose = purpose_of_run(checkpoint)
    asked = Purpose(task, data.stated_languages)
    differing = mismatch(purpose, asked)
    if "task" in differing or (differing and data.mode != "log_prob"):
        raise ValueError(
            f"{checkpoint} was trained for {purpose}, and this config scores {asked} "
            f"({data.corpus_name}): give"
            " the config.yaml of its own run, or score it by lslm evaluate with allow_mismatch: "
            "true"
        )


def trained_for(system: System) -> Sequence[Purpose]:
    """Return the tasks and languages that a system was trained for; empty if unknown."""
    try:
        return system.purposes()
    except Exception:  # a pattern that nothing matches, say: told when the system is asked
        return []


def mismatch(own: Purpose, asked: Purpose) -> list[str]:
    """Return which of "task" and "languages" differ between two purposes, where both state them."""
    tasks = own.task is not None and asked.task is not None and own.task != asked.task
    languages = (
        own.languages is not None
        and asked.languages is not None
        and [*map(base_language, own.languages)] != [*map(base_language, asked.languages)]
    )
    return [name for name, differs in (("task", tasks), ("languages", languages)) if differs]
