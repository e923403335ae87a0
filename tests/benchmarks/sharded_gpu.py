"""Sharded training (FSDP2) in bfloat16 on one GPU: memory and speed against `lslm plan`, and a
kill.
"""

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from lslm_lightning.runs import RunDirectory
from lslm_lightning.tracking.curves import read_points
from tests.benchmarks.benchmark import Benchmark, Check, Figures, Part
from tests.benchmarks.job import config_path, environment_of, lslm

CONFIG = "language_modeling/docstrings_demo.yaml"
N_SETTLING = 10
N_TIMED = 40
N_STEP = 60
SAVED_EVERY = 10
KILLED_AFTER = 35


class Size(NamedTuple):
    n_layer: int
    d_model: int
    n_head: int
    context: int
    batch_size: int

    def words(self) -> list[str]:
        """As settings of the config, whose vocabulary is 16,000."""
        backbone = {
            "n_decoder_layer": self.n_layer,
            "d_model": self.d_model,
            "n_head": self.n_head,
            "d_feedforward": 4 * self.d_model,
        }
        return [
            *(
                "--config",
                str(config_path(CONFIG)),
                "--config",
                str(config_path("trainer/fsdp.yaml")),
            ),
            *(f"--model.backbone.{name}={value}" for name, value in backbone.items()),
            *(
                f"--model.context={self.context}",
                f"--data.context={self.context}",
                f"--data.batch_size={self.batch_size}",
            ),
            *(
                "--data.tokenizer.vocab_size=16000",
                "--trainer.accelerator=gpu",
                "--trainer.devices=1",
                "--job.minutes=null",
            ),
            *("--trainer.precision=bf16-mixed", "--trainer.limit_val_batches=0"),
        ]


SIZES = {
    "small": Size(8, 512, 8, 512, 32),
    "medium": Size(12, 768, 12, 1024, 16),
    "large": Size(24, 1024, 16, 1024, 16),
}
TINY = Size(1, 32, 2, 32, 4)


def use(name: str, strategy: str) -> Part:
    """Trains one size for 50 steps by a strategy; what it took, and what the plan says of it."""

    def part(done: Mapping[str, Figures], smoke: bool) -> Figures:
        from lslm_lightning.planning.devices import device_named
        from lslm_lightning.planning.estimate import planned, replicated, sharded

        words = (TINY if smoke else SIZES[name]).words()
        plan = planned(words, None)
        device = device_named("h100")
        expected = (
            sharded(plan, device, 1, 1, 1) if strategy == "fsdp" else replicated(plan, device, 1, 1)
        )
        own = words if strategy == "fsdp" else [*words, "--trainer.strategy=auto"]
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "use.json"
            callback = {
                "class_path": "tests.benchmarks.gpu_use.GpuUse",
                "init_args": {"output": str(output), "n_settling": N_SETTLING},
            }
            lslm(
                "fit",
                *own,
                f"--trainer.max_steps={N_SETTLING + N_TIMED}",
                f"--trainer.callbacks={json.dumps([callback])}",
            )
            taken = json.loads(output.read_text())
        return {
            "parameters": plan.footprint(usual=True).n_parameter,
            "gigabytes": taken["bytes"] / 1e9,
            "planned_gigabytes": expected.total / 1e9,
            "tokens_per_second": taken["tokens_per_second"],
            "planned_tokens_per_second": expected.tokens_per_second,
        }

    return part


def resumed(*own: str) -> Part:
    """Trains twice straight, and once killed and resumed; how far losses are apart at most after
    the kill, in nats.
    """

    def part(done: Mapping[str, Figures], smoke: bool) -> Figures:
        settings = [
            "--trainer.accumulate_grad_batches=2",
            "--model.backbone.dropout=0.1",
            "--trainer.log_every_n_steps=1",
        ]
        settings += [f"--trainer.max_steps={N_STEP}", f"--job.save_every_steps={SAVED_EVERY}", *own]
        words = [*(TINY if smoke else SIZES["small"]).words(), *settings]
        (straight,), (again,) = (lslm("fit", *words) for _ in range(2))
        killed = killed_after(KILLED_AFTER, words)
        at = max(losses(killed))
        lslm("resume", str(killed.path))
        one, two, three = map(losses, (straight, again, killed))
        later = range(at // SAVED_EVERY * SAVED_EVERY + 1, N_STEP + 1)
        return {
            "killed_after": at,
            "steps": len(three),
            "resumed_apart": max(abs(one[step] - three[step]) for step in later),
            "straight_apart": max(abs(one[step] - two[step]) for step in later),
            "last_loss": one[N_STEP],
        }

    return part


def killed_after(step: int, words: list[str]) -> RunDirectory:
    """SIGKILL as soon as that step is on disk."""
    command = [sys.executable, "-m", "lslm_lightning", "fit", *words]
    with subprocess.Popen(
        command, env=environment_of(), stdout=subprocess.PIPE, text=True
    ) as process:
        path = next(
            line.removeprefix("run ").strip() for line in process.stdout if line.startswith("run ")
        )
        directory = RunDirectory(Path(path))
        while process.poll() is None and max(losses(directory), default=0) < step:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    return directory


def losses(directory: RunDirectory) -> dict[int, float]:
    """Of each step that is on disk."""
    path = directory.path / "metrics.jsonl"
    return (
        {point.step: point.value for point in read_points(path) if point.name == "train/loss"}
        if path.exists()
        else {}
    )


def checks(figures: Mapping[str, Figures]) -> list[Check]:
    """Percent by which the plan is off, and nats."""
    rows = []
    for name, found in figures.items():
        if "gigabytes" in found:
            off = 100 * abs(found["planned_gigabytes"] / found["gigabytes"] - 1)
            rows.append(
                Check(
                    f"{name}, {found['parameters'] / 1e6:.0f}M parameters: GB", found["gigabytes"]
                )
            )
            rows.append(Check("% by which the plan is off", off, "<=", 15))
            rows.append(Check("tokens/s", found["tokens_per_second"]))
            rows.append(
                Check(
                    "times that in the plan",
                    found["planned_tokens_per_second"] / found["tokens_per_second"],
                )
            )
        else:
            apart = found["straight_apart"]
            rows.append(Check(f"{name}: nats between two straight runs, at most", apart))
            rows.append(
                Check(
                    f"between straight and killed after {found['killed_after']} steps",
                    found["resumed_apart"],
                    "<=",
                    2 * apart,
                )
            )
            rows.append(Check(f"steps with a loss, of {N_STEP}", found["steps"], ">=", N_STEP))
    return rows


PARTS = {
    f"{name}, {strategy}": use(name, strategy)
    for name in SIZES
    for strategy in ("fsdp", "one device")
}
BENCHMARK = Benchmark(
    about="FSDP2 in bfloat16 on one GPU: memory and speed against the plan, and a kill",
    minutes=10,
    parts={
        **PARTS,
        "resume": resumed(),
        "resume, deterministic": resumed("--trainer.deterministic=true"),
    },
    checks=checks,
    needs=("GPU",),
)
