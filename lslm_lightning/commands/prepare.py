"""Arguments of `lslm data prepare`, which tokenizes texts of any size into files of token ids."""

import argparse
from pathlib import Path

DESCRIPTION = """Tokenize texts of any size to files of token ids, on all cores and in bounded
memory; a training maps the files into memory.

  lslm data prepare "texts/*.jsonl.gz" --output prepared/texts
  lslm data prepare s3://bucket/wiki/ --column content --vocab-size 32000 --output prepared/wiki
  lslm data prepare wikimedia/wikipedia:20231101.zh --tokenizer tokenizer.json --output prepared/zh
  lslm data prepare "mails/*.jsonl" --redact-personal-data email,phone --output prepared/mails

Files are .jsonl, .json, .parquet, .csv, .tsv, .arrow or .txt (one text per line), compressed (.gz,
.zst, .xz, .bz2) or not, and are read like a corpus. A call that was stopped continues where it
stopped. Then: lslm run --config ... --data.prepared prepared/texts (the corpus of the config still
provides the validation and test splits)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to a parser."""
    parser.description = DESCRIPTION
    source = (
        "a file, a folder, a pattern in quotes, an address (s3://, gs://, https://) or a hub id "
        '"owner/name"'
    )
    parser.add_argument("source", metavar="SOURCE", help=source)
    of = parser.add_argument_group("Input")
    of.add_argument("--column", default="text", metavar="NAME", help="column of the text")
    of.add_argument("--split", default="train", metavar="NAME", help="split of a hub data set")
    empty = "blank texts: refuse (the default), drop or keep"
    of.add_argument("--empty", choices=("refuse", "drop", "keep"), default="refuse", help=empty)
    of = parser.add_argument_group("Tokenizer")
    which = of.add_mutually_exclusive_group()
    file = "a tokenizer.json (default: one is trained on the first texts)"
    which.add_argument("--tokenizer", metavar="FILE", help=file)
    size = "entries of the tokenizer that is trained"
    which.add_argument("--vocab-size", type=int, default=32_000, metavar="N", help=size)
    first = "first texts, on which it is trained"
    of.add_argument("--tokenizer-texts", type=int, default=100_000, metavar="N", help=first)
    of = parser.add_argument_group("Output")
    output = "folder for the token ids"
    of.add_argument("--output", type=Path, required=True, metavar="FOLDER", help=output)
    of = parser.add_argument_group("Personal data")
    kinds = (
        "replace personal data by placeholders such as [EMAIL]: all kinds, or some, separated by "
        "commas, of email, identity_number, iban, payment_card, ip_address, phone, name"
    )
    of.add_argument("--redact-personal-data", nargs="?", const="all", metavar="KINDS", help=kinds)
    names = "a file of names of people, one a line, which are personal data too"
    of.add_argument("--names", type=Path, metavar="FILE", help=names)
    of = parser.add_argument_group("Processes")
    workers = "number of processes (default: one a core)"
    of.add_argument("--workers", type=int, metavar="N", help=workers)
    shard = "megabytes of text in one file of ids, and in the memory of each process"
    of.add_argument("--shard-mb", type=float, default=32.0, metavar="MB", help=shard)
