"""Time of whole audits: runs of 10 million parameters on about 30,000 training texts, trained for a
few steps, since speed does not depend on what they learned but for the ends of their answers.
"""

import json
import tempfile
import time
from collections.abc import Mapping
from itertools import chain
from pathlib import Path

from tests.benchmarks.benchmark import Figures, Part
from tests.benchmarks.job import HOME, SMOKE, lslm

CONFIGS = HOME / "configs"
N_TEXT = 30_000
N_TEST = 1_000
PASSAGE = 1_000  # characters of a passage of Brown
STEPS = 300
PAIR_SIZES = ("n_encoder_layer=4", "n_decoder_layer=4", "d_model=256", "d_feedforward=1024")
LANGUAGE_SIZES = ("n_decoder_layer=6", "d_model=320", "d_feedforward=1280")


def trained(config: str, sizes: tuple[str, ...], vocabulary: int, smoke: bool, *more: str) -> str:
    """Train a model of about 10 million parameters for a few steps; return its run directory.

    Args:
        config: file under configs/ that the settings are added to.
        sizes: settings of the backbone.
        vocabulary: number of entries of the tokenizer.
    """
    steps = [f"--trainer.max_steps={STEPS}", f"--trainer.val_check_interval={STEPS}"]
    [run] = lslm(
        *("run", "--config", str(CONFIGS / config), "--job.minutes=null"),
        "--trainer.limit_val_batches=2",
        f"--data.tokenizer.init_args.vocab_size={vocabulary}",
        *(f"--model.backbone.init_args.{size}" for size in sizes),
        *(SMOKE if smoke else steps),
        *more,
    )
    return str(run.path)


def audited(run: str, smoke: bool) -> Figures:
    """Audit a run, and return the seconds of each part, of all, and the size of the model."""
    from lslm_lightning import AuditSettings
    from lslm_lightning.experiments.auditing import audit, open_subject
    from lslm_lightning.runs import find_run

    began, busy = time.monotonic(), time.process_time()
    results = audit(run, AuditSettings(n_sample=4) if smoke else AuditSettings(), fresh=True)
    figures = {
        "seconds": round(time.monotonic() - began, 1),
        "processor_seconds": round(time.process_time() - busy, 1),
        "parts": seconds_of_parts(results.path),
    }
    subject = open_subject(find_run(run), AuditSettings())
    return figures | {
        "run": run,
        "n_parameter": subject.task.model_info.n_parameter,
        "n_training_text": len(subject.training_texts or []),
        "n_training_character": sum(map(len, subject.training_texts or [])),
    }


def seconds_of_parts(folder: Path) -> dict[str, float]:
    """Return the seconds of each part of an audit, from the records in its folder."""
    paths = sorted(folder.glob("[!.]*.json"))
    return {path.stem: json.loads(path.read_text("utf-8"))["seconds"] for path in paths}


def translation(done: Mapping[str, Figures], smoke: bool) -> Figures:
    """English to German, the 29,000 pairs of Multi30k."""
    pairs = ("--data.n_validation_example=4",)
    config = "translation/multi30k_en_de_cpu.yaml"
    return audited(trained(config, PAIR_SIZES, 10_000, smoke, *pairs), smoke)


def summarization(done: Mapping[str, Figures], smoke: bool) -> Figures:
    """Subject lines of the 14,436 e-mails of AESLC."""
    pairs = ("--data.n_validation_example=4",)
    config = "summarization/aeslc_cpu.yaml"
    return audited(trained(config, PAIR_SIZES, 10_000, smoke, *pairs), smoke)


def language(done: Mapping[str, Figures], smoke: bool) -> Figures:
    """30,000 English texts: e-mails, docstrings and passages of the Brown corpus."""
    folder = Path(tempfile.mkdtemp(prefix="english-"))
    for split, n in {"train": N_TEXT, "val": N_TEST, "test": N_TEST}.items():
        lines = [json.dumps({"text": text}) for text in english_texts(split)[:n]]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    given = (f"--data.corpus={folder}", "--data.language=en")
    config = "language_modeling/docstrings_demo.yaml"
    return audited(trained(config, LANGUAGE_SIZES, 8_000, smoke, *given), smoke)


def english_texts(split: str) -> list[str]:
    """Return the texts of a split, of three corpora in turn."""
    from lslm_lightning.corpora.lookup import open_corpus

    mails = [row["document"] for row in open_corpus("aeslc").rows(split)]
    strings = [row["text"] for row in open_corpus("docstrings").rows(split)]
    brown = [row["text"] for row in open_corpus("brown").rows(split)]
    passages = [text[i : i + PASSAGE] for text in brown for i in range(0, len(text), PASSAGE)]
    return list(chain(mails, strings, passages))


SPEED_PARTS: dict[str, Part] = {
    f"time of {part.__name__}": part for part in (translation, summarization, language)
}
