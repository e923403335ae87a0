"""Reading of prompts and sources: from the text of a request to the first token of its answer."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from lslm_lightning.contracts import Example
from lslm_lightning.decoding.beam import Beam
from lslm_lightning.decoding.running import Written
from lslm_lightning.decoding.search import Nested, log_probabilities, reorder
from lslm_lightning.serving.answer_text import AnswerText
from lslm_lightning.serving.prompt_cache import LEAST_BYTE, MOST_BYTE, PromptCache
from lslm_lightning.serving.prompt_tokens import check_ids, check_source, parts, written
from lslm_lightning.serving.protocol import (
    AnswerRequest,
    AttentionMap,
    ServedAnswer,
    ServingError,
    TokenInfo,
)
from lslm_lightning.serving.writing import Limits, Plan, WaitingJob, Writing
from lslm_lightning.text.tokenizer import Tokenizer
from lslm_lightning.training.causal import CausalTask
from lslm_lightning.training.language_model import SearchCall
from lslm_lightning.training.sequence_to_sequence import SequenceToSequenceTask
from lslm_lightning.training.task import Task


class Echo(NamedTuple):
    """Prompt that comes before an answer."""

    text: str
    tokens: tuple[TokenInfo, ...]  # if their log p is asked for
    n_prompt: int  # tokens that the model reads


class ReadPrompts(NamedTuple):
    """Result of reading the prompts or sources of some jobs."""

    jobs: Sequence[int]  # their indices
    logits: Tensor  # (B, V) of the first token of each
    state: Nested
    shared: Nested


class SourceReader(ABC):
    """Reader of prompts or sources for one kind of model."""

    step: Callable[[Tensor, Nested, Nested], tuple[Tensor, Nested]]
    tokenizer: Tokenizer

    @abstractmethod
    def abilities(self) -> Iterator[str]:
        """Yield the abilities of the kind of model."""

    @abstractmethod
    def writing(
        self,
        request: AnswerRequest,
        limits: Limits,
        example: Callable[[str], Example],
        echo: Echo | None = None,
    ) -> Writing:
        """Return the answers to a request, which are not begun yet.

        Args:
            request: the request.
            limits: its search and lengths.
            example: function that returns the example of a text.
            echo: prompt that comes before each answer; None for none.

        Raises:
            ServingError: the source does not fit the model.
        """

    @abstractmethod
    def first_steps(self, group: Sequence[WaitingJob]) -> Iterator[ReadPrompts]:
        """Yield the first steps of jobs, several in one call where that is faster."""

    @abstractmethod
    def scored_answer(self, writing: Writing, ids: Sequence[int], n_top: int) -> list[Written]:
        """Return the tokens of an answer with their log p, given its source."""

    def check_echo(self, request: AnswerRequest) -> None:
        """Check that the model can put the prompt of a request before its answers.

        Raises:
            ServingError: it cannot.
        """
        raise no_echo()

    def echo(
        self, request: AnswerRequest, example: Callable[[str], Example]
    ) -> Generator[None, None, Echo]:
        """Return the prompt of a request, with the log p of its tokens if they are asked for. Yield
        between parts of the work.
        """
        raise no_echo()

    def finished(
        self, writing: Writing, answers: Sequence[ServedAnswer]
    ) -> tuple[ServedAnswer, ...]:
        """Return answers with what is computed once they are complete: the log p of the tokens of a
        beam search, and attention.
        """
        request = writing.request
        if request.n_top is None or not isinstance(writing.limits.search, Beam):
            return tuple(answers)
        return tuple(
            replace(
                answer,
                tokens=self.tokens(self.scored_answer(writing, text.ids, request.n_top), text),
            )
            for answer, text in zip(answers, writing.texts, strict=False)
        )

    def tokens(self, scored: Sequence[Written], answer: AnswerText) -> tuple[TokenInfo, ...]:
        """Return the tokens of an answer.

        Args:
            scored: its tokens with their log p.
            answer: the answer.
        """
        shown = AnswerText(self.tokenizer, answer.stop, True, answer.offset)
        for each in scored:
            if shown.push(each):
                break
        return shown.answer().tokens


class PromptReader(SourceReader):
    """Reader of the prompts of a language model, with a cache of prompts that begin alike."""

    def __init__(self, task: CausalTask, tokenizer: Tokenizer) -> None:
        self.task = task
        self.tokenizer = tokenizer
        self.step = task.step
        n_weight_byte = sum(weights.nbytes for weights in task.parameters())
        n_byte = min(max(n_weight_byte, LEAST_BYTE), MOST_BYTE)
        self.cache = PromptCache(task.backbone.state_prefix, n_byte)

    def abilities(self) -> Iterator[str]:
        yield "echo"

    def writing(
        self,
        request: AnswerRequest,
        limits: Limits,
        example: Callable[[str], Example],
        echo: Echo | None = None,
    ) -> Writing:
        prompt = self._prompt(request, example)
        longest = self.task.max_context
        if isinstance(limits.search, Beam) and request.n_top is not None:
            n = len(prompt) + limits.max_length
            if longest is not None and n > longest + 1:
                raise ServingError(
                    f"logprobs: prompt and answer of a beam search may have {n:,} tokens, and "
                    f"the model reads {longest:,} at once; lower max_tokens to "
                    f"{longest + 1 - len(prompt)}, or leave it out",
                    "unsupported",
                    "logprobs",
                )
        n_cut = 0 if longest is None else len(prompt) - len(self.task._window(prompt))
        plan = self.task.continuations(
            [prompt], limits.max_length, limits.min_length, request.best_of
        )
        return Writing(
            request,
            self.tokenizer,
            limits,
            plan,
            prompt,
            None,
            len(prompt),
            n_cut,
            echo and echo[:2],
        )

    def check_echo(self, request: AnswerRequest) -> None:
        return

    def _prompt(self, request: AnswerRequest, example: Callable[[str], Example]) -> list[int]:
        """Return the ids of the prompt, which begin with the token that begins a text."""
        task = self.task
        try:
            if request.messages is not None:
                return task.prompt.conversation(self.tokenizer, request.messages)
            if isinstance(request.source, str):
                return task.prompts([example(request.source)])[0]
        except ValueError as error:
            raise ServingError(str(error), parameter="messages") from None
        check_ids(request.source, self.tokenizer)
        start = task.prompt.start(self.tokenizer.eos_id)
        is_begun = list(request.source[: len(start)]) == start
        return [*(() if is_begun else start), *request.source]

    def echo(
        self, request: AnswerRequest, example: Callable[[str], Example]
    ) -> Generator[None, None, Echo]:
        prompt = self._prompt(request, example)
        ids = prompt[len(self.task.prompt.start(self.tokenizer.eos_id)) :]
        text = request.source if isinstance(request.source, str) else self.tokenizer.decode(ids)
        if request.n_top is None:
            return Echo(text, (), len(prompt))
        given = AnswerText(self.tokenizer, has_tokens=True)
        given.ids = list(ids)
        # as a text is scored, whose end takes part in the windows
        row = [*prompt, self.tokenizer.eos_id]
        scored: list[Written] = []
        for window in self._scored_windows(row, request.n_top):
            scored += window
            yield
        tokens = self.tokens(scored[len(prompt) - len(ids) - 1 : -1], given)
        encoded, offsets = self.tokenizer.encode_with_offsets(text)
        if encoded == list(ids):  # exact also where a text is not its decoded tokens
            tokens = tuple(
                replace(token, text=text[start:end], offset=start)
                for token, (start, end) in zip(tokens, parts(offsets, len(text)), strict=True)
            )
        return Echo(text, tokens, len(prompt))

    def _scored_windows(self, ids: Sequence[int], n_top: int) -> Iterator[list[Written]]:
        """Yield each id but the first with its log p, in the windows of scoring."""
        for window in self.task.windows(ids):
            row = torch.tensor([ids[window.start : window.end - 1]], device=self.task.device)
            with torch.no_grad():
                logits = self.task.logits(row)[0, window.first - 1 - window.start :]
            yield written(log_probabilities(logits), ids[window.first : window.end], n_top)

    def first_steps(self, group: Sequence[WaitingJob]) -> Iterator[ReadPrompts]:
        found = [self.cache.find(each.ids) for each in group]
        members: dict[tuple[int, ...], list[int]] = {}
        for i, (n, _) in enumerate(found):
            members.setdefault(tuple(group[i].ids[:n]), []).append(i)
        for prefix, jobs in members.items():
            n = len(prefix)
            state = found[jobs[0]][1]
            if n:
                state = reorder(state, torch.zeros(len(jobs), dtype=torch.int64))
            rows = [group[i].ids for i in jobs]
            first = ReadPrompts(jobs, *self.task.first_step([row[n:] for row in rows], state))
            for at, (i, row) in enumerate(zip(jobs, rows, strict=True)):
                if group[i].writing.is_first_search:
                    group[i].writing.n_cached = n
                self.cache.add(row, first.state, at)
            yield first

    def scored_answer(self, writing: Writing, ids: Sequence[int], n_top: int) -> list[Written]:
        row = [*writing.prompt, *ids]
        scored = [each for window in self._scored_windows(row, n_top) for each in window]
        return scored[-len(ids) :] if ids else []


class TranslationReader(SourceReader):
    """Reader of the sources of a sequence-to-sequence model."""

    def __init__(self, task: SequenceToSequenceTask, tokenizer: Tokenizer) -> None:
        self.task = task
        self.tokenizer = tokenizer
        self.step = task.step

    def abilities(self) -> Iterator[str]:
        # an encoder-decoder without cross-attention has nothing to show
        row = [self.tokenizer.eos_id]
        if self.task.cross_attention(row, row) is not None:
            yield "attention"

    def writing(
        self,
        request: AnswerRequest,
        limits: Limits,
        example: Callable[[str], Example],
        echo: Echo | None = None,
    ) -> Writing:
        task = self.task
        if request.messages is not None:
            raise ServingError(
                f"messages: {type(task).__name__} reads a source, no conversation; give prompt",
                "unsupported",
                "messages",
            )
        if limits.max_length < 1:
            raise ServingError("max_tokens=0 must be at least 1", parameter="max_tokens")
        source = request.source
        if isinstance(source, str):
            [ids] = task.read([example(source)])
            [whole] = task.prompt.ids(self.tokenizer, [source])
            n_whole = len(whole) + 1
        else:
            check_ids(source, self.tokenizer)
            ids = [*source, self.tokenizer.eos_id]
            n_whole = len(ids)
        longest = task.backbone.max_positions
        check_source(len(ids), longest)
        if longest is not None:
            limits = limits._replace(
                max_length=min(limits.max_length, longest),
                min_length=min(limits.min_length, longest),
            )
        plan = one_search(ids, limits, request.best_of)
        history = [self.tokenizer.bos_id]
        return Writing(
            request, self.tokenizer, limits, plan, ids, history, n_whole, n_whole - len(ids)
        )

    def first_steps(self, group: Sequence[WaitingJob]) -> Iterator[ReadPrompts]:
        rows = [each.ids for each in group]
        yield ReadPrompts(range(len(rows)), *self.task.first_step(rows))

    @torch.no_grad()
    def scored_answer(self, writing: Writing, ids: Sequence[int], n_top: int) -> list[Written]:
        if not ids:
            return []
        task = self.task
        memory, source = task.encoder_state(torch.tensor([writing.prompt], device=task.device))
        before = torch.tensor([[self.tokenizer.bos_id, *ids[:-1]]], device=task.device)
        y, _ = task.backbone.decode(task.embedding(before), memory=memory, memory_pad=source.pad)
        logits = task.head(y, task.embedding.weight, source)[0]
        return written(log_probabilities(logits), ids, n_top)

    def finished(
        self, writing: Writing, answers: Sequence[ServedAnswer]
    ) -> tuple[ServedAnswer, ...]:
        found = super().finished(writing, answers)
        if not writing.request.with_attention:
            return found
        return tuple(
            replace(answer, attention=self._attention(writing.prompt, text.ids))
            for answer, text in zip(found, writing.texts, strict=False)
        )

    def _attention(self, source: Sequence[int], ids: Sequence[int]) -> AttentionMap | None:
        weights = self.task.cross_attention(source, ids) if ids else None
        if weights is None:
            return None
        return AttentionMap(
            tuple(self._shown(source)),
            tuple(self._shown(ids)),
            tuple(tuple(row) for row in weights.tolist()),
        )

    def _shown(self, ids: Sequence[int]) -> Iterator[str]:
        """Yield the text of each token, which may be empty for a part of a character."""
        text = AnswerText(self.tokenizer)
        text.ids = list(ids[:1])
        for id in ids:
            yield self.tokenizer.name(id) if id == self.tokenizer.eos_id else text.piece(id)


def no_echo() -> ServingError:
    """Return the refusal of `echo` by a model that does not continue its prompt."""
    return ServingError(
        "echo: this model reads a source and writes another text; leave it out",
        "unsupported",
        "echo",
    )


def reader_of(task: Task, tokenizer: Tokenizer) -> SourceReader:
    """Return the reader of a task.

    Raises:
        TypeError: the task does not write token by token.
    """
    if isinstance(task, CausalTask):
        return PromptReader(task, tokenizer)
    if isinstance(task, SequenceToSequenceTask):
        return TranslationReader(task, tokenizer)
    raise TypeError(f"{type(task).__name__} does not write token by token")


def one_search(ids: Sequence[int], limits: Limits, n: int) -> Plan:
    """Yield the one search for `n` answers to a source."""
    least = min(limits.min_length, limits.max_length)
    return (yield SearchCall([ids], limits.max_length, least, n, ()))
