"""A part of the real Multi30k, as a folder of parallel text."""

import gzip
from itertools import islice
from pathlib import Path

FILES = {"train": "train", "val": "val", "test": "test_2016_flickr"}


def write_part(folder: Path, data: Path, **n_pair: int) -> Path:
    """Write the first pairs of each split in English and German, and return the folder.

    Args:
        data: the folder of real corpora.
        n_pair: number of pairs of each split.
    """
    folder.mkdir()
    for split, n in n_pair.items():
        for language in ("en", "de"):
            whole = data / f"multi30k/{FILES[split]}.{language}.gz"
            with gzip.open(whole, "rt", encoding="utf-8") as lines:
                (folder / f"{split}.{language}").write_text("".join(islice(lines, n)), "utf-8")
    return folder
