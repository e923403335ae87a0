"""Checks that systems were trained for the task and the languages of an evaluation set."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lslm_lightning.contracts import Purpose, System
from lslm_lightning.text.languages import base_language

if TYPE_CHECKING:
    from lslm_lightning.training.data import TaskData

# the task whose models are made for no language and no question alone
LANGUAGE_MODELING = "language_modeling"


class MismatchError(ValueError):
    """Error for a system that was trained for another task or other languages than the evaluation
    set has.
    """


def check_purposes(
    systems: Mapping[str, System],
    task: str,
    data: "TaskData",
    told_languages: tuple[str, str] | None = None,
) -> dict[str, str]:
    """Refuse systems that were trained for another task or other languages than the evaluation set
    has.

    A system whose task or languages are unknown is accepted. A mismatch is allowed, but returned,
    for language models, which can continue or score any text, for systems with `allow_mismatch`,
    and where languages were told from texts, which may be mistaken.

    Args:
        systems: systems by name.
        task: task of the evaluation, such as "translation".
        data: data module of the evaluation.
        told_languages: languages of sources and answers as told from the texts of the evaluation
            set; None if they are unknown.

    Returns:
        Allowed mismatches as text, by system name.

    Raises:
        MismatchError: a system does not fit.
    """
    asked = Purpose(task, data.stated_languages)
    told = {}
    for name, system in systems.items():
        for purpose in trained_for(system):
            differing = mismatch(purpose, asked)
            own, wanted = (
                each if each.languages else each._replace(languages=languages)
                for each, languages in (
                    (purpose, system.told_languages()),
                    (asked, told_languages),
                )
            )
            if not differing and not mismatch(own, wanted):
                continue
            message = (
                f"it was trained for {own}, and the evaluation set is {wanted} ({data.corpus_name})"
            )
            is_language_model = purpose.task == LANGUAGE_MODELING or (
                differing == ["languages"] and data.mode == "log_prob"
            )
            if differing and not is_language_model and not system.allow_mismatch:
                which = "".join(f" ({chosen})" for chosen in system.chosen_runs())
                verb = "differs" if differing == ["task"] else "differ"
                raise MismatchError(
                    f"system {name}{which}: {message}: {' and '.join(differing)} {verb}; name "
                    f"another run, or set systems.{name}.init_args.allow_mismatch to true to "
                    "score it anyway"
                )
            told[name] = message
    return told


def check_trained_for(checkpoint: str, purpose: Purpose, task: str, data: "TaskData") -> None:
    """Refuse to score a run's checkpoint on another task or other languages than it was trained
    for.

    Args:
        checkpoint: path of the checkpoint.
        purpose: task and languages that it was trained for.
        task: task that the config scores, such as "translation".
        data: data module of the config.

    Raises:
        ValueError: the task differs, or the languages differ and the evaluation generates answers.
    """
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
    """Return the tasks and languages that a system was trained for; an empty list if unknown."""
    try:
        return system.purposes()
    except Exception:  # a pattern that nothing matches, say: told when the system is asked
        return []


def mismatch(own: Purpose, asked: Purpose) -> list[str]:
    """Return which of "task" and "languages" differ between two purposes; unknown values do not
    count as different.

    Args:
        own: purpose that a system was trained for.
        asked: purpose that the evaluation has.
    """
    tasks = own.task is not None and asked.task is not None and own.task != asked.task
    languages = (
        own.languages is not None
        and asked.languages is not None
        and [*map(base_language, own.languages)] != [*map(base_language, asked.languages)]
    )
    return [name for name, differs in (("task", tasks), ("languages", languages)) if differs]
