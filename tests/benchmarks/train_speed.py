"""Training speed of translation against a plain loop over Marian, at equal sizes and with the sizes
of the config.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from tests.benchmarks.benchmark import Benchmark, Check, Figures
from tests.benchmarks.speed import race, speed_checks

CONFIG = "translation/multi30k_en_de_cpu.yaml"
SIZES = {
    "n_encoder_layer": 3,
    "n_decoder_layer": 3,
    "d_model": 256,
    "d_feedforward": 512,
    "n_head": 4,
    "dropout": 0.15,
}
COMMON = (
    "--model.label_smoothing=0.1",
    "--data.tokenizer.vocab_size=6000",
    "--data.max_tokens=2048",
    "--trainer.precision=bf16-mixed",
)
SIZES_OF_MARIAN = tuple(f"--model.backbone.{name}={value}" for name, value in SIZES.items())


def against_marian(*words: str) -> Callable[[Mapping[str, Figures], bool], Figures]:
    """The race with these settings."""
    return lambda done, smoke: race(
        CONFIG, "tests.benchmarks.marian_peer.MarianLoop", *COMMON, *words, window=50, smoke=smoke
    )


def checks(figures: Mapping[str, Figures]) -> list[Check]:
    """Both races; the loop has the sizes of the first in both."""
    rows = []
    for part, found in figures.items():
        rows += [
            replace(check, what=f"{part}: {check.what}")
            for check in speed_checks(found, "plain loop over Marian", 1.3)
        ]
    return rows


BENCHMARK = Benchmark(
    about=(
        "training on Multi30k en-de against a plain loop over Marian: equal tokenizer, "
        "batches, precision, optimizer"
    ),
    minutes=10,
    parts={
        "equal sizes": against_marian(*SIZES_OF_MARIAN),
        "the model of the config": against_marian(),
    },
    checks=checks,
    needs=("LSLM_DATA",),
)
