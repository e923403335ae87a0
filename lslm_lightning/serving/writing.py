"""Answers to one request, which a model writes token by token."""

from collections.abc import Callable, Generator, Sequence
from time import monotonic, time
from typing import NamedTuple

import torch

from lslm_lightning.decoding import AnySearch, Search
from lslm_lightning.decoding.beam import Beam
from lslm_lightning.decoding.running import Logits, SearchJob, Written
from lslm_lightning.decoding.stepwise import Stepwise
from lslm_lightning.serving.answer_text import AnswerText
from lslm_lightning.serving.protocol import (
    AnswerPart,
    AnswerRequest,
    AnswerTimes,
    ServedAnswer,
    ServingError,
    TokenInfo,
)
from lslm_lightning.text.tokenizer import Tokenizer
from lslm_lightning.training.language_model import FoundLists, SearchCall


class Limits(NamedTuple):
    """Search of a request, and limits of the length of its answers."""

    search: AnySearch | None
    max_length: int
    min_length: int


class WaitingJob(NamedTuple):
    """SearchJob that waits for room in a batch."""

    writing: "Writing"
    job: SearchJob
    ids: Sequence[int]  # that the model reads first


Plan = Generator[SearchCall, FoundLists, FoundLists]


class Writing:
    """Answers to one request, which a model writes token by token.

    The answers are those of the searches of a plan: one search for most requests, several for a
    continuation that is longer than the context of its model.

    Args:
        request: the request.
        tokenizer: tokenizer of the model.
        limits: search and lengths.
        plan: searches that find the answers.
        prompt: ids of the prompt or source.
        history: ids before the answer that count for `no_repeat_ngram`; None for the ids that the
            model reads.
        n_prompt: number of tokens of the prompt or source.
        n_cut: number of these that are not read.
        echo: text and tokens of the prompt, which come before each answer; None for none.

    Attributes:
        jobs: jobs of the current search.
        deadline: end of the time of the request, in seconds of `time.monotonic`.
    """

    def __init__(
        self,
        request: AnswerRequest,
        tokenizer: Tokenizer,
        limits: Limits,
        plan: Plan,
        prompt: Sequence[int],
        history: Sequence[int] | None,
        n_prompt: int,
        n_cut: int = 0,
        echo: tuple[str, tuple[TokenInfo, ...]] | None = None,
    ) -> None:
        self.request = request
        self.limits = limits
        self.prompt = prompt
        self.n_prompt = n_prompt
        self.n_cut = n_cut
        self.n_cached = 0
        self.jobs: list[SearchJob] = []
        self._begun_at: float | None = None
        self._read_at: float | None = None
        self._n_row = 0
        self._plan = plan
        self._history = history
        self._eos_id = tokenizer.eos_id
        self._echo = echo
        self.deadline = monotonic() + request.max_seconds
        self._generator = torch.Generator().manual_seed(request.seed)
        has_tokens = request.n_top is not None
        is_read = has_tokens or request.streams or bool(request.stop)
        offset = len(echo[0]) if echo else 0
        self.texts = [
            AnswerText(tokenizer, request.stop, has_tokens, offset, is_read)
            for _ in range(request.best_of)
        ]
        self._order = list(range(request.best_of))  # index of the text of each answer of the plan
        self._owners: list[int] = []  # index of the first text of each job
        self._begun: set[int] = set()  # texts whose beginning was sent
        self._ended: set[int] = set()  # texts whose end was sent

    def begin(self) -> None:
        """Keep the time at which a prompt begins to be read, if it is the first."""
        self._begun_at = self._begun_at or time()

    def join(self, n_row: int) -> None:
        """Keep the time at which the first prompt was read.

        Args:
            n_row: rows of the batches that it joined.
        """
        if self._read_at is None:
            self._read_at = time()
            self._n_row = n_row

    @property
    def times(self) -> AnswerTimes:
        """Times until now, for answers that are complete."""
        return AnswerTimes(self._begun_at, self._read_at, time(), self._n_row)

    def start(self) -> list[WaitingJob]:
        """Return the jobs of the first search."""
        return self._jobs_of(next(self._plan))

    @property
    def is_first_search(self) -> bool:
        """True until the answers of the first search are found."""
        return not any(text.ids for text in self.texts)

    @property
    def is_waiting(self) -> bool:
        """True while a job of the current search is not done."""
        return not all(job.is_done for job in self.jobs)

    @property
    def is_late(self) -> bool:
        """True if the time of the request is over."""
        return monotonic() > self.deadline

    def proceed(self) -> list[WaitingJob]:
        """Return the jobs of the next search, after those of the current one are done; an empty
        list if all answers are complete.
        """
        found = [
            self._found(job, first) for job, first in zip(self.jobs, self._owners, strict=True)
        ]
        is_first = len(found) == 1 and len(found[0]) == len(self._order)
        if is_first and isinstance(self.limits.search, Stepwise):
            order = sorted(range(len(found[0])), key=lambda i: -found[0][i][1])
            self._order = [self._order[i] for i in order]
            found = [[found[0][i] for i in order]]
        try:
            return self._jobs_of(self._plan.send(found))
        except StopIteration as end:
            self._complete(end.value[0])
            return []

    def _found(self, job: SearchJob, first: int) -> list[tuple[list[int], float]]:
        """Return the answers of a job. One that was ended by a text of `stop` gets the end of
        sequence, so that the plan does not continue it.

        Args:
            first: index of the text of its first answer.
        """
        return [
            ([*ids, self._eos_id] if self.texts[first + i].is_stopped else ids, log_p)
            for i, (ids, log_p) in enumerate(job.found)
        ]

    def _complete(self, found: Sequence[tuple[list[int], float]]) -> None:
        """Store the answers of a beam search, or sort those of another by log p."""
        if isinstance(self.limits.search, Beam):
            self.texts = self.texts[: len(found)]
            for text, (ids, log_p) in zip(self.texts, found, strict=True):
                text.finish(ids, log_p)

    def _jobs_of(self, call: SearchCall) -> list[WaitingJob]:
        search = self.limits.search
        assert isinstance(search, Search)
        n_row = len(call.prompts) * call.n_best
        keys = (
            search.random_keys(n_row, call.max_length, self._generator)
            if isinstance(search, Stepwise)
            else None
        )
        self.jobs = []
        self._owners = []
        waiting = []
        for i, prompt in enumerate(call.prompts):
            owner = self._order[call.answers[i]] if call.answers else 0
            history = prompt if self._history is None else self._history
            job = SearchJob(search, history, call.max_length, call.min_length, call.n_best)
            if keys is not None:
                job.keys = keys[i * call.n_best : (i + 1) * call.n_best]
            if isinstance(search, Stepwise):
                job.n_top = self.request.n_top or 0
                job.logits = self._logits(self.texts[owner])
                job.on_token = self._listener(owner)
            self.jobs.append(job)
            self._owners.append(owner)
            waiting.append(WaitingJob(self, job, prompt))
        return waiting

    def _logits(self, text: AnswerText) -> Logits | None:
        request = self.request
        if not (request.logit_bias or request.presence_penalty or request.frequency_penalty):
            return None
        return Logits(
            dict(request.logit_bias),
            request.presence_penalty,
            request.frequency_penalty,
            tuple(text.ids),
        )

    def _listener(self, owner: int) -> Callable[[Written], bool]:
        """Return the function that appends the tokens of a job to the texts from `owner` on."""

        def on_token(written: Written) -> bool:
            return self.texts[owner + written.row].push(written)

        return on_token

    def cancel(self) -> None:
        """Remove the jobs of the current search from their batches."""
        for job in self.jobs:
            job.is_cancelled = True

    @property
    def error(self) -> str | None:
        """Reason why a job has failed; None if none has."""
        return next((job.error for job in self.jobs if job.error), None)

    def pieces(self, is_last: bool) -> list[AnswerPart]:
        """Return the parts of answers that were not sent before.

        Args:
            is_last: all answers are complete.
        """
        pieces = []
        for i, text in enumerate(self.texts[: self.request.n]):
            if i in self._ended:
                continue
            ends = is_last or text.is_stopped
            part, tokens = text.next_part(ends)
            if i not in self._begun and self._echo and (part or tokens or ends):
                part = self._echo[0] + part
                tokens = (*self._echo[1], *tokens)
            if part or tokens or ends:
                reason = self._reason(text) if ends else None
                pieces.append(AnswerPart(self.request.id, i, part, tokens, reason))
                self._begun.add(i)
            if ends:
                self._ended.add(i)
        return pieces

    def _reason(self, text: AnswerText) -> str:
        reason = text.finish_reason
        return "timeout" if reason == "length" and self.is_late and self.is_waiting else reason

    def answers(self) -> tuple[ServedAnswer, ...]:
        """Return the answers, the best first; of a request that streams, in the order of their
        parts.
        """
        if self.is_waiting and isinstance(self.limits.search, Beam):
            raise ServingError(
                f"the time of {self.request.max_seconds:g} seconds is over before the beam search "
                "has an answer; ask for fewer tokens, or for a greedy search",
                "timeout",
            )
        texts = self.texts
        if not self.request.streams:
            texts = sorted(texts, key=lambda text: -text.log_p)
            if isinstance(self.limits.search, Beam):
                texts = self.texts  # by the score of the search
        found = [text.answer(self.is_waiting) for text in texts[: self.request.n]]
        if self._echo is None:
            return tuple(found)
        before, tokens = self._echo
        return tuple(
            ServedAnswer(
                before + answer.text,
                answer.finish_reason,
                answer.n_token,
                answer.log_p,
                (*tokens, *answer.tokens),
            )
            for answer in found
        )
