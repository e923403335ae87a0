"""`python -m tests.benchmarks.one_core TOKENIZER TEXTS BYTES`: how fast one core encodes, in MB of
UTF-8 text per second.

Of the first BYTES of the texts, JSON lines, which are read before.
"""

import json
import os
import sys
import time

from lslm_lightning.data.prepare import CHUNK
from lslm_lightning.text.tokenizer_files import load_tokenizer


def main(tokenizer_file: str, path: str, n_byte: str) -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    tokenizer = load_tokenizer(tokenizer_file)
    texts = []
    wanted = int(n_byte)
    n_read = 0
    with open(path, encoding="utf-8") as lines:
        while n_read < wanted:
            texts.append(json.loads(next(lines))["text"])
            n_read += len(texts[-1].encode())
    began = time.perf_counter()
    for i in range(0, len(texts), CHUNK):
        tokenizer.encode_batch(texts[i : i + CHUNK])
    print(n_read / 1e6 / (time.perf_counter() - began))


if __name__ == "__main__":
    main(*sys.argv[1:])
