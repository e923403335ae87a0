"""Planted canaries: does exposure rise with their copies, and does extraction find those that were
planted often? And the time of audits of larger models on more texts.
"""

import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from tests.benchmarks.audit_speed import SPEED_PARTS
from tests.benchmarks.benchmark import Benchmark, Check, Figures
from tests.benchmarks.job import HOME, SMOKE, lslm

CONFIG = "language_modeling/docstrings_demo.yaml"
STEPS = 1500  # about 20 epochs
SIZES = {"train": 1500, "val": 100, "test": 200}  # docstrings of a split, each cut
LONGEST = 800
N_CANARY = 20
N_REFERENCE = 200


def training(done: Mapping[str, Figures], smoke: bool) -> Figures:
    """A small Transformer on 1,500 docstrings with 20 canaries, planted 1 to 16 times."""
    from lslm_lightning.corpora.lookup import open_corpus

    corpus = open_corpus("docstrings")
    folder = Path(tempfile.mkdtemp(prefix="docstrings-"))
    for split, n in SIZES.items():
        lines = [json.dumps({"text": row["text"][:LONGEST]}) for row in corpus.rows(split)[:n]]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    more = SMOKE if smoke else (f"--trainer.max_steps={STEPS}", "--trainer.val_check_interval=500")
    given = (f"--data.corpus={folder}", "--data.language=en", f"--data.canaries.n={N_CANARY}")
    path = HOME / "configs" / CONFIG
    [run] = lslm("run", "--config", str(path), *given, "--job.minutes=null", *more)
    return {"run": str(run.path)}


def canaries(done: Mapping[str, Figures], smoke: bool) -> Figures:
    """Exposure of each canary and whether it is extracted, from the part of the audit."""
    from scipy.stats import spearmanr

    from lslm_lightning.auditing.canaries import exposed
    from lslm_lightning.auditing.settings import USUAL
    from lslm_lightning.experiments.auditing import open_subject
    from lslm_lightning.runs import find_run

    subject = open_subject(find_run(done["training"]["run"]), USUAL)
    task, data = subject.task, subject.data
    n_reference = 10 if smoke else N_REFERENCE
    found = exposed(task, data.canaries, n_reference, 0, lambda share: None)
    correlation = spearmanr(
        [each.canary.n_copy for each in found], [each.exposure for each in found]
    )
    return {
        "canaries": [
            {
                "copies": each.canary.n_copy,
                "exposure": round(each.exposure, 2),
                "rank": each.rank,
                "greedy": each.is_greedy,
                "beam": each.is_beam,
            }
            for each in found
        ],
        "correlation": float(correlation.statistic),
        "p": float(correlation.pvalue),
        "n_reference": n_reference,
    }


def audit(done: Mapping[str, Figures], smoke: bool) -> Figures:
    """The whole audit of the same run: its time and its figures."""
    from lslm_lightning import AuditSettings
    from lslm_lightning.experiments.auditing import audit as audited

    began, busy = time.monotonic(), time.process_time()
    settings = AuditSettings(n_sample=4 if smoke else 256)
    results = audited(done["training"]["run"], settings, fresh=True)
    return {
        "seconds": round(time.monotonic() - began, 1),
        "processor_seconds": round(time.process_time() - busy, 1),
        "figures": {
            f"{finding.part}/{figure.key}": figure.value
            for finding in results.findings
            for figure in finding.figures
        },
    }


def checks(figures: Mapping[str, Figures]) -> list[Check]:
    """A rank correlation above 0, extraction of what was planted 16 times, and of nothing that the
    model ranks no higher than other numbers.
    """
    found = figures["canaries"]["canaries"]

    def extracted(n_copy: int) -> float:
        own = [each["greedy"] or each["beam"] for each in found if each["copies"] == n_copy]
        return 100 * sum(own) / max(1, len(own))

    low = [each for each in found if each["rank"] > 1]
    return [
        Check(
            "rank correlation of exposure and copies", figures["canaries"]["correlation"], ">", 0.5
        ),
        Check("  p, Spearman", figures["canaries"]["p"], "<", 0.01),
        Check("% extracted of those planted 16 times", extracted(16)),
        Check("% extracted of those planted once", extracted(1)),
        Check(
            "extracted, but not the most likely number",
            sum(each["greedy"] for each in low),
            "<=",
            0,
        ),
        Check("seconds of the whole audit", figures["audit"]["seconds"], "<=", 300),
        *(each for name in SPEED_PARTS if name in figures for each in speed(name, figures[name])),
    ]


def speed(name: str, found: Figures) -> list[Check]:
    """Five minutes for 10 million parameters and 30,000 texts, and the slowest part."""
    slowest = max(found["parts"], key=found["parts"].get)
    return [
        Check(f"seconds, {name}", found["seconds"], "<=", 300),
        Check("  parameters", found["n_parameter"], ">=", 9_500_000),
        Check("  training texts", found["n_training_text"], ">=", 28_000),
        Check(f"  slowest part: {slowest}", found["parts"][slowest]),
    ]


BENCHMARK = Benchmark(
    about="20 canaries planted 1 to 16 times in docstrings: exposure, extraction, time of audits",
    minutes=30,
    parts={"training": training, "canaries": canaries, "audit": audit, **SPEED_PARTS},
    checks=checks,
    needs=("LSLM_DATA",),
)
