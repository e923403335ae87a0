"""N-gram models of words, as KenLM, SRILM and this project write them."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from time import perf_counter

import numpy as np

from lslm_lightning.contracts import (
    Answers,
    Example,
    Mode,
    Prediction,
    Scorer,
    pair_answers,
    passages_of,
)
from lslm_lightning.ngram.arpa import BEGIN, END, UNKNOWN, WORD, read_arpa
from lslm_lightning.ngram.arpa import ArpaModel as ArpaFile
from lslm_lightning.ngram.spelling import ORDER, Spelling


class Arpa(Scorer):
    """The model in an ARPA file. Words stand between white space, and every line that has any is a
    sentence.

    Args:
        path: of the file.
    """

    # passages of a text must come together
    needs_all_examples = True
    shardable = False

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.name = self.path.stem

    def prepare(self, examples: Sequence[Example]) -> None:
        """Raises FileNotFoundError where there is no such file, ValueError where it is broken or
        would find a new word impossible.
        """
        if not self.path.is_file():
            raise FileNotFoundError(f"n-gram model {self.path}: there is no such file")
        if UNKNOWN not in self._number:
            raise ValueError(
                f"{self.path} has no {UNKNOWN}: a word that it does not know would be impossible"
            )

    def fingerprint(self) -> str | None:
        """Of the file; None where it is no longer here."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest() if self.path.is_file() else None

    @cached_property
    def _read(self) -> ArpaFile:
        return read_arpa(self.path)

    @cached_property
    def _number(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self._read.words)}

    @cached_property
    def _spelling(self) -> Spelling:
        """How words are spelled that the file does not have."""
        return Spelling([word for word in self._read.words if word not in (BEGIN, END, UNKNOWN)])

    def signature(self, mode: Mode) -> str:
        """What a token is, and what an unknown one costs besides."""
        words = "\n".join(self._read.words).encode("utf-8", "surrogateescape")
        return f"|spelling:bytes-{ORDER}|tokens:words-{hashlib.sha256(words).hexdigest()[:8]}"

    def log_prob(
        self, examples: Sequence[Example], answers: Answers | None = None
    ) -> Iterator[Prediction]:
        """Nats of the first reference of each example; passages of one text ("text#0", "text#1",
        ...) are read as one. With `answers`, those of each answer after its source, with a space
        between them where neither has one; see `contracts.Scorer`.
        """
        if answers is not None:
            for example, answer in pair_answers(examples, answers):
                yield self._score_answer(example, answer)
            return
        for _, group in groupby(examples, key=lambda example: example.id.partition("#")[0]):
            began = perf_counter()
            text = list(group)
            scored = self._score("".join(example.references[0] for example in text))
            yield from passages_of(text, *scored, seconds=perf_counter() - began)

    def _score_answer(self, example: Example, answer: str) -> Prediction:
        """The words that stand in the answer, and the ends of its lines."""
        began = perf_counter()
        source = example.source
        apart = not source or not answer or source[-1].isspace() or answer[0].isspace()
        before = source if apart else source + " "
        starts, nats, contexts, unknown, changed, spelling = self._score(before + answer)
        own = starts >= len(before)
        [found] = passages_of(
            [Example(example.id, "", (answer,))],
            starts[own] - len(before),
            nats[own],
            contexts[own],
            unknown[own],
            changed,
            spelling[own],
            perf_counter() - began,
        )
        return replace(found, output=answer)

    def _score(
        self, text: str
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, bool, np.ndarray]:
        """Of each word and each end of a sentence: where it begins, its nats, the words before it
        that were seen, whether it is unknown.

        And whether the text is not what its words, a space between them and a line a sentence,
        spell; and the nats of each one's spelling.
        """
        model = self._read.model
        bos, eos, unk = (self._number[word] for word in (BEGIN, END, UNKNOWN))
        ids = []
        starts = []
        contexts = []
        lines = []
        new = []
        for line in re.finditer(r"[^\n]+", text):
            words = list(WORD.finditer(line[0]))
            if words:
                ids += [bos, *(self._number.get(word[0], unk) for word in words), eos]
                starts += [-1, *(line.start() + word.start() for word in words), line.end()]
                contexts += range(len(words) + 2)
                lines.append(" ".join(word[0] for word in words))
                new += [word[0] for word in words if self._number.get(word[0], unk) == unk]
        row = np.array(ids, np.int64)
        counts = np.array(starts, np.int64) >= 0
        nats = -model.log_probs(row) if len(row) else np.zeros(0)
        seen = np.minimum(np.array(contexts, np.int64), model.order - 1)
        changed = "\n".join(lines) != text.removesuffix("\n")
        unknown = (row == unk)[counts]
        spelling = np.zeros(int(counts.sum()))
        spelling[unknown] = self._spelling.nats(new) if new else 0.0
        return (
            np.array(starts, np.int64)[counts],
            nats[counts],
            seen[counts],
            unknown,
            changed,
            spelling,
        )
