"""Word n-gram models in ARPA files, as written by KenLM, SRILM and this project."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from time import perf_counter

import numpy as np

from lslm_lightning.contracts import (
    Answers,
    Example,
    Mode,
    Prediction,
    Scorer,
    by_text,
    pair_answers,
    passages_of,
)
from lslm_lightning.ngram.arpa import BEGIN, END, UNKNOWN, WORD, read_arpa
from lslm_lightning.ngram.arpa import ArpaModel as ArpaFile
from lslm_lightning.ngram.spelling import ORDER, Spelling


class Arpa(Scorer):
    """N-gram model in an ARPA file. Words are separated by white space, and every line that is not
    blank is a sentence.

    Args:
        path: ARPA file.
    """

    # the passages of a text are scored together
    needs_all_examples = True
    shardable = False

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.name = self.path.stem

    def prepare(self, examples: Sequence[Example]) -> None:
        """Check that the file exists and can be used.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is damaged, or has no `<unk>`, so that unknown words would have
                probability 0.
        """
        if not self.path.is_file():
            raise FileNotFoundError(f"n-gram model {self.path}: there is no such file")
        if UNKNOWN not in self._number:
            raise ValueError(
                f"{self.path} has no {UNKNOWN}, so that a word it does not know would be impossible"
            )

    def fingerprint(self) -> str | None:
        """Return the SHA-256 of the file; None if the file no longer exists."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest() if self.path.is_file() else None

    @cached_property
    def _read(self) -> ArpaFile:
        return read_arpa(self.path)

    @cached_property
    def _number(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self._read.words)}

    @cached_property
    def _spelling(self) -> Spelling:
        """Model of the spelling of words that are not in the vocabulary of the file."""
        return Spelling([word for word in self._read.words if word not in (BEGIN, END, UNKNOWN)])

    def signature(self, mode: Mode) -> str:
        """Return the parts of a score's signature that name the vocabulary and the spelling model
        of unknown words.

        `mode` has no effect.
        """
        words = "\n".join(self._read.words).encode("utf-8", "surrogateescape")
        return f"|spelling:bytes-{ORDER}|tokens:words-{hashlib.sha256(words).hexdigest()[:8]}"

    def log_prob(
        self, examples: Sequence[Example], answers: Answers | None = None
    ) -> Iterator[Prediction]:
        """Yield predictions with the negative log probability, in nats, of the first reference of
        each example.

        Passages of one text ("text#0", "text#1", ...) are read as one text. With `answers`, each
        answer is scored after its source instead; a space is inserted between source and answer if
        neither has one. See `contracts.Scorer`.
        """
        if answers is not None:
            for example, answer in pair_answers(examples, answers):
                yield self._score_answer(example, answer)
            return
        for text in by_text(examples):
            began = perf_counter()
            scored = self._score("".join(example.references[0] for example in text))
            yield from passages_of(text, *scored, seconds=perf_counter() - began)

    def _score_answer(self, example: Example, answer: str) -> Prediction:
        """Return the prediction for one answer after the source of the example.

        Its `nats` include the words of the answer and the ends of its lines.
        """
        began = perf_counter()
        source = example.source
        is_apart = not source or not answer or source[-1].isspace() or answer[0].isspace()
        before = source if is_apart else source + " "
        starts, nats, contexts, unknown, changed, spelling = self._score(before + answer)
        mask = starts >= len(before)
        [found] = passages_of(
            [Example(example.id, "", (answer,))],
            starts[mask] - len(before),
            nats[mask],
            contexts[mask],
            unknown[mask],
            changed,
            spelling[mask],
            perf_counter() - began,
        )
        return replace(found, output=answer)

    def _score(
        self, text: str
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, bool, np.ndarray]:
        """Score a text, one element for each word and each end of a sentence.

        Returns:
            Character offsets (n,); nats (n,); number of preceding words that the model used (n,);
            mask of
            unknown words (n,); whether the text differs from its words joined by single spaces, one
            sentence per line; nats of the spelling of each unknown word (n,), 0 for other elements.
        """
        model = self._read.model
        bos, eos, unk = (self._number[word] for word in (BEGIN, END, UNKNOWN))
        ids: list[int] = []
        starts: list[int] = []
        contexts: list[int] = []
        lines: list[str] = []
        unknown_words: list[str] = []
        for line in re.finditer(r"[^\n]+", text):
            words = list(WORD.finditer(line[0]))
            if words:
                ids += [bos, *(self._number.get(word[0], unk) for word in words), eos]
                starts += [-1, *(line.start() + word.start() for word in words), line.end()]
                contexts += range(len(words) + 2)
                lines.append(" ".join(word[0] for word in words))
                unknown_words += [
                    word[0] for word in words if self._number.get(word[0], unk) == unk
                ]
        row = np.array(ids, np.int64)
        counts = np.array(starts, np.int64) >= 0
        nats = -model.log_probs(row) if len(row) else np.zeros(0)
        seen = np.minimum(np.array(contexts, np.int64), model.order - 1)
        changed = "\n".join(lines) != text.removesuffix("\n")
        unknown = (row == unk)[counts]
        spelling = np.zeros(int(counts.sum()))
        spelling[unknown] = self._spelling.nats(unknown_words) if unknown_words else 0.0
        return (
            np.array(starts, np.int64)[counts],
            nats[counts],
            seen[counts],
            unknown,
            changed,
            spelling,
        )
