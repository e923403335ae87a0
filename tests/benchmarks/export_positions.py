"""What it costs a translator to have positions that layouts of `transformers` have: the default,
rotary, beside sinusoids and learned vectors, after the same number of steps.
"""

from collections.abc import Mapping
from functools import partial

from tests.benchmarks.benchmark import Benchmark, Check, Figures
from tests.benchmarks.job import train

CONFIG = "translation/multi30k_en_de_cpu.yaml"
STEPS = 2000
POSITIONS: Mapping[str, tuple[str, ...]] = {
    "rotary": (),
    "sinusoidal": ("--model.backbone.position=lslm_lightning.models.positions.Sinusoidal",),
    "learned": (
        "--model.backbone.position=lslm_lightning.models.positions.Learned",
        "--model.backbone.position.max_length=512",
    ),
}


def training(position: tuple[str, ...], figures: Mapping[str, Figures], smoke: bool) -> Figures:
    """A run of `STEPS` steps."""
    steps = (f"--trainer.max_steps={STEPS}", "--trainer.val_check_interval=1000")
    return train(CONFIG, *position, "--job.minutes=null", *steps, smoke=smoke)


def checks(figures: Mapping[str, Figures]) -> list[Check]:
    """BLEU and chrF of each."""
    return [
        Check(f"{metric.upper()}, {name}", figures[name]["scores"][metric])
        for metric in ("bleu", "chrf")
        for name in POSITIONS
    ]


BENCHMARK = Benchmark(
    about="positions of a translator that can be exported, beside the default ones",
    minutes=20,
    parts={name: partial(training, position) for name, position in POSITIONS.items()},
    checks=checks,
    needs=("LSLM_DATA",),
)
