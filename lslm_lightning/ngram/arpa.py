"""Reader and writer of n-gram models in the ARPA format, as KenLM and SRILM have it."""

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np

from lslm_lightning.ngram.estimation import CountTable
from lslm_lightning.ngram.model import NgramModel

UNKNOWN = "<unk>"
BEGIN = "<s>"
END = "</s>"
# as KenLM divides them: other white space (U+00A0, U+3000) belongs to a word
WORD = re.compile(r"\S+", re.ASCII)
LOG10_ZERO = -99.0  # log10 of the probability of the beginning of a sentence, by convention


def write_arpa(model: NgramModel, words: Sequence[str], path: Path) -> None:
    """Write a model as an ARPA file, with logarithms to the base 10.

    Args:
        words: text of each word number; `<s>` and `</s>` under these names, and without white
            space.

    Raises:
        ValueError: a word has white space in it.
    """
    if invalid := next((word for word in words if not word or re.search(r"\s", word)), None):
        raise ValueError(
            f"{invalid!r} cannot stand in an ARPA file, in which white space divides words"
        )
    with path.open("w", encoding="utf-8") as file:
        file.write(
            "\\data\\\n"
            + "".join(f"ngram {n}={len(table.keys)}\n" for n, table in enumerate(model.tables, 1))
        )
        for n, table in enumerate(model.tables, 1):
            file.write(f"\n\\{n}-grams:\n")
            prob, backoff = (
                values.astype(np.float64) / math.log(10)
                for values in (table.log_prob, table.log_backoff)
            )
            for ids, p, b in zip(
                model.words(n).tolist(), prob.tolist(), backoff.tolist(), strict=True
            ):
                line = f"{max(p, LOG10_ZERO):.7g}\t{' '.join([words[i] for i in ids])}"
                file.write(f"{line}\t{b:.7g}\n" if n < model.order else f"{line}\n")
        file.write("\n\\end\\\n")


def visible(token: str) -> str:
    """Return a token as a word without white space: a space is U+2581, a line end <newline>, any
    other white space its code point.
    """
    shown = token.replace(" ", "\u2581").replace("\n", "<newline>")
    return re.sub(r"\s", lambda match: f"<U+{ord(match[0]):04X}>", shown)


class ArpaModel(NamedTuple):
    """Model in an ARPA file, and the text of each word number."""

    model: NgramModel
    words: list[str]


def read_arpa(path: Path) -> ArpaModel:
    """Return the model of an ARPA file, and its words in the order of the file.

    Raises:
        ValueError: with the number of the line that is wrong.
    """
    with path.open(encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        return ArpaReader(path, file).read()


class ArpaReader:
    """Reader of the lines of one ARPA file.

    Args:
        path: of the file, for messages.
        lines: of the file.
    """

    def __init__(self, path: Path, lines: Iterator[str]) -> None:
        self.path = path
        self.lines = lines
        self.number = 0
        self.line = ""

    def refuse(self, problem: str) -> NoReturn:
        """Raise ValueError with the file and the number of the line."""
        raise ValueError(f"{self.path}, line {self.number}: {problem}")

    def next(self) -> str:
        """Read and return the next line that is not blank."""
        for line in self.lines:
            self.number += 1
            self.line = line.rstrip("\r\n")
            if self.line.strip():
                return self.line
        self.refuse("the file ends before \\end\\")

    def read(self) -> ArpaModel:
        """Read and return the whole model."""
        while self.next() != "\\data\\":
            pass
        counts: list[int] = []
        while match := re.fullmatch(r"ngram (\d+) *= *(\d+)", self.next()):
            if int(match[1]) != len(counts) + 1:
                self.refuse(f"order {match[1]} comes after order {len(counts)}")
            if int(match[2]) > (size := self.path.stat().st_size):
                self.refuse(f"a file of {size:,} bytes cannot have {match[2]} n-grams")
            counts.append(int(match[2]))
        if not counts:
            self.refuse(
                "there should be the numbers of n-grams, as in 'ngram 1=1000', and not "
                f"{self.line!r}"
            )
        number: dict[str, int] = {}
        tables: list[CountTable] = []
        for n, n_gram in enumerate(counts, 1):
            if self.line != f"\\{n}-grams:":
                self.refuse(f"there should be \\{n}-grams:, and not {self.line!r}")
            tables.append(self.section(n, n_gram, len(counts), number, tables))
        if self.line != "\\end\\":
            self.refuse(f"there should be \\end\\, and not {self.line!r}")
        if BEGIN not in number or END not in number:
            self.refuse(f"its words lack {BEGIN} or {END}")
        return ArpaModel(NgramModel(tables, len(number), number[BEGIN]), list(number))

    def section(
        self, n: int, n_gram: int, order: int, number: dict[str, int], tables: list[CountTable]
    ) -> CountTable:
        """Read and return the `n_gram` n-grams of order `n`; those of order 1 fill `number`, word
        -> number.
        """
        ids = np.zeros((n_gram, n), np.int64)
        values = np.zeros((n_gram, 2))
        at = np.zeros(n_gram, np.int64)
        for i in range(n_gram):
            parts = WORD.findall(self.next())
            if len(parts) not in ((n + 1, n + 2) if n < order else (n + 1,)):
                self.refuse(
                    f"there should be a number, {n} "
                    f"words{' and perhaps a number' if n < order else ''}, and not {self.line!r}"
                )
            if n == 1 and number.setdefault(parts[1], i) != i:
                self.refuse(f"the word {parts[1]!r} stands there twice")
            try:
                ids[i] = [number[word] for word in parts[1 : n + 1]]
                values[i] = float(parts[0]), float(parts[n + 1]) if len(parts) > n + 1 else 0.0
            except KeyError as error:
                self.refuse(f"the word {error} is not among the 1-grams")
            except ValueError:
                self.refuse(f"{self.line!r} has no number where one should be")
            if not values[i, 0] <= 0:  # nor nan
                self.refuse(f"{parts[0]} is no logarithm of a probability")
            if not math.isfinite(values[i, 1]):
                self.refuse(f"{parts[n + 1]} is no logarithm of a back-off")
            at[i] = self.number
        self.next()
        keys = self.keys(ids, at, len(number), tables)
        ranks = np.argsort(keys, kind="stable")
        if n > 1 and (twice := np.flatnonzero(np.diff(keys[ranks]) == 0)).size:
            self.number = int(at[ranks[twice[0] + 1]])
            self.refuse("the n-gram stands there twice")
        with np.errstate(divide="ignore"):
            prob = np.where(values[:, 0] <= LOG10_ZERO, -np.inf, values[:, 0] * math.log(10))[ranks]
        return CountTable(
            keys[ranks],
            prob.astype(np.float32),
            (values[:, 1] * math.log(10))[ranks].astype(np.float32),
        )

    def keys(
        self, ids: np.ndarray, at: np.ndarray, vocab_size: int, tables: list[CountTable]
    ) -> np.ndarray:
        """Return the keys of n-grams (see `CountTable`), found by the tables of the orders below.

        Args:
            ids: (n, order) words.
            at: (n,) number of the line of each, for messages.
        """
        index = ids[:, -1]
        for n in range(2, ids.shape[1] + 1):
            wanted = index * vocab_size + ids[:, -n]
            if n == ids.shape[1]:
                return wanted
            known = tables[n - 1].keys
            index = np.searchsorted(known, wanted)
            missing = (
                np.flatnonzero(known[np.minimum(index, max(len(known) - 1, 0))] != wanted)
                if len(known)
                else np.arange(len(wanted))
            )
            if len(missing):
                self.number = int(at[missing[0]])
                self.refuse(f"its last {n} words are not among the {n}-grams")
        return index
