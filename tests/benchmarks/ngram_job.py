"""`python -m tests.benchmarks.ngram_job IDS VOCAB_SIZE [TEST]`: seconds and memory of a 5-gram
model on one core, as JSON.

IDS and TEST are files of numpy, rows as of `tests.ngram.brown`; without TEST the training rows are
scored.
"""

import json
import resource
import sys
import time

import numpy as np

from lslm_lightning.ngram.training import train
from tests.ngram.conftest import BOS, UNK

ORDER = 5
N_REPEAT = 5


def main(path: str, vocab_size: str, test: str | None = None) -> None:
    ids = np.load(path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    worked = time.process_time()
    model = train([ids], ORDER, int(vocab_size), BOS)
    seconds = time.perf_counter() - began
    processor_seconds = time.process_time() - worked
    row = ids if test is None else np.load(test)
    began = time.process_time()
    for _ in range(1 if test is None else N_REPEAT):
        scores = model.log_probs(row)
    scoring = (time.process_time() - began) / (1 if test is None else N_REPEAT)
    scored = row != BOS
    found = {
        "tokens": int((ids != BOS).sum()),
        "n_grams": sum(len(table.keys) for table in model.tables),
        "seconds": seconds,
        "processor_seconds": processor_seconds,
        "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
        "megabytes_before": before / 1000,
        "scored_per_second": int(scored.sum()) / scoring,
        "perplexity": float(np.exp(-scores[scored].mean())),
        "perplexity_without_unknown": float(np.exp(-scores[scored & (row != UNK)].mean())),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
