"""Arguments of `lslm data prepare`, which tokenizes texts of any size into files of token ids."""

import argparse
from pathlib import Path

from lslm_lightning.training.cores import available_cores

DESCRIPTION = """Tokenize texts of any size to files of token ids, on all cores and in bounded
memory; a training maps the files into memory.

  lslm data prepare "texts/*.jsonl.gz" --output prepared/texts
  lslm data prepare s3://bucket/wiki/ --column content --vocab-size 32000 --output prepared/wiki
  lslm data prepare wikimedia/wikipedia:20231101.zh --tokenizer tokenizer.json --output prepared/zh

Files are .jsonl, .json, .parquet, .csv, .tsv, .arrow or .txt (one text per line), compressed (.gz,
.zst, .xz, .bz2) or not, and are read like a corpus. A call that was stopped continues where it
stopped. Then: lslm run --config ... --data.prepared prepared/texts (the corpus of the config still
provides the validation and test splits)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to a parser."""
    parser.description = DESCRIPTION
    parser.add_argument(
        "source",
        help=(
            "a file, a folder, a pattern in quotes, an address (s3://, gs://, https://) or a "
            'hub id "owner/name"'
        ),
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FOLDER", help="folder for the ids"
    )
    parser.add_argument("--column", default="text", help="column of the text (default: text)")
    parser.add_argument("--split", default="train", help="of a hub data set (default: train)")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--tokenizer",
        metavar="FILE",
        help="a tokenizer.json; by default one is trained on the first texts",
    )
    which.add_argument(
        "--vocab-size",
        type=int,
        default=32_000,
        help="of the tokenizer that is trained (default: 32000)",
    )
    parser.add_argument(
        "--tokenizer-texts",
        type=int,
        default=100_000,
        metavar="N",
        help="texts it is trained on (default: the first 100000)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=available_cores(),
        metavar="N",
        help="processes (default: one a core, %(default)s)",
    )
    parser.add_argument(
        "--shard-mb",
        type=float,
        default=32.0,
        metavar="MB",
        help="text in one file of ids, and in each worker's memory (default: 32)",
    )
