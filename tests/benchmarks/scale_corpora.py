"""Works of `scale` on corpora: reading, tokenizing, preparing, checking."""

import json
import os
import sys
from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np

from tests.benchmarks.growth import Build, Work, main

SOURCE = "tinyshakespeare/input.txt"
N_SENTENCE = 12  # of a document


@cache
def sentences() -> np.ndarray:
    """Lines of a real text."""
    text = Path(os.environ["LSLM_DATA"], SOURCE).read_text("utf-8")
    return np.array([line for line in text.splitlines() if len(line) > 20], object)


def documents() -> Iterator[str]:
    """Yield documents without end: lines of the real text in another order, and a word that no
    other document has.
    """
    chance = np.random.default_rng(0)
    lines = sentences()
    number = 0
    while True:
        for chosen in lines[chance.integers(len(lines), size=(1000, N_SENTENCE))]:
            number += 1
            yield f"No{number}. {' '.join(chosen)}"


def write_texts(path: Path, n_byte: int) -> None:
    """Write documents of so many bytes together as JSON lines."""
    with path.open("w", encoding="utf-8") as file:
        for text in documents():
            n_byte -= file.write(json.dumps({"text": text}) + "\n")
            if n_byte <= 0:
                return


def reading(size: int, folder: Path) -> Work:
    """Every document of a stream, one after the other; `size` in MB."""
    from lslm_lightning.data.stream import Stream

    write_texts(folder / "texts.jsonl", size * 1_000_000)
    stream = Stream(str(folder / "texts.jsonl"))

    def work() -> None:
        for number in range(stream.n_shard):
            for _ in stream.documents(number):
                pass

    return work


def command(*words: str) -> Work:
    """`lslm data WORDS` in this process."""
    from lslm_lightning.commands.data import main as data

    def work() -> None:
        if status := data(["data", *words]):
            raise RuntimeError(f"lslm data {' '.join(words)} ended with status {status}")

    return work


def preparing(size: int, folder: Path) -> Work:
    """`lslm data prepare` with the tokenizer of a sample, in one process; `size` in MB."""
    from lslm_lightning.text.recipes import BytePair

    write_texts(folder / "texts.jsonl", size * 1_000_000)
    BytePair(vocab_size=4000).train(islice(documents(), 1000)).save(folder / "tokenizer.json")
    return command(
        "prepare",
        str(folder / "texts.jsonl"),
        f"--output={folder / 'prepared'}",
        f"--tokenizer={folder / 'tokenizer.json'}",
        "--workers=1",
    )


def language_modeling(size: int, folder: Path) -> Work:
    """Set up the data of a language model: read, train a tokenizer, encode; `size` in MB."""
    from lslm_lightning.text.recipes import BytePair
    from tasks.language_modeling.data import LanguageModelingData

    corpus = folder / "corpus"
    corpus.mkdir()
    os.environ["LSLM_CACHE"] = str(folder / "cache")
    for split, n_byte in (("train", size * 1_000_000), ("val", 10_000), ("test", 10_000)):
        write_texts(corpus / f"{split}.jsonl", n_byte)
    data = LanguageModelingData(str(corpus), BytePair(vocab_size=4000))
    return lambda: len(data.packed("train").ids)


def pairs(size: int, folder: Path) -> Work:
    """Set up the data of a translation: read, train a tokenizer, encode, plan batches; `size` in
    lines of a table.
    """
    from lslm_lightning.text.recipes import BytePair
    from tasks.translation.data import TranslationData

    os.environ["LSLM_CACHE"] = str(folder / "cache")
    write_table(folder / "train.tsv", size)
    settings = {"source_language": "en", "target_language": "de"}
    data = TranslationData(str(folder), BytePair(vocab_size=4000), **settings)

    def work() -> None:
        rows = data.encoded("train")
        for batch in islice(data.plan(rows)(0), 10):
            rows[batch]

    return work


def write_table(path: Path, n_row: int) -> None:
    """Write pairs of lines of the real text, with tabs between."""
    chance = np.random.default_rng(0)
    lines = sentences()
    with path.open("w", encoding="utf-8") as file:
        file.write("en\tde\n")
        for number, (first, second) in enumerate(chance.integers(len(lines), size=(n_row, 2))):
            file.write(f"{lines[first]} {number}\t{lines[second]} {number}\n")


def table(size: int, folder: Path) -> Work:
    """`lslm data check` of a table; `size` in lines."""
    os.environ["LSLM_CACHE"] = str(folder / "cache")
    write_table(folder / "pairs.tsv", size)
    return command("check", str(folder / "pairs.tsv"))


def files(size: int, folder: Path) -> Work:
    """`lslm data check` of a folder of texts; `size` in files."""
    os.environ["LSLM_CACHE"] = str(folder / "cache")
    texts = folder / "texts"
    texts.mkdir()
    for number, text in enumerate(islice(documents(), size)):
        (texts / f"{number}.txt").write_text(text, "utf-8")
    return command("check", str(texts))


BUILDS: dict[str, Build] = {
    "reading": reading,
    "prepare": preparing,
    "tokenizing": language_modeling,
    "pairs": pairs,
    "table": table,
    "files": files,
}

if __name__ == "__main__":
    main(BUILDS, sys.argv[1:])
