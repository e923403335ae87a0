"""Collection of the predictions of systems on disk; answers already on disk are not computed
again.
"""

import glob
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from lslm_lightning.contracts import (
    CannotError,
    Example,
    Generator,
    Mode,
    Prediction,
    Scorer,
    System,
    by_text,
)
from lslm_lightning.evaluation.duck_typing import DuckGenerator, DuckScorer, as_system
from lslm_lightning.evaluation.predictions import (
    PARTIAL,
    PredictionFile,
    partial_path,
    read_predictions,
)


def collect_predictions(
    system: System | DuckGenerator | DuckScorer,
    mode: Mode,
    examples: Sequence[Example],
    path: str | Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
    share: tuple[int, int] = (0, 1),
    known: str | Path | None = None,
) -> list[Prediction]:
    """Compute the predictions that the file `path` lacks, write each to the file at once, and
    return all.

    Args:
        mode: "generate" for texts, "log_prob" for probabilities.
        progress: called with the number of answered examples and the total number of examples.
        share: (i, n) answers every n-th text, starting with the i-th; other processes answer the
            rest.
        known: file of predictions of other processes, which are not computed again.

    Raises:
        CannotError: the system does not support this mode or these examples.
        ValueError: the system answers an example that it was not given, or stops before all
            examples are answered.
    """
    system = as_system(system)
    answering = method_of(system, mode)
    with PredictionFile(path) as file:
        if all(e.id in file.done for e in examples):
            return [file.done[e.id] for e in examples]
        check_modality(system, examples)
        done = {
            *file.done,
            *(p.id for path in ([known] if known else []) for p in read_all_predictions(path)),
        }
        rest = list(examples) if system.needs_all_examples else unanswered(examples, done, *share)
        wanted = {e.id for e in rest}
        progress(len(file.done), len(examples))
        for prediction in answering(rest):
            if prediction.id not in wanted:
                raise ValueError(
                    f"{system.name} answered {prediction.id!r}, which it was not given"
                )
            file.write(prediction)
            progress(len(file.done), len(examples))
        lacking = [e.id for e in examples if e.id not in file.done]
        if lacking and share[1] == 1:
            n_done = len(examples) - len(lacking)
            raise ValueError(
                f"{system.name} ended after {n_done:,} of {len(examples):,} examples; "
                f"{lacking[0]!r} has no answer"
            )
        return [file.done[e.id] for e in examples if e.id in file.done]


class Unbuilt(System):
    """Placeholder for a system that could not be built; it answers nothing."""

    name = "unbuilt"


def method_of(system: System, mode: Mode) -> Callable[[Sequence[Example]], Iterator[Prediction]]:
    """Return the method of a system that answers examples in this mode.

    Raises:
        CannotError: the system has no method for this mode.
    """
    if mode == "generate" and isinstance(system, Generator):
        return system.generate
    if mode == "log_prob" and isinstance(system, Scorer):
        return system.log_prob
    raise CannotError(
        "writes text but gives no probabilities"
        if mode == "log_prob"
        else "gives probabilities but writes no text"
    )


def check_modality(system: System, examples: Sequence[Example]) -> None:
    """Check that the system reads the modality of the examples.

    Raises:
        CannotError: it reads another modality; the message names both.
    """
    own = system.modality
    if own is not None and (
        other := next((e.modality for e in examples if e.modality != own), None)
    ):
        raise CannotError(f"reads {own}, and this evaluation set is {other}")


def unanswered(
    examples: Sequence[Example], done: Iterable[str], index: int = 0, n: int = 1
) -> list[Example]:
    """Return the unanswered examples of every n-th text, starting with text `index`.

    The passages of one text are returned together if the answer to any of them is missing.

    Args:
        done: ids of answered examples.
    """
    known = set(done)
    texts = list(by_text(examples))
    return [e for text in texts[index::n] if any(e.id not in known for e in text) for e in text]


def read_all_predictions(path: str | Path) -> list[Prediction]:
    """Return the predictions in the file `path` and in `<path>.partial`, its unfinished version."""
    path = Path(path)
    return [
        p for part in (path, partial_path(path)) if part.exists() for p in read_predictions(part)
    ]


def shard_files(path: str | Path) -> list[Path]:
    """Return the shards of the prediction file `path`, finished or not, sorted by name.

    A shard is the file of a process that answers a share of the examples.
    """
    path = Path(path)
    found = path.parent.glob(f"{glob.escape(path.stem)}.*-of-*.jsonl*")
    return sorted(p for p in found if p.suffix in (".jsonl", PARTIAL))


def count_answers(path: str | Path) -> int:
    """Return the number of predictions in the file `path`, in its unfinished version and in its
    shards.
    """
    path = Path(path)
    own = [p for p in (path, partial_path(path)) if p.exists()]
    return sum(p.read_bytes().count(b"\n") for p in own + shard_files(path))


def merge_shards(path: str | Path) -> None:
    """Move the predictions of all shards, `<system>.<i>-of-<n>.jsonl`, into the file `path` of the
    system.
    """
    if not (parts := shard_files(path)):
        return
    with PredictionFile(path) as file:
        for part in parts:
            for prediction in read_predictions(part):
                file.write(prediction)
    for part in parts:
        part.unlink()
