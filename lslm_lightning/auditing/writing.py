"""Texts and answers that the audited model writes with a given search."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

from lslm_lightning.contracts import Example
from lslm_lightning.decoding import AnySearch, Greedy, Sampling
from lslm_lightning.files import atomic_write
from lslm_lightning.training.language_model import LanguageModel
from lslm_lightning.training.task import Task

SAMPLE_LENGTH = 256  # tokens of a text that a model writes, as in Carlini et al. 2021
TOP_K = 40  # likewise
BATCH = 64


class WrittenText(NamedTuple):
    """Text that a language model wrote without a prompt."""

    ids: list[int]  # with `</s>` at the end where the model ended the text
    text: str


@contextmanager
def searching(task: Task, search: AnySearch) -> Iterator[None]:
    """Let a task answer with another search inside the context, and restore the generators of
    random numbers after it.
    """
    before = task.search
    random_state = torch.get_rng_state()
    task.answering.use_search(search)
    try:
        yield
    finally:
        task.answering.use_search(before)
        torch.set_rng_state(random_state)


def write_samples(
    task: LanguageModel, n: int, seed: int, progress: Callable[[float], None]
) -> list[WrittenText]:
    """Return texts that a language model writes without a prompt, drawn from its 40 most likely
    tokens. Source: Carlini et al. 2021, section 4.

    Args:
        n: number of texts.
        seed: seed of the draws.
        progress: told the share that is written.
    """
    search = Sampling(top_k=TOP_K)
    rows: list[list[int]] = []
    for start in range(0, n, BATCH):
        prompts = [[task.tokenizer.eos_id]] * min(BATCH, n - start)
        with searching(task, replace(search, seed=seed * 1_000_003 + start)):
            rows += task.continue_any_length(prompts, sample_length(task))
        progress(len(rows) / n)
    return [WrittenText(ids, task.tokenizer.decode(ids)) for ids in rows]


def sample_length(task: LanguageModel) -> int:
    """Return the number of tokens of a sample: `SAMPLE_LENGTH`, or as many as the model reads."""
    return min(SAMPLE_LENGTH, task.max_context or SAMPLE_LENGTH)


def kept_samples(
    path: Path, identity: str, write: Callable[[], list[WrittenText]]
) -> list[WrittenText]:
    """Return the samples in a file, or write them and the file if it has those of other inputs.

    Args:
        identity: digest of everything that determines the samples.
        write: returns the samples.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
        if found["identity"] == identity:
            return [WrittenText(list(ids), str(text)) for ids, text in found["samples"]]
    except (OSError, ValueError, LookupError, TypeError):
        pass  # none, or damaged
    samples = write()
    record = {"identity": identity, "samples": samples}
    atomic_write(path, json.dumps(record, ensure_ascii=False) + "\n", 0o600)
    return samples


def completions(
    task: LanguageModel,
    prompts: Sequence[Sequence[int]],
    n_new: int,
    progress: Callable[[float], None],
) -> list[list[int]]:
    """Return the most likely next `n_new` tokens after each prompt, by greedy search.

    Args:
        prompts: ids of each prompt, all of the same number.
        progress: told the share that is done.
    """
    rows: list[list[int]] = []
    with searching(task, Greedy()):
        for start in range(0, len(prompts), BATCH):
            rows += task.continue_any_length(prompts[start : start + BATCH], n_new)
            progress(len(rows) / len(prompts))
    return rows


def greedy_answers(
    task: Task, examples: Sequence[Example], progress: Callable[[float], None]
) -> list[str]:
    """Return the greedy answer of a sequence-to-sequence task to each example, in order.

    Args:
        progress: told the share that is done.
    """
    by_length = sorted(range(len(examples)), key=lambda i: examples[i].length)
    answers: dict[int, str] = {}
    with searching(task, Greedy()):
        for start in range(0, len(examples), BATCH):
            batch = by_length[start : start + BATCH]
            found = task.answer([examples[i] for i in batch])
            answers |= {i: p.output or "" for i, p in zip(batch, found, strict=True)}
            progress(len(answers) / len(examples))
    return [answers[i] for i in range(len(examples))]
