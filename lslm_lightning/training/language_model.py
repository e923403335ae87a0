"""Base class of language models: probabilities of texts, and continuations."""

from abc import abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from time import perf_counter
from typing import ClassVar, NamedTuple, TypeAlias, TypeVar

import torch
import torchmetrics
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor

from lslm_lightning.adapters.low_rank import Adapter
from lslm_lightning.contracts import Example, Metric, Prediction
from lslm_lightning.decoding import Decoded, Sampling, Search
from lslm_lightning.decoding.search import Nested
from lslm_lightning.models.backbone import Backbone
from lslm_lightning.optim import Schedule
from lslm_lightning.text.prompts import NO_PROMPT, Prompt
from lslm_lightning.text.tokenizer import Tokenizer
from lslm_lightning.training.batches import padded
from lslm_lightning.training.checks import MIN_LENGTH, check_lengths
from lslm_lightning.training.n_best import n_best_prediction
from lslm_lightning.training.optimizer_settings import ADAMW, COSINE
from lslm_lightning.training.scoring import TextScorer
from lslm_lightning.training.task import LABEL_SMOOTHING, SEARCH_SETTINGS, Task

T = TypeVar("T")
# for each prompt, answers as (new ids, log probability)
FoundLists: TypeAlias = list[list[tuple[list[int], float]]]
# how texts are continued where nothing else is set
SAMPLING = Sampling(temperature=0.8, top_p=0.95)
CONTINUATION_LENGTH = 200


class SearchCall(NamedTuple):
    """Call of a search for continuations of prompts that fit into the context of a model."""

    prompts: Sequence[Sequence[int]]  # ids of each
    max_length: int  # most new tokens
    min_length: int  # fewest new tokens
    n_best: int  # number of continuations of each prompt
    answers: Sequence[int]  # index of the answer that each prompt ends with; none at first


class LanguageModel(TextScorer, Task):
    """A model of the probability of texts, token by token.

    Arguments that are not listed are those of `Task`.

    Args:
        prompt: text around each input that is continued or answered.
        search: search that generates continuations.
        max_length: most new tokens of a continuation.
        min_length: fewest new tokens of a continuation.
    """

    finds_n_best = True
    changeable: ClassVar[Sequence[str]] = (*SEARCH_SETTINGS, "prompt")
    search: Search
    max_length: int
    min_length: int

    def __init__(
        self,
        backbone: Backbone | None,
        tokenizer: Tokenizer,
        prompt: Prompt = NO_PROMPT,
        search: Search = SAMPLING,
        max_length: int = CONTINUATION_LENGTH,
        min_length: int = MIN_LENGTH,
        optimizer: OptimizerCallable = ADAMW,
        schedule: Schedule = COSINE,
        label_smoothing: float = LABEL_SMOOTHING,
        extra_metrics: list[Metric | torchmetrics.Metric] | None = None,
        adapter: Adapter | None = None,
    ) -> None:
        super().__init__(
            backbone, tokenizer, optimizer, schedule, label_smoothing, extra_metrics, adapter
        )
        check_lengths(min_length, max_length)
        self.prompt = prompt
        self.search = search
        self.max_length = max_length
        self.min_length = min_length

    @property
    def max_context(self) -> int | None:
        """Largest number of tokens of a text that the model can read; None if there is no limit."""
        return None

    @abstractmethod
    def step(self, ids: Tensor, state: Nested, shared: Nested) -> tuple[Tensor, Nested]:
        """Return (logits (N, V) of the token after the last id of each row, new state). Searches
        call this function repeatedly.

        Args:
            ids: next tokens of each row, (N, t) int64.
            state: state after the tokens before `ids`; None at the first call.
            shared: not used; a search passes the encoder state of other tasks here.
        """

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
        """Return the continuations that the search finds for prompts, which may differ in length. A
        prompt and its continuation must fit into `max_context`.

        Args:
            prompts: ids of each prompt, as `prompts` returns them.
            max_length: most new tokens of a continuation.
            min_length: fewest new tokens of a continuation.
            generator: source of random numbers for `Sampling`.
            n_best: number of continuations of each prompt.
        """
        shortest = min(max(0, min_length), max_length)
        if self.engine is not None:
            return self.engine.find_answers(
                prompts, self.search, max_length, shortest, n_best, generator
            )
        start = padded(prompts, self.tokenizer.pad_id).to(self.device)
        length = torch.tensor([len(p) for p in prompts], device=self.device)
        search = self.search if n_best == 1 else partial(self.search, n_best=n_best)
        return search(
            self.step,
            start,
            (),
            self.tokenizer.eos_id,
            max_length,
            shortest,
            prefix_length=length,
            all_ranks_done=self.answering.all_ranks_done,
            generator=generator,
        )

    def generate(self, examples: Sequence[Example], n_best: int = 1) -> Iterator[Prediction]:
        """Yield a continuation of each example's source. If `n_best` is above 1, the best one is
        the output, and `alternatives` holds all of them.

        Raises:
            ValueError: the search cannot find `n_best` continuations.
        """
        began = perf_counter()
        prompts = self.prompts(examples)
        if n_best != 1:
            lists = self._by_length(
                prompts, lambda rows: self.continue_n_best(rows, self.max_length, n_best)
            )
            seconds = (perf_counter() - began) / max(1, len(examples))
            for example, found in zip(examples, lists, strict=True):
                yield n_best_prediction(example, found, self.tokenizer, seconds)
            return
        answers = self._by_length(
            prompts, lambda rows: self.continue_any_length(rows, self.max_length)
        )
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

    def _by_length(
        self,
        prompts: Sequence[Sequence[int]],
        continue_: Callable[[Sequence[Sequence[int]]], list[T]],
    ) -> list[T]:
        """Return the result of `continue_` for each prompt. All prompts are continued in one call,
        or those of each length in a call of their own if the search needs that.
        """
        if not self.search.needs_equal_lengths:
            return continue_(prompts)
        results: dict[int, T] = {}
        for length in {len(prompt) for prompt in prompts}:
            group = [i for i, prompt in enumerate(prompts) if len(prompt) == length]
            results |= zip(group, continue_([prompts[i] for i in group]), strict=True)
        return [results[i] for i in range(len(prompts))]

    def continue_any_length(
        self, prompts: Sequence[Sequence[int]], max_length: int
    ) -> list[list[int]]:
        """Return the new ids of a continuation of each prompt. It may exceed `max_context`: when
        the limit is reached, the model continues from the last half of the context.
        """
        return [ids for [(ids, _)] in self.continue_n_best(prompts, max_length, 1)]

    def continue_n_best(
        self, prompts: Sequence[Sequence[int]], max_length: int, n_best: int
    ) -> list[list[tuple[list[int], float]]]:
        """Return `n_best` continuations of each prompt as (new ids, log probability), in the order
        of the search.

        If `max_context` is reached, each continuation is extended separately, and the continuations
        of a prompt are sorted by log probability.

        Raises:
            ValueError: the search cannot find `n_best` continuations.
        """
        self.search.check_n_best(n_best)
        if not prompts:
            return []
        generator = self._generator()
        plan = self.continuations(prompts, max_length, self.min_length, n_best)
        try:
            call = next(plan)
            while True:
                decoded = self.continue_rows(
                    call.prompts, call.max_length, call.min_length, generator, call.n_best
                )
                call = plan.send(decoded.n_best_lists(call.n_best))
        except StopIteration as end:
            return list(end.value)

    def continuations(
        self, prompts: Sequence[Sequence[int]], max_length: int, min_length: int, n_best: int = 1
    ) -> Generator[SearchCall, FoundLists, FoundLists]:
        """Yield the searches whose answers make up the continuations of prompts, and return the
        continuations, as `continue_n_best` does. Whoever runs the searches sends their answers.

        Args:
            prompts: ids of each prompt.
            max_length: most new tokens of a continuation.
            min_length: fewest new tokens of a continuation.
            n_best: number of continuations of each prompt.
        """
        room = self._room(prompts, max_length)
        windows = [self._window(prompt) for prompt in prompts]
        lists = yield SearchCall(windows, room, min(max(0, min_length), room), n_best, ())
        if room == max_length:
            return lists
        owners = [i for i, found in enumerate(lists) for _ in found]
        starts = [len(prompts[i]) for i in owners]
        rows = [[*prompts[i], *ids] for i, found in enumerate(lists) for ids, _ in found]
        log_p = [log_p for found in lists for _, log_p in found]
        going = list(range(len(rows)))
        while going := [i for i in going if not self._has_ended(rows[i], starts[i], max_length)]:
            windows = [self._window(rows[i]) for i in going]
            written = len(rows[going[0]]) - starts[going[0]]  # as much by each that goes on
            room = self._room([rows[i] for i in going], max_length - written)
            least = min(max(0, min_length - written), room)
            more = yield SearchCall(windows, room, least, 1, going)
            for i, [(ids, score)] in zip(going, more, strict=True):
                rows[i] += ids
                log_p[i] += score
        whole: list[list[tuple[list[int], float]]] = [[] for _ in prompts]
        for owner, start, row, score in zip(owners, starts, rows, log_p, strict=True):
            whole[owner].append((row[start:], score))
        return [sorted(found, key=lambda pair: -pair[1]) for found in whole]

    def _generator(self) -> torch.Generator | None:
        """Return a random generator with the seed of the search; None if it has no seed."""
        seed = getattr(self.search, "seed", None)
        return None if seed is None else torch.Generator().manual_seed(seed)

    def _window(self, row: Sequence[int]) -> Sequence[int]:
        """Return the ids of a row that the model reads: all, or the last `max_context` // 2."""
        if self.max_context is None or len(row) <= self.max_context:
            return row
        return row[-max(1, self.max_context // 2) :]

    def _room(self, rows: Sequence[Sequence[int]], max_length: int) -> int:
        """Return the number of new tokens, at most `max_length`, that fit into `max_context` after
        each of these rows.
        """
        if self.max_context is None or not rows:
            return max_length
        return min(self.max_context + 1 - max(len(self._window(row)) for row in rows), max_length)

    def _has_ended(self, row: Sequence[int], start: int, max_length: int) -> bool:
        """Return whether a row has `</s>` or `max_length` tokens after its prompt of `start`
        tokens.
        """
        return len(row) - start >= max_length or (
            len(row) > start and row[-1] == self.tokenizer.eos_id
        )
