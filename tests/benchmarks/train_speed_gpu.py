"""Training speed of translation in bfloat16 on a GPU against a plain loop over Marian, at equal
sizes.
"""

from tests.benchmarks.benchmark import Benchmark, Part
from tests.benchmarks.train_speed import SIZES_OF_MARIAN, checks, race

CONFIG = "translation/multi30k_en_de_gpu.yaml"
COMMON = ("--data.tokenizer.vocab_size=6000", *SIZES_OF_MARIAN)


def against_marian(max_tokens: int) -> Part:
    """The race in batches of so many padded positions; a GPU needs a while until it has seen all
    shapes.
    """
    return lambda done, smoke: race(
        CONFIG,
        "tests.benchmarks.marian_peer.MarianLoop",
        *COMMON,
        f"--data.max_tokens={max_tokens}",
        window=50,
        smoke=smoke,
        n_settling=6,
    )


BENCHMARK = Benchmark(
    about=(
        "training on Multi30k en-de on a GPU against a plain loop over Marian: equal "
        "tokenizer, batches, precision, optimizer"
    ),
    minutes=4,
    parts={f"batches of {n}": against_marian(n) for n in (2048, 8192)},
    checks=checks,
    needs=("LSLM_DATA", "GPU"),
)
