"""Training speed of an LSTM over contiguous rows against a plain loop over `torch.nn.LSTM`."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace

from tests.benchmarks.benchmark import Benchmark, Check, Figures
from tests.benchmarks.speed import race, speed_checks

CONFIG = "language_modeling/docstrings_demo.yaml"
CONTEXT = 64
BATCH = 32
WIDTHS = (256, 512)
DROPOUT = 0.2


def against_loop(d_model: int, dropout: float) -> Callable[[Mapping[str, Figures], bool], Figures]:
    """The race of two layers of this width, over pieces of 8000 kinds, the state carried by
    both.
    """
    sizes = {"d_model": d_model, "dropout": dropout}
    backbone = {"n_encoder_layer": 0, "n_decoder_layer": 2, **sizes}
    words = {
        "model.backbone": {
            "class_path": "lslm_lightning.models.recurrent.LSTM",
            "init_args": backbone,
        },
        "model.context": CONTEXT,
        "data.corpus": "brown",
        "data.tokenizer.vocab_size": 8000,
        "data.context": CONTEXT,
        "data.batch_size": BATCH,
        "data.contiguous": True,
        "trainer.gradient_clip_val": 1.0,
    }
    given = [
        f"--{name}={value if isinstance(value, str) else json.dumps(value)}"
        for name, value in words.items()
    ]
    loop = {
        "class_path": "tests.benchmarks.lstm_loop.LstmLoop",
        "init_args": {"n_layer": 2, **sizes},
    }
    return lambda done, smoke: race(CONFIG, loop, *given, window=8, smoke=smoke)


def checks(figures: Mapping[str, Figures]) -> list[Check]:
    """Each race."""
    rows = []
    for part, found in figures.items():
        rows += [
            replace(check, what=f"{part}: {check.what}")
            for check in speed_checks(found, "plain loop over torch.nn.LSTM", 1.0)
        ]
    return rows


BENCHMARK = Benchmark(
    about=(
        "an LSTM over contiguous rows of the Brown corpus against a plain loop over "
        "torch.nn.LSTM: equal batches, precision, optimizer"
    ),
    minutes=10,
    parts={
        f"{width} wide, dropout {p:g}": against_loop(width, p)
        for width in WIDTHS
        for p in (DROPOUT, 0.0)
    },
    checks=checks,
    needs=("LSLM_DATA",),
)
