"""Record of the benchmark of `lslm serve` in its shape, with made-up figures."""

import json
from pathlib import Path

from docs.generate.serving_capacity import MODELS
from tests.benchmarks.serving import CLIENTS, PEER_CLIENTS, percentiles

CIRCUMSTANCES = {
    "date": "2030-01-01 00:00",
    "commit": "0123456789",
    "torch": "2",
    "device": "a processor",
    "threads": 2,
    "bfloat16": True,
}


def volley(n: int, is_streamed: bool) -> dict[str, object]:
    """Figures as `volley` of the benchmark has them, for `n` clients."""
    latencies = percentiles([100.0 * n] * 100)
    figures = {"tokens_per_second": 50.0 * n, "requests_per_second": 2.0 * n, "whole_ms": latencies}
    return figures | ({"first_ms": percentiles([10.0 * n] * 100)} if is_streamed else {})


def write_record(path: Path) -> None:
    """Write a record with loads of all models and numbers of clients."""
    load = {
        f"{model}_{n}": volley(n, model == "language_model") for model in MODELS for n in CLIENTS
    }
    peer = {f"{model}_{n}": volley(n, is_streamed=False) for model in MODELS for n in PEER_CLIENTS}
    parts = {"start": {"first_answer_s": 1.0}, "load": load, "peer": peer}
    record = {
        name: {"figures": figures, "circumstances": CIRCUMSTANCES}
        for name, figures in parts.items()
    }
    path.write_text(json.dumps(record), "utf-8")
