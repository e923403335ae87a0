"""A language model of any kind: it gives texts their probability and continues them."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from lslm_lightning.contracts import Example, Prediction
from lslm_lightning.decoding import Decoded, Sampling, Search
from lslm_lightning.training.batches import padded
from lslm_lightning.training.checks import check_lengths
from lslm_lightning.training.n_best import n_best_prediction
from lslm_lightning.training.scoring import TextScorer
from lslm_lightning.training.task import Task

SAMPLING = Sampling(temperature=0.8, top_p=0.95)


class LanguageModel(TextScorer, Task):
    """Words after words.

    Args:
        search: how texts are continued.
        max_length: new tokens in a continuation.
        min_length: a continuation does not end before so many.
    """

    finds_n_best = True
    # the most tokens that it reads of a text; None where there is no such limit
    reach: int | None = None

    def __init__(
        self,
        *args: Any,
        search: Search = SAMPLING,
        max_length: int = 200,
        min_length: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        check_lengths(min_length, max_length)
        self.search = search
        self.max_length = max_length
        self.min_length = min_length

    @abstractmethod
    def step(self, ids: Tensor, state: Any, shared: Any) -> tuple[Tensor, Any]:
        """As a search wants it; see `decoding.search.Step`."""

    # Generation

    @torch.no_grad()
    def continue_rows(
        self,
        prompts: Sequence[Sequence[int]],
        max_length: int,
        min_length: int = 0,
        generator: torch.Generator | None = None,
        n_best: int = 1,
    ) -> Decoded:
        """What `search` writes after prompts (ids that begin with `</s>`) of any lengths, in one
        go; see `Decoded`.
        """
        start = padded(prompts, self.tokenizer.pad_id).to(self.device)
        length = torch.tensor([len(p) for p in prompts], device=self.device)
        limits = (max_length, min(max(0, min_length), max_length))
        keywords = {"prefix_length": length, "all_ranks_done": self.agree, "generator": generator}
        keywords |= {"n_best": n_best} if n_best > 1 else {}
        return self.search(self.step, start, (), self.tokenizer.eos_id, *limits, **keywords)

    def generate(self, examples: Sequence[Example], n_best: int = 1) -> Iterator[Prediction]:
        """A continuation of each example's source; with `n_best` above 1 several, as
        `alternatives`.

        Raises:
            ValueError: the search finds no more than one, or fewer than `n_best`.
        """
        began = perf_counter()
        prompts = [
            [self.tokenizer.eos_id, *ids]
            for ids in self.tokenizer.encode_batch([e.source for e in examples])
        ]
        if n_best != 1:
            lists = self.continue_n_best(prompts, self.max_length, n_best)
            seconds = (perf_counter() - began) / max(1, len(examples))
            for example, found in zip(examples, lists, strict=True):
                yield n_best_prediction(example, found, self.tokenizer, seconds)
            return
        answers = self.continue_far(prompts, self.max_length)
        seconds = (perf_counter() - began) / max(1, len(examples))
        for example, ids in zip(examples, answers, strict=True):
            finish = "stop" if ids[-1:] == [self.tokenizer.eos_id] else "length"
            yield Prediction(
                example.id,
                self.tokenizer.decode(ids),
                n_token=len(ids),
                seconds=seconds,
                finish_reason=finish,
            )

    def continue_far(self, prompts: Sequence[Sequence[int]], max_length: int) -> list[list[int]]:
        """Continuations that may leave the reach behind: from where it is full, the model goes on
        with the later half of it.
        """
        rows = [list(prompt) for prompt in prompts]
        self._continue(rows, [len(prompt) for prompt in prompts], max_length, self._generator())
        return [row[len(prompt) :] for row, prompt in zip(rows, prompts, strict=True)]

    def continue_n_best(
        self, prompts: Sequence[Sequence[int]], max_length: int, n_best: int
    ) -> list[list[tuple[list[int], float]]]:
        """For each prompt `n_best` continuations with their log p, in the order of the search.

        Those that leave the reach behind go on each by itself, and are then in the order of their
        log p.
        """
        self.search.check_n_best(n_best)
        if not prompts:
            return []
        generator = self._generator()
        room = self._room(prompts, max_length)
        windows = [self._window(prompt) for prompt in prompts]
        decoded = self.continue_rows(windows, room, self.min_length, generator, n_best)
        lists = decoded.n_best_lists(n_best)
        if room == max_length:
            return lists
        owners = [i for i, found in enumerate(lists) for _ in found]
        starts = [len(prompts[i]) for i in owners]
        rows = [[*prompts[i], *ids] for i, found in enumerate(lists) for ids, _ in found]
        more = self._continue(rows, starts, max_length, generator)
        log_p = [log_p for found in lists for _, log_p in found]
        whole: list[list[tuple[list[int], float]]] = [[] for _ in prompts]
        for owner, start, row, before, after in zip(owners, starts, rows, log_p, more, strict=True):
            whole[owner].append((row[start:], before + after))
        return [sorted(found, key=lambda pair: -pair[1]) for found in whole]

    def _generator(self) -> torch.Generator | None:
        """A source of chance with the seed of the search, where it has one."""
        seed = getattr(self.search, "seed", None)
        return None if seed is None else torch.Generator().manual_seed(seed)

    def _window(self, row: Sequence[int]) -> Sequence[int]:
        """Return what of a row is read: all of it, or the later half of the reach."""
        if self.reach is None or len(row) <= self.reach:
            return row
        return row[-max(1, self.reach // 2) :]

    def _room(self, rows: Sequence[Sequence[int]], max_length: int) -> int:
        """New tokens that can be written in one go."""
        if self.reach is None or not rows:
            return max_length
        return min(self.reach + 1 - max(len(self._window(row)) for row in rows), max_length)

    def _continue(
        self,
        rows: list[list[int]],
        starts: Sequence[int],
        max_length: int,
        generator: torch.Generator | None,
    ) -> list[float]:
        """Write on in each row that has not ended, until it has `max_length` tokens behind its
        prompt of `starts` tokens; return the log p of what was written.
        """
        log_p = [0.0] * len(rows)
        going = [i for i, row in enumerate(rows) if not self._has_ended(row, starts[i], max_length)]
        while going:
            windows = [self._window(rows[i]) for i in going]
            written = len(rows[going[0]]) - starts[going[0]]  # as much by each that goes on
            room = self._room([rows[i] for i in going], max_length - written)
            decoded = self.continue_rows(
                windows, max_length=room, min_length=self.min_length - written, generator=generator
            )
            scores = decoded.score if decoded.log_p is None else decoded.log_p
            for i, ids, n, score in zip(
                going,
                decoded.ids.tolist(),
                decoded.n_token.tolist(),
                scores.tolist(),
                strict=True,
            ):
                rows[i] += ids[:n]
                log_p[i] += score
            going = [i for i in going if not self._has_ended(rows[i], starts[i], max_length)]
        return log_p

    def _has_ended(self, row: Sequence[int], start: int, max_length: int) -> bool:
        """Whether a row has its end, or as many tokens behind its prompt as are allowed."""
        return len(row) - start >= max_length or (
            len(row) > start and row[-1] == self.tokenizer.eos_id
        )
