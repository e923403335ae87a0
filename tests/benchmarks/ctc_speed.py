"""The beam search over frames (CTC) against the same search in plain Python, which other programs
have for want of a faster one.
"""

import time
from collections.abc import Callable, Mapping
from statistics import median

import torch

from lslm_lightning.decoding import CtcPrefixBeam
from tests.benchmarks.benchmark import Benchmark, Check, Figures
from tests.decoding.frames import plain_prefix_beam

N_FRAME = 300
N_SYMBOL = 30
BLANK = 0
N_BEAM = 10
BATCH_SIZE = 16


def frames(n_source: int, n_frame: int) -> torch.Tensor:
    """Log p as a trained model gives them: mostly blanks, between them a symbol that is nearly
    certain.
    """
    generator = torch.Generator().manual_seed(0)
    scores = 2 * torch.randn(n_source, n_frame, N_SYMBOL, generator=generator)
    scores[..., BLANK] += 8 * (torch.rand(n_source, n_frame, generator=generator) > 0.3)
    return scores.log_softmax(-1)


def seconds(work: Callable[[], object], n_round: int) -> float:
    """Median of some rounds after one to warm up."""
    found = []
    for _ in range(n_round + 1):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return median(found[1:])


def speed(done: Mapping[str, Figures], smoke: bool) -> Figures:
    """Milliseconds a source, and the share of hypotheses on which both agree."""
    n_round, n_frame = (1, 30) if smoke else (7, N_FRAME)
    log_probs = frames(BATCH_SIZE, n_frame)
    search = CtcPrefixBeam(N_BEAM)
    lengths = torch.full((BATCH_SIZE,), n_frame)
    alone = seconds(lambda: search(log_probs[:1], lengths[:1], BLANK), n_round)
    together = seconds(lambda: search(log_probs, lengths, BLANK), n_round) / BATCH_SIZE
    plain = seconds(lambda: plain_prefix_beam(log_probs[0], BLANK, N_BEAM), n_round)
    ours = {h.ids for h in search(log_probs[:1], lengths[:1], BLANK)[0]}
    agree = len(ours & plain_prefix_beam(log_probs[0], BLANK, N_BEAM).keys()) / N_BEAM
    return {
        "alone": 1000 * alone,
        "together": 1000 * together,
        "plain": 1000 * plain,
        "ratio": plain / alone,
        "agree": agree,
    }


def checks(figures: Mapping[str, Figures]) -> list[Check]:
    """One source alone is the case that nothing can be shared in."""
    found = figures["speed"]
    return [
        Check(
            f"{N_FRAME} frames, {N_SYMBOL} symbols, beam {N_BEAM}: ms", found["alone"], "<=", 50.0
        ),
        Check(f"{BATCH_SIZE} of them together: ms each", found["together"]),
        Check("in plain Python: ms", found["plain"]),
        Check("ratio", found["ratio"], ">=", 5.0),
        Check("share of equal hypotheses", found["agree"], ">=", 1.0),
    ]


BENCHMARK = Benchmark("beam search over frames against plain Python", 1, {"speed": speed}, checks)
