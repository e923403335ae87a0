"""nanoGPT's recipe for a CPU on tiny-shakespeare, by characters."""

import statistics
from collections.abc import Mapping

from tests.benchmarks.benchmark import Benchmark, Check, Figures
from tests.benchmarks.job import train
from tests.benchmarks.speed import race, speed_checks

CONFIG = "language_modeling/tinyshakespeare_nanogpt_cpu.yaml"
GPT2 = {
    "class_path": "tests.benchmarks.decoder_loops.TransformersLoop",
    "init_args": {"context": 64, "d_model": 128, "n_layer": 4, "n_head": 4},
}
SEEDS = (0, 1, 2)


def checks(figures: Mapping[str, Figures]) -> list[Check]:
    """Quality by the mean of the seeds, then speed."""
    nats = [figures[f"seed {seed}"]["scores"]["nats_per_token"] for seed in SEEDS]
    each = [
        Check(f"nats per character, seed {seed}", value)
        for seed, value in zip(SEEDS, nats, strict=True)
    ]
    mean = Check(
        "nats per character, mean of 3 seeds, windows that do not overlap",
        statistics.fmean(nats),
        "<=",
        1.90,
    )
    return [*each, mean, *speed_checks(figures["speed"], "plain loop over GPT-2", 1.0)]


BENCHMARK = Benchmark(
    about=(
        "tiny-shakespeare by nanoGPT's CPU recipe: nats per character, and speed against a "
        "plain loop over GPT-2"
    ),
    minutes=12,
    parts={
        **{
            f"seed {seed}": lambda done, smoke, seed=seed: train(
                CONFIG, f"--seed_everything={seed}", smoke=smoke
            )
            for seed in SEEDS
        },
        "speed": lambda done, smoke: race(CONFIG, GPT2, window=200, smoke=smoke),
    },
    checks=checks,
    needs=("LSLM_DATA",),
)
