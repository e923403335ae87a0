"""Implementation of `lslm data prepare`: tokenize texts of any size into files of token ids."""

import argparse
import os
from collections import Counter
from importlib import import_module
from typing import TYPE_CHECKING

from rich.console import Console

from lslm_lightning.safety.magnitudes import check_magnitudes
from lslm_lightning.training.cores import available_cores
from lslm_lightning.training.display import Display
from lslm_lightning.training.status_line import Part
from lslm_lightning.training.work import Work

if TYPE_CHECKING:
    from lslm_lightning.data.stream import Stream
    from lslm_lightning.text.personal_data import PersonalDataFinder
    from lslm_lightning.text.tokenizer import Tokenizer


def prepare_texts(console: Console, own: argparse.Namespace) -> int:
    """Train or load a tokenizer, write the token ids of all texts, and return the exit status.

    Args:
        own: parsed arguments of the command.
    """
    if own.workers is None:
        own.workers = available_cores()
    numbers = ("workers", "vocab_size", "tokenizer_texts", "shard_mb")
    check_magnitudes({name: getattr(own, name) for name in numbers})
    for name in ("workers", "tokenizer_texts", "shard_mb"):
        if getattr(own, name) <= 0:
            raise ValueError(f"--{name.replace('_', '-')}={getattr(own, name)} must be more than 0")
    from lslm_lightning.data.prepare import Progress, prepare
    from lslm_lightning.data.redaction import chosen_finder
    from lslm_lightning.data.stream import Stream

    redacts = chosen_finder(
        own.redact_personal_data, own.names, "--redact-personal-data", "--names"
    )
    stream = Stream(own.source, own.column, own.split, empty=own.empty)
    vars(stream)["finder"] = redacts  # names may come through a pipe, which is read once
    if not stream.files:
        import_without_torch()
    console.print(f"{own.source}: {stream.n_shard} files or parts", soft_wrap=True)
    tokenizer = chosen_tokenizer(console, own, stream)
    is_known = stream.files and not any(is_packed(path) for path, _ in stream.files)
    total = sum(size for _, size in stream.files) / 1e6 if is_known else None
    display = Display()
    latest: Progress | None = None
    work = PreparationWork("prepared", total, "MB")

    def tell(progress: Progress) -> None:
        nonlocal latest
        if latest is None:  # what was there before says nothing of the speed
            work.start = (progress.n_byte - progress.n_byte_new) / 1e6
        latest = progress
        work.n_token = progress.n_token
        work.speed = progress.megabytes_per_second
        work.update(progress.n_byte / 1e6)
        display.tell(work)

    with display.showing(work):
        prepared = prepare(
            stream, tokenizer, own.output, own.workers, int(own.shard_mb * 1e6), tell
        )
    shards = prepared.index["shards"]
    n_token, n_document = (
        sum(shard[name] for shard in shards) for name in ("n_token", "n_document")
    )
    speed = f", {latest.megabytes_per_second:.1f} MB/s" if latest else ""
    console.print(
        f"{own.output}: {n_token:,} tokens of {n_document:,} texts in {len(shards)} files{speed}",
        soft_wrap=True,
    )
    if redacts is not None:
        console.print(redaction_message(redacts, prepared.redactions), soft_wrap=True)
    return 0


def redaction_message(redacts: "PersonalDataFinder", counts: Counter[str]) -> str:
    """Return the line that says how many personal data of each kind were replaced."""
    return f"personal data replaced: {', '.join(f'{k} {counts[k]:,}' for k in redacts.kinds)}"


def chosen_tokenizer(console: Console, own: argparse.Namespace, stream: "Stream") -> "Tokenizer":
    """Return the tokenizer to prepare the texts with.

    It is the tokenizer in the output folder if an earlier preparation is continued, or a given
    file, or a tokenizer trained on the first texts.

    Args:
        own: parsed arguments of the command.
        stream: texts to prepare.
    """
    from lslm_lightning.data.prepared import JOURNAL, TOKENIZER
    from lslm_lightning.text.recipes import BytePair, TokenizerFile
    from lslm_lightning.text.tokenizer_files import load_tokenizer

    if (own.output / JOURNAL).exists() and own.tokenizer is None:
        tokenizer = load_tokenizer(own.output / TOKENIZER)
        console.print(
            f"going on with the tokenizer in {own.output}: {tokenizer.vocab_size:,} entries",
            soft_wrap=True,
        )
        return tokenizer
    if own.tokenizer is not None:
        return TokenizerFile(own.tokenizer).train()
    console.print(
        f"training a tokenizer of {own.vocab_size:,} entries on the first "
        f"{own.tokenizer_texts:,} texts"
    )
    return BytePair(own.vocab_size).train(stream.head(own.tokenizer_texts))


class PreparationWork(Work):
    """Progress of a preparation, measured in megabytes of text."""

    # tokens so far, and megabytes per second
    n_token = 0
    speed = 0.0

    def parts(self) -> list[Part]:
        """Return the parts of the progress line: megabytes, elapsed and remaining time, tokens,
        speed.
        """
        more = [
            Part((f"{self.n_token:,} tokens", ""), (8,)),
            Part((f"{self.speed:.1f} MB/s", ""), (7,)),
        ]
        return [self.head(), *self.times(), *(more if self.n_token else [])]


def import_without_torch() -> None:
    """Import `datasets` without importing PyTorch, which would take seconds and 200 MB of
    memory.
    """
    before = os.environ.get("USE_TORCH")
    os.environ["USE_TORCH"] = "0"
    try:
        import_module("datasets")
    finally:
        os.environ.pop("USE_TORCH")
        os.environ.update({} if before is None else {"USE_TORCH": before})


def is_packed(address: str) -> bool:
    """Return whether a file is compressed or binary, so that its size is not the size of its text.

    Args:
        address: path or URL of the file.
    """
    return address.rpartition(".")[2] in ("gz", "zst", "xz", "bz2", "parquet", "arrow")
