"""Probabilities of whole texts and passages, computed from the probabilities of their tokens."""

from abc import ABCMeta, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import groupby
from time import perf_counter
from typing import NamedTuple

import numpy as np

from lslm_lightning.contracts import Answers, Example, Prediction, pair_answers, passages_of
from lslm_lightning.ngram.spelling import ORDER, Spelling
from lslm_lightning.text.prompts import NO_PROMPT, Prompt
from lslm_lightning.text.tokenizer import Tokenizer
from lslm_lightning.types import TokenNats

# kinds of tokenizer whose unknown tokens are scored by the bytes that they stand for
WITH_BYTE_MODEL = ("words", "characters")
UNKNOWN = "<unk>"


def texts(examples: Sequence[Example]) -> list[tuple[list[Example], str]]:
    """Join consecutive passages of the same text. Return (passages, whole text) for each text.

    Passages of one text have the ids "text#0", "text#1" and so on.
    """
    groups = [list(group) for _, group in groupby(examples, key=lambda e: e.id.partition("#")[0])]
    return [(passages, "".join(e.references[0] for e in passages)) for passages in groups]


class Scored(NamedTuple):
    """Text of n tokens with the probability of each token. The last token is `</s>`."""

    text: str
    offsets: Sequence[tuple[int, int]]  # span of characters of each token but `</s>`
    ids: Sequence[int]  # n
    nats: np.ndarray  # (n,) float64, minus log probability of each token
    contexts: np.ndarray  # (n,) number of tokens that each was predicted from


# a base of ABC would give tasks another layout than FSDP2's classes have
class TextScorer(metaclass=ABCMeta):
    """Base class of models that give the probability of each token of a text. From these, it
    computes the probabilities of texts, and of answers after a source.

    A row is the list of ids of a text, with `</s>` before the first id and after the last.
    """

    tokenizer: Tokenizer
    prompt: Prompt = NO_PROMPT  # text around each source

    @abstractmethod
    def token_nats(
        self, rows: Sequence[Sequence[int]], n_given: Sequence[int] | None = None
    ) -> list[np.ndarray]:
        """Return, for each row, the negative log probability in nats of each id except the first,
        float64.

        Args:
            n_given: number of ids at the start of each row that are not scored; 1 by default. The
                values returned for such ids have no meaning.
        """

    @abstractmethod
    def contexts(self, ids: Sequence[int]) -> np.ndarray:
        """Return the number of tokens from which each id of a row, except the first, is predicted:
        (n - 1,) for a row of n ids.
        """

    @cached_property
    def spelling(self) -> Spelling | None:
        """Byte model of the words or characters that become `<unk>`, estimated from the tokenizer's
        vocabulary; None if the tokenizer needs none.
        """
        return (
            Spelling([*self.tokenizer.entries().values()])
            if self.tokenizer.unk_id is not None and self.tokenizer.kind in WITH_BYTE_MODEL
            else None
        )

    @property
    def signature_of_spelling(self) -> str:
        """Part of a score's signature (the text that says how it was computed) that names the byte
        model of unknown tokens; "" if there is none.
        """
        return "" if self.spelling is None else f"|spelling:bytes-{ORDER}"

    def log_prob(
        self, examples: Sequence[Example], answers: Answers | None = None
    ) -> Iterator[Prediction]:
        """Yield a prediction with the negative log probability, in nats, of the first reference of
        each example. A passage of a text ("text#1") is scored after the passages before it
        ("text#0").

        Args:
            examples: texts, passages of texts, or sources.
            answers: answers to score, each after the source of its example, instead of the
                references; see `contracts.Scorer`.
        """
        if answers is None:
            yield from self.scored(examples, self.token_nats)
        else:
            yield from self.scored_answers(examples, answers, self.token_nats)

    def rows(self, examples: Sequence[Example]) -> list[list[int]]:
        """Return the row of ids of each text that the examples, as its passages, form."""
        return [
            self._row(ids)
            for ids in self.tokenizer.encode_batch([text for _, text in texts(examples)])
        ]

    def _row(self, ids: Sequence[int]) -> list[int]:
        return [self.tokenizer.eos_id, *ids, self.tokenizer.eos_id]

    def prompts(self, examples: Sequence[Example]) -> list[list[int]]:
        """Return the ids of what is read before an answer to each example: its source behind
        `</s>`, or its question, if there is one, in the chat template of the prompt.
        """
        is_chat = bool(self.prompt.chat_template)
        inputs = [(is_chat and e.question) or e.source for e in examples]
        start = self.prompt.start(self.tokenizer.eos_id)
        return [[*start, *ids] for ids in self.prompt.ids(self.tokenizer, inputs)]

    def scored(self, examples: Sequence[Example], token_nats: TokenNats) -> Iterator[Prediction]:
        """Yield the predictions of `log_prob` for the references of examples.

        Args:
            examples: texts or passages of texts.
            token_nats: function to use in place of this model's `token_nats`, for ids of this
                tokenizer.
        """
        began = perf_counter()
        whole = texts(examples)
        encoded = [self.tokenizer.encode_with_offsets(text) for _, text in whole]
        rows = [self._row(ids) for ids, _ in encoded]
        nats = token_nats(rows, None)
        seconds = (perf_counter() - began) / max(1, len(examples))
        for (passages, text), (_, offsets), row, values in zip(
            whole, encoded, rows, nats, strict=True
        ):
            scored = Scored(text, offsets, row[1:], values, self.contexts(row))
            yield from self._predictions(passages, scored, seconds * len(passages))

    def scored_answers(
        self, examples: Sequence[Example], answers: Answers, token_nats: TokenNats
    ) -> Iterator[Prediction]:
        """Yield the predictions of `log_prob` for given answers.

        Args:
            examples: sources of the answers.
            answers: answers to score.
            token_nats: function to use in place of this model's `token_nats`, for ids of this
                tokenizer.
        """
        began = perf_counter()
        pairs = pair_answers(examples, answers)
        if not pairs:
            return
        prompts = self.prompts([example for example, _ in pairs])
        encoded = [self.tokenizer.encode_with_offsets(answer) for _, answer in pairs]
        end = self.tokenizer.eos_id
        rows = [[*given, *ids, end] for given, (ids, _) in zip(prompts, encoded, strict=True)]
        n_given = [len(given) for given in prompts]
        nats = token_nats(rows, n_given)
        seconds = (perf_counter() - began) / max(1, len(pairs))
        for (example, answer), (_, offsets), row, n, values in zip(
            pairs, encoded, rows, n_given, nats, strict=True
        ):
            contexts = self.contexts(row)[n - 1 :]
            scored = Scored(answer, offsets, row[n:], values[n - 1 :], contexts)
            passage = Example(example.id, "", (answer,), example.language)
            for prediction in self._predictions([passage], scored, seconds):
                yield replace(prediction, output=answer)

    def _predictions(
        self, passages: Sequence[Example], scored: "Scored", seconds: float
    ) -> Iterator[Prediction]:
        """Yield the predictions for the passages of a scored text.

        Args:
            seconds: time that scoring the text took.
        """
        text = scored.text
        starts = np.array([*(start for start, _ in scored.offsets), len(text)])
        unknown = np.equal(
            scored.ids, -1 if self.tokenizer.unk_id is None else self.tokenizer.unk_id
        )
        spans = [scored.offsets[i] for i in np.flatnonzero(unknown).tolist()]
        spelling = None
        if self.spelling is not None:
            spelling = np.zeros(len(unknown))
            spelling[unknown] = self.spelling.nats([text[start:end] for start, end in spans])
        changed = not self._represents(text, scored.ids, spans)
        yield from passages_of(
            passages, starts, scored.nats, scored.contexts, unknown, changed, spelling, seconds
        )

    def _represents(
        self, text: str, ids: Sequence[int], unknown: Sequence[tuple[int, int]]
    ) -> bool:
        """Return whether the ids decode to the whole text, up to a space at its start. If not,
        their probability is that of a shorter text.

        Args:
            unknown: character spans that `<unk>` stands for.
        """
        if self.tokenizer.lossless:
            return True
        ends = [0, *(end for _, end in unknown)]
        known = [
            text[end:start]
            for end, (start, _) in zip(ends, [*unknown, (len(text), 0)], strict=True)
        ]
        return self.tokenizer.decode(ids) in (
            (shown := UNKNOWN.join(known)),
            shown.removeprefix(" "),
        )

    def answer(self, examples: Sequence[Example]) -> list[Prediction]:
        return list(self.log_prob(examples))
