"""Spoken digits: by speakers that were heard in training, and by each of the six in turn who was
not.
"""

from collections.abc import Mapping
from functools import partial
from statistics import fmean

from tests.benchmarks.benchmark import Benchmark, Check, Figures
from tests.benchmarks.job import train
from tests.benchmarks.reported import beside, minutes, one_run

SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
LEFT_OUT = "speech_recognition/fsdd_leave_one_out.yaml"


def without(speaker: str, done: Mapping[str, Figures], smoke: bool) -> Figures:
    """Trained on the five others, tested on this one."""
    return train(
        LEFT_OUT, f"--data.corpus=fsdd-{speaker}", f"--job.name=fsdd_without_{speaker}", smoke=smoke
    )


def checks(figures: Mapping[str, Figures]) -> list[Check]:
    """Word error rates; that over speakers is the mean of six equally large tests."""
    ours = figures["training"]["scores"]
    others = {speaker: figures[f"without {speaker}"]["scores"]["wer"] for speaker in SPEAKERS}
    return [
        Check("WER, official split", ours["wer"], "<=", 3.0),
        Check("CER, official split", ours["cer"]),
        *beside(figures, "wer"),
        minutes(figures, 30),
        Check("WER of speakers never heard", fmean(others.values())),
        *(Check(f"WER of {speaker}, never heard", wer) for speaker, wer in others.items()),
    ]


BENCHMARK = Benchmark(
    about=(
        "fsdd in at most 30 minutes, and six times 6 minutes without one of its speakers: word "
        "error rates"
    ),
    minutes=65,
    parts={
        **one_run("speech_recognition/fsdd_cpu.yaml", {"wer": "units:words"}),
        **{f"without {speaker}": partial(without, speaker) for speaker in SPEAKERS},
    },
    checks=checks,
    needs=("LSLM_DATA",),
)
