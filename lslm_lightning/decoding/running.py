"""Searches in a running batch, which sources join and leave at every token (continuous batching).

Axes: N rows in the batch, A sources, k beams, V vocabulary.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from lslm_lightning.decoding.row_pool import RowPool
from lslm_lightning.decoding.search import (
    Nested,
    Search,
    Step,
    forbid_repeats,
    log_probabilities,
    reorder,
)
from lslm_lightning.decoding.stepwise import Stepwise

__all__ = ["Logits", "RunningBatch", "SearchJob", "StepwiseBatch", "Written"]


class Written(NamedTuple):
    """Token that a row has written.

    `top` has the most probable tokens in its place, as (token, log p), if a job asks for them.
    """

    row: int  # index of the answer of its job
    token: int
    log_p: float
    top: Sequence[tuple[int, float]]


@dataclass(frozen=True)
class Logits:
    """Changes of the logits of an answer, as the API of OpenAI defines them.

    Args:
        bias: number that is added to the logit of a token.
        presence: subtracted from the logit of each token that the answer has.
        frequency: subtracted for each time that the answer has the token.
        written: new tokens that came before those of the search.
    """

    bias: Mapping[int, float] = field(default_factory=dict)
    presence: float = 0.0
    frequency: float = 0.0
    written: Sequence[int] = ()

    def change(self, logits: Tensor, ids: Sequence[int]) -> None:
        """Change the logits (V,) of the token after the new tokens `ids`, in place."""
        change = dict(self.bias)
        if self.presence or self.frequency:
            for token, n in Counter([*self.written, *ids]).items():
                change[token] = change.get(token, 0.0) - self.presence - self.frequency * n
        if change:
            index = torch.tensor(list(change), device=logits.device)
            logits[index] += torch.tensor(list(change.values())).to(logits)


@dataclass(eq=False)
class SearchJob:
    """One source or prompt whose answers are searched.

    Args:
        search: search that finds the answers.
        prompt: ids before the answer, which count as history for `no_repeat_ngram`.
        longest: most new tokens.
        shortest: fewest new tokens.
        n_best: number of answers.
        keys: random integers (n_best, longest) of a search that draws.
        logits: changes of the logits, of a search that writes one token at a time.
        n_top: number of most probable tokens that `on_token` gets.
        on_token: called for each token of a search that writes one at a time; returns True if the
            answer ends with this token.

    Attributes:
        found: answers as (new ids, log p), in the order of their rows; of a beam search the best
            first. Empty until the job is done.
        is_done: True once `found` is complete.
        error: reason why the job has failed; None if it has not.
        is_cancelled: set to True to remove the job from its batch at the next token.
    """

    search: Search
    prompt: Sequence[int]
    longest: int
    shortest: int = 0
    n_best: int = 1
    keys: Tensor | None = None
    logits: Logits | None = None
    n_top: int = 0
    on_token: Callable[[Written], bool] | None = None
    found: list[tuple[list[int], float]] = field(default_factory=list)
    is_done: bool = False
    error: str | None = None
    is_cancelled: bool = False


class RunningBatch(ABC):
    """Rows that a model continues together, token by token.

    Args:
        step: step function of the model.
        eos_id: end-of-sequence token.
    """

    def __init__(self, step: Step, eos_id: int) -> None:
        self.step = step
        self.eos_id = eos_id
        self.state = RowPool()
        self.shared = RowPool()  # encoder states
        self.device = torch.device("cpu")  # of the logits

    @property
    @abstractmethod
    def n_row(self) -> int:
        """Number of rows that the next step computes."""

    @abstractmethod
    def join(
        self, jobs: Sequence[SearchJob], logits: Tensor, state: Nested, shared: Nested
    ) -> None:
        """Add jobs, and find the first token of each.

        Args:
            logits: (A, V) logits of the first new token of each job.
            state: state of the model after the prompt of each job, A rows.
            shared: encoder state of each job, A rows.
        """

    @abstractmethod
    def advance(self) -> None:
        """Find the next token of every row; jobs that are done leave the batch."""

    @property
    @abstractmethod
    def jobs(self) -> list[SearchJob]:
        """Jobs that are in the batch."""

    def fail(self, message: str) -> None:
        """End all jobs with an error, and empty the batch."""
        for job in self.jobs:
            job.error = message
        self.clear()

    def clear(self) -> None:
        """Remove all rows."""
        self.state.clear()
        self.shared.clear()

    def computed(self, ids: Tensor) -> Tensor:
        """Return the logits (N, V) after the next ids (N, 1), and keep the new state."""
        logits, state = self.step(ids, self.state.rows, self.shared.rows)
        self.state.update(state)
        return logits


class _Row:
    """Row of a `StepwiseBatch`: one answer of a job."""

    def __init__(self, job: SearchJob, index: int) -> None:
        self.job = job
        self.index = index
        self.ids: list[int] = []
        self.log_p = 0.0

    def group(self) -> Stepwise:
        """Return the search; rows of one search choose together."""
        assert isinstance(self.job.search, Stepwise)
        return self.job.search


class StepwiseBatch(RunningBatch):
    """Rows of searches that write one token at a time. Each may have another search."""

    def __init__(self, step: Step, eos_id: int) -> None:
        super().__init__(step, eos_id)
        self._rows: list[_Row] = []

    @property
    def n_row(self) -> int:
        return len(self._rows)

    @property
    def jobs(self) -> list[SearchJob]:
        return [row.job for row in self._rows]

    def clear(self) -> None:
        super().clear()
        self._rows = []

    def join(
        self, jobs: Sequence[SearchJob], logits: Tensor, state: Nested, shared: Nested
    ) -> None:
        self.device = logits.device
        rows = [_Row(job, i) for job in jobs for i in range(job.n_best)]
        owner = torch.tensor([a for a, job in enumerate(jobs) for _ in range(job.n_best)])
        ended = set(self._choose(rows, logits[owner.to(logits.device)]))
        stay = [i for i in range(len(rows)) if i not in ended]
        if stay:
            state, shared = reorder((state, shared), owner[stay])
            self.state.join(state, len(stay))
            self.shared.join(shared, len(stay))
            self._rows += [rows[i] for i in stay]

    def advance(self) -> None:
        gone = [i for i, row in enumerate(self._rows) if row.job.is_cancelled]
        self._remove(gone)
        if not self._rows:
            return
        ids = torch.tensor([[row.ids[-1]] for row in self._rows])
        logits = self.computed(ids.to(self.device))
        self._remove(self._choose(self._rows, logits))

    def _remove(self, gone: Sequence[int]) -> None:
        if gone:
            order = self.state.leave(gone)
            self.shared.leave(gone)
            self._rows = [self._rows[i] for i in order]

    def _choose(self, rows: Sequence[_Row], logits: Tensor) -> list[int]:
        """Append the next token to each row; return the indices of the rows that end."""
        changed = [i for i, row in enumerate(rows) if row.job.logits is not None]
        if changed:
            logits = logits.clone()  # may be a view of what a module keeps
        for i in changed:
            rows[i].job.logits.change(logits[i], rows[i].ids)  # type: ignore[union-attr]
        log_p = log_probabilities(logits)
        for i, row in enumerate(rows):
            if row.job.search.no_repeat_ngram:
                history = torch.tensor([[*row.job.prompt, *row.ids]], device=log_p.device)
                n = row.job.search.no_repeat_ngram
                forbid_repeats(log_p[i : i + 1], history, n, self.eos_id)
            if len(row.ids) < row.job.shortest:
                log_p[i, self.eos_id] = -torch.inf
        token = torch.zeros(len(rows), dtype=torch.int64, device=log_p.device)
        groups: dict[Stepwise, list[int]] = {}
        for i, row in enumerate(rows):
            groups.setdefault(row.group(), []).append(i)
        for search, members in groups.items():
            keys = [
                rows[i].job.keys[rows[i].index, len(rows[i].ids)]  # type: ignore[index]
                for i in members
                if rows[i].job.keys is not None
            ]
            drawn = torch.stack(keys).to(log_p.device) if keys else None
            token[members] = search.choose(log_p[members], drawn)
        chosen = log_p.gather(1, token[:, None])[:, 0]
        tops = self._tops(rows, log_p)
        ended = []
        for i, (row, id, value) in enumerate(
            zip(rows, token.tolist(), chosen.tolist(), strict=True)
        ):
            if self._write(row, Written(row.index, id, value, tops[i])):
                ended.append(i)
        return ended

    def _tops(self, rows: Sequence[_Row], log_p: Tensor) -> list[list[tuple[int, float]]]:
        """Return the most probable tokens of each row that asks for them."""
        n_top = [min(row.job.n_top, log_p.size(1)) for row in rows]
        if not any(n_top):
            return [[] for _ in rows]
        values, tokens = log_p.topk(max(n_top))
        return [
            list(zip(ids[:n], row[:n], strict=True))
            for ids, row, n in zip(tokens.tolist(), values.tolist(), n_top, strict=True)
        ]

    def _write(self, row: _Row, written: Written) -> bool:
        """Append a token to a row; return whether the row ends."""
        job = row.job
        if not -torch.inf < written.log_p <= 0.01:
            job.error = no_probability(len(row.ids) + 1)
            job.is_cancelled = True
        if job.is_cancelled:
            return True
        row.ids.append(written.token)
        row.log_p += written.log_p
        stops = job.on_token is not None and job.on_token(written)
        ends = stops or written.token == self.eos_id or len(row.ids) == job.longest
        if ends:
            if not job.found:
                job.found = [([], 0.0)] * job.n_best
            job.found[row.index] = (row.ids, row.log_p)
            job.is_done = all(ids for ids, _ in job.found)
        return ends


def no_probability(n_step: int) -> str:
    """Return the message for a job for which no token has a finite probability."""
    return (
        f"after {n_step} steps the model gives no usable probability: NaN or infinite logits, or "
        "min_length and no_repeat_ngram leave no token; check the checkpoint and the precision, or "
        "relax these settings"
    )
