"""Reader and writer of n-gram models in the ARPA format of KenLM and SRILM."""

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
    """Write a model as an ARPA file, with logarithms to base 10.

    Args:
        words: text of each word id, without white space; `<s>` and `</s>` must have these names.

    Raises:
        ValueError: a word is empty or contains white space.
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
    """Return a token without white space, for use as a word in an ARPA file.

    A space becomes U+2581, a line end <newline>, and any other white space its code point, as in
    <U+00A0>.
    """
    shown = token.replace(" ", "\u2581").replace("\n", "<newline>")
    return re.sub(r"\s", lambda match: f"<U+{ord(match[0]):04X}>", shown)


class ArpaModel(NamedTuple):
    """Model read from an ARPA file, and the text of each word id."""

    model: NgramModel
    words: list[str]


def read_arpa(path: Path) -> ArpaModel:
    """Return the model and the words of an ARPA file; word ids follow the order of the file.

    Raises:
        ValueError: a line is invalid; the message states its number.
    """
    with path.open(encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        return ArpaReader(path, file).read()


class ArpaReader:
    """Reader of the lines of one ARPA file.

    Args:
        path: path of the file, for messages.
        lines: lines of the file.
    """

    def __init__(self, path: Path, lines: Iterator[str]) -> None:
        self.path = path
        self.lines = lines
        self.number = 0
        self.line = ""

    def refuse(self, problem: str) -> NoReturn:
        """Raise ValueError with the file, the number of the current line and `problem`."""
        raise ValueError(f"{self.path}, line {self.number}: {problem}")

    def next(self) -> str:
        """Return the next line that is not blank; raise ValueError at the end of the file."""
        for line in self.lines:
            self.number += 1
            self.line = line.rstrip("\r\n")
            if self.line.strip():
                return self.line
        self.refuse("the file ends before \\end\\")

    def read(self) -> ArpaModel:
        """Read the whole file, and return its model and words."""
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
        """Read the section of the n-grams of order `n`, and return its table.

        Args:
            n_gram: number of n-grams in the section.
            order: highest order of the model.
            number: word -> id; the section of order 1 fills it.
            tables: tables of the lower orders.
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
        """Return the keys of n-grams, as defined by `CountTable`, from the tables of the lower
        orders.

        Args:
            ids: (n, order) word ids.
            at: (n,) line number of each n-gram, for messages.
            tables: tables of the lower orders.
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
