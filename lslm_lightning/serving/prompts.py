"""Reading of prompts and sources: from the text of a request to the first token of its answer."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from lslm_lightning.contracts import Example
from lslm_lightning.decoding.beam import Beam
from lslm_lightning.decoding.running import Written
from lslm_lightning.decoding.search import Nested, log_probabilities
from lslm_lightning.serving.answer_text import AnswerText
from lslm_lightning.serving.prompt_cache import PromptCache
from lslm_lightning.serving.protocol import (
    Answered,
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
        self, request: AnswerRequest, limits: Limits, example: Callable[[str], Example]
    ) -> Writing:
        """Return the answers to a request, which are not begun yet.

        Args:
            request: the request.
            limits: its search and lengths.
            example: function that returns the example of a text.

        Raises:
            ServingError: the source does not fit the model.
        """

    @abstractmethod
    def first_steps(self, group: Sequence[WaitingJob]) -> Iterator[ReadPrompts]:
        """Yield the first steps of jobs, several in one call where that is faster."""

    @abstractmethod
    def answer_log_p(self, writing: Writing, ids: Sequence[int]) -> Tensor:
        """Return log p (T, V) of each of T tokens of an answer, given its source."""

    def check_echo(self, request: AnswerRequest) -> None:
        """Check that the model can put the prompt of a request before its answers.

        Raises:
            ServingError: it cannot.
        """
        raise ServingError(
            "echo: this model reads a source and writes another text; leave it out",
            "unsupported",
            "echo",
        )

    def echo(self, request: AnswerRequest, example: Callable[[str], Example]) -> Answered:
        """Return the prompt of a request as its answer, with the log p of its tokens if they are
        asked for.
        """
        raise NotImplementedError

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
                tokens=self.tokens(self.answer_log_p(writing, text.ids), text, request.n_top),
            )
            for answer, text in zip(answers, writing.texts, strict=False)
        )

    def tokens(self, log_p: Tensor, answer: AnswerText, n_top: int) -> tuple[TokenInfo, ...]:
        """Return the tokens of an answer.

        Args:
            log_p: (T, V) of the tokens.
            answer: the answer.
            n_top: number of most probable tokens in place of each.
        """
        shown = AnswerText(self.tokenizer, answer.stop, True, answer.offset)
        for id, row in zip(answer.ids, log_p, strict=True):
            shown.push(written(row, id, n_top))
        return tuple(shown.tokens)


def written(log_p: Tensor, id: int, n_top: int) -> Written:
    """Return a token as a batch tells it, from the log p (V,) in its place."""
    values, tokens = log_p.topk(min(n_top, len(log_p)))
    top = list(zip(tokens.tolist(), values.tolist(), strict=True))
    return Written(0, id, float(log_p[id]), top)


class PromptReader(SourceReader):
    """Reader of the prompts of a language model, with a cache of prompts that begin alike."""

    def __init__(self, task: CausalTask, tokenizer: Tokenizer) -> None:
        self.task = task
        self.tokenizer = tokenizer
        self.step = task.step
        self.cache = PromptCache(task.backbone.state_prefix)

    def abilities(self) -> Iterator[str]:
        yield "echo"

    def writing(
        self, request: AnswerRequest, limits: Limits, example: Callable[[str], Example]
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
        echo = self._echo(request, prompt) if request.echo else None
        return Writing(
            request, self.tokenizer, limits, plan, prompt, None, len(prompt), n_cut, echo
        )

    def check_echo(self, request: AnswerRequest) -> None:
        return

    def echo(self, request: AnswerRequest, example: Callable[[str], Example]) -> Answered:
        prompt = self._prompt(request, example)
        text, tokens = self._echo(request, prompt)
        answer = ServedAnswer(text, "length", 0, tokens=tokens)
        return Answered(request.id, (answer,) * request.n, len(prompt))

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
        wrong = [i for i in request.source if not 0 <= i < self.tokenizer.vocab_size]
        if wrong:
            raise ServingError(
                f"prompt has the token {wrong[0]}, but must have numbers from 0 to "
                f"{self.tokenizer.vocab_size - 1}",
                parameter="prompt",
            )
        start = task.prompt.start(self.tokenizer.eos_id)
        is_begun = list(request.source[: len(start)]) == start
        return [*(() if is_begun else start), *request.source]

    def _echo(
        self, request: AnswerRequest, prompt: Sequence[int]
    ) -> tuple[str, tuple[TokenInfo, ...]]:
        """Return the text of a prompt, and its tokens if their log p is asked for."""
        ids = prompt[len(self.task.prompt.start(self.tokenizer.eos_id)) :]
        text = request.source if isinstance(request.source, str) else self.tokenizer.decode(ids)
        if request.n_top is None:
            return text, ()
        given = AnswerText(self.tokenizer, has_tokens=True)
        given.ids = list(ids)
        # as a text is scored, whose end takes part in the windows
        row = [*prompt, self.tokenizer.eos_id]
        log_p = self._text_log_p(row)[len(prompt) - len(ids) - 1 : -1]
        tokens = self.tokens(log_p, given, request.n_top)
        encoded, offsets = self.tokenizer.encode_with_offsets(text)
        if encoded == list(ids):  # exact also where a text is not its decoded tokens
            tokens = tuple(
                replace(token, text=text[start:end], offset=start)
                for token, (start, end) in zip(tokens, parts(offsets, len(text)), strict=True)
            )
        return text, tokens

    @torch.no_grad()
    def _text_log_p(self, ids: Sequence[int]) -> Tensor:
        """Return log p (n - 1, V) of each id but the first, in the windows of scoring."""
        parts = []
        for window in self.task.windows(ids):
            row = torch.tensor([ids[window.start : window.end - 1]], device=self.task.device)
            logits = self.task.logits(row)[0, window.first - 1 - window.start :]
            parts.append(log_probabilities(logits).cpu())
        size = (0, self.tokenizer.vocab_size)
        return torch.cat(parts) if parts else torch.zeros(size)

    def first_steps(self, group: Sequence[WaitingJob]) -> Iterator[ReadPrompts]:
        unknown = []
        for i, each in enumerate(group):
            n, state = self.cache.find(each.ids)
            if not n:
                unknown.append(i)
                continue
            each.writing.n_cached = n
            found = ReadPrompts([i], *self.task.first_step([each.ids[n:]], state))
            self.cache.add(each.ids, found.state, 0)
            yield found
        if unknown:
            rows = [group[i].ids for i in unknown]
            found = ReadPrompts(unknown, *self.task.first_step(rows))
            for at, row in enumerate(rows):
                self.cache.add(row, found.state, at)
            yield found

    def answer_log_p(self, writing: Writing, ids: Sequence[int]) -> Tensor:
        row = [*writing.prompt, *ids]
        return self._text_log_p(row)[-len(ids) :]


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
        self, request: AnswerRequest, limits: Limits, example: Callable[[str], Example]
    ) -> Writing:
        task = self.task
        if request.echo:
            self.check_echo(request)
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
            ids = [*source, self.tokenizer.eos_id]
            n_whole = len(ids)
        longest = task.backbone.max_positions
        if longest is not None:
            if len(ids) > longest:
                raise ServingError(
                    f"the text has {len(ids):,} tokens, and the model reads at most {longest:,}; "
                    "shorten it, or give it in parts",
                    "too_long",
                )
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
    def answer_log_p(self, writing: Writing, ids: Sequence[int]) -> Tensor:
        task = self.task
        memory, source = task.encoder_state(torch.tensor([writing.prompt], device=task.device))
        before = torch.tensor([[self.tokenizer.bos_id, *ids[:-1]]], device=task.device)
        y, _ = task.backbone.decode(task.embedding(before), memory=memory, memory_pad=source.pad)
        return log_probabilities(task.head(y, task.embedding.weight, source)[0]).cpu()

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
        weights = self.task.cross_attention(source, ids)
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


def parts(offsets: Sequence[tuple[int, int]], n_character: int) -> Iterator[tuple[int, int]]:
    """Yield offsets [start, end) of the tokens of a text that cover each character once: one of
    several tokens belongs to the first, and one of none, such as a space between words, to the
    next.

    Args:
        offsets: offsets of each token, as a tokenizer gives them.
        n_character: length of the text.
    """
    last = 0
    for i, (_, end) in enumerate(offsets, 1):
        end = n_character if i == len(offsets) else max(last, end)
        yield last, end
        last = end


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
