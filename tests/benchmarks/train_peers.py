"""Training of language models of three sizes beside all peers in one process: equal sizes, batches,
precision, clipping and optimizer; the decoder is nanoGPT's, ours compiled by `model.compile`.

The limit is the rate of matrix products of the model's shapes, forward and backward.
"""

import json
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.benchmarks.benchmark import Benchmark, Check, Figures
from tests.benchmarks.speed import contest, ratio

CONFIG = "language_modeling/tinyshakespeare_nanogpt_cpu.yaml"
BARE = "the same step in a bare loop"
COMPILED = "the same step in a bare loop, compiled"
EAGER = "GPT-2 of transformers"
LOOPS = "tests.benchmarks.decoder_loops"


@dataclass(frozen=True)
class Size:
    """Sizes of a decoder and of its batches, the steps of a window, and the least ratios to the
    best of all peers and to GPT-2 of transformers.
    """

    n_layer: int
    d_model: int
    n_head: int
    context: int
    batch_size: int
    n_word: int | None  # None for characters
    window: int
    to_best: float
    to_eager: float

    def words(self) -> list[str]:
        """What the command line sets."""
        given = {
            "model.backbone.n_decoder_layer": self.n_layer,
            "model.backbone.d_model": self.d_model,
            "model.backbone.n_head": self.n_head,
            "model.context": self.context,
            "data.batch_size": self.batch_size,
            "model.backbone.norm": {
                "class_path": "torch.nn.LayerNorm",
                "init_args": {"bias": False},
            },
            "model.backbone.feed_forward": {
                "class_path": "lslm_lightning.models.feed_forward.GELU",
                "init_args": {"bias": False},
            },
            "model.backbone.position": {
                "class_path": "lslm_lightning.models.positions.Learned",
                "init_args": {"max_length": self.context},
            },
            "model.compile": True,
            "trainer.precision": "32-true",
            "trainer.gradient_clip_val": 1.0,
            "trainer.log_every_n_steps": 1,
        }
        if self.n_word is not None:
            given["data.tokenizer"] = {
                "class_path": "lslm_lightning.text.recipes.BytePair",
                "init_args": {"vocab_size": self.n_word},
            }
        return [
            f"--{name}={value if isinstance(value, str) else json.dumps(value)}"
            for name, value in given.items()
        ]

    def loops(self) -> dict[str, dict]:
        """The peers, and our own step."""
        sizes = {
            "context": self.context,
            "d_model": self.d_model,
            "n_layer": self.n_layer,
            "n_head": self.n_head,
        }
        peers = {EAGER: "TransformersLoop", "a decoder as in nanoGPT": "NanoLoop"}
        return {
            BARE: {"class_path": f"{LOOPS}.BareLoop"},
            COMPILED: {"class_path": f"{LOOPS}.BareLoop", "init_args": {"compiled": True}},
            **{
                f"{name}{', compiled' if compiled else ''}": {
                    "class_path": f"{LOOPS}.{loop}",
                    "init_args": {**sizes, "compiled": compiled},
                }
                for name, loop in peers.items()
                for compiled in (False, True)
            },
        }

    def flops_per_token(self, n_word: int) -> float:
        """Products of a token with each matrix and its gradient, and with half of the context."""
        matrices = 12 * self.n_layer * self.d_model**2 + n_word * self.d_model
        return 6.0 * (matrices + self.n_layer * self.d_model * self.context)

    def product_rate(self, n_round: int = 5, seconds: float = 0.3) -> float:
        """Floating-point operations per second of the products of a layer, forward and backward,
        in float32: the median of some rounds.
        """
        import torch

        n = self.batch_size * self.context
        d = self.d_model
        shapes = [(d, 3 * d), (d, d), (d, 4 * d), (4 * d, d)]
        trials = [(torch.randn(n, k), torch.randn(k, m), torch.randn(n, m)) for k, m in shapes]

        def multiply() -> None:
            for x, weight, gradient in trials:
                x @ weight
                gradient @ weight.T
                x.T @ gradient

        rates = []
        for _ in range(n_round):
            n_done = 0
            began = time.perf_counter()
            while time.perf_counter() - began < seconds:
                multiply()
                n_done += 1
            flops = n_done * sum(6.0 * n * k * m for k, m in shapes)
            rates.append(flops / (time.perf_counter() - began))
        return statistics.median(rates)


SIZES = {
    "0.8 M, characters": Size(4, 128, 4, 64, 12, None, 40, 1.1, 1.3),
    "1.1 M, 2,048 words": Size(2, 192, 4, 256, 4, 2048, 25, 1.1, 1.3),
    "13.8 M, 8,192 words": Size(6, 384, 6, 256, 4, 8192, 6, 1.05, 1.15),
}
N_CHARACTER = 65  # of tiny-shakespeare


def against_all(size: Size) -> Callable[[Mapping[str, Figures], bool], Figures]:
    """The contest of one size."""

    def measured(done: Mapping[str, Figures], smoke: bool) -> Figures:
        before = size.product_rate()
        speeds = contest(CONFIG, size.loops(), *size.words(), window=size.window, smoke=smoke)
        rate = statistics.median([before, size.product_rate()])
        flops = size.flops_per_token(size.n_word or N_CHARACTER)
        return {
            **speeds,
            "product_rate": rate,
            "share": statistics.median(speeds["ours"]) * flops / rate,
        }

    return measured


def checks(figures: Mapping[str, Figures]) -> list[Check]:
    """Of each size: ours to the bare step, to the best peer, to eager transformers."""
    rows = []
    for part, size in SIZES.items():
        found = figures[part]
        loops = list(size.loops())
        peers = {name: found[name] for name in loops if name not in (BARE, COMPILED)}
        best = max(peers, key=lambda name: statistics.median(peers[name]))
        rows += [
            Check(f"{part}: training, tokens/s", statistics.median(found["ours"])),
            *(Check(f"{part}: {name}, tokens/s", statistics.median(found[name])) for name in loops),
            Check(f"{part}: share of the rate of products", found["share"]),
            Check(
                f"{part}: ratio to {COMPILED}", ratio(found["ours"], found[COMPILED]), ">=", 0.97
            ),
            Check(
                f"{part}: {COMPILED}, ratio to the best peer", ratio(found[COMPILED], peers[best])
            ),
            Check(
                f"{part}: ratio to the best peer, {best}",
                ratio(found["ours"], peers[best]),
                ">=",
                size.to_best,
            ),
            Check(
                f"{part}: ratio to {EAGER}", ratio(found["ours"], peers[EAGER]), ">=", size.to_eager
            ),
        ]
    return rows


BENCHMARK = Benchmark(
    about="language models of three sizes beside loops over transformers and nanoGPT's decoder",
    minutes=12,
    parts={name: against_all(size) for name, size in SIZES.items()},
    checks=checks,
    needs=("LSLM_DATA",),
)
