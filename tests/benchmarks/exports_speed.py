"""A translator of Multi30k in CTranslate2, onnxruntime and `transformers`: the same answers, and
how fast.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lslm_lightning.contracts import Example, Prediction
from tests.benchmarks.benchmark import Benchmark, Check, Figures
from tests.benchmarks.job import train

CONFIG = "translation/multi30k_en_de_cpu.yaml"
MINUTES = 20
SINUSOIDAL = "--model.backbone.position=lslm_lightning.models.positions.Sinusoidal"
"""Positions that `transformers` has in an encoder-decoder; CTranslate2 has ours too."""
FORMATS = {
    "transformers": ("huggingface", "float32"),
    "ctranslate2_float32": ("ctranslate2", "float32"),
    "ctranslate2_int8": ("ctranslate2", "int8"),
    "onnxruntime_float32": ("onnx", "float32"),
    "onnxruntime_int8": ("onnx", "int8"),
}
ENGINES = {"ctranslate2": "ctranslate2", "onnx": "onnxruntime"}
"""Engine that computes each format in place of PyTorch."""
BATCH = 32
TIE = 1e-4  # difference of log p per token that roundings of float32 can turn

Answers = dict[str, tuple[str, float]]
"""Text and log p per token of the answer to each example; `transformers` gives no log p."""


def training(done: Mapping[str, Figures], smoke: bool) -> Figures:
    """A run whose model all formats can express."""
    return train(CONFIG, SINUSOIDAL, f"--job.minutes={MINUTES}", smoke=smoke)


def exports(done: Mapping[str, Figures], smoke: bool) -> Figures:
    """Size of each folder, and how far it is from the run."""
    from lslm_lightning import export_model

    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (to, dtype) in FORMATS.items():
            output = Path(folder, name)
            export = export_model(done["training"]["run"], output, to, dtype=dtype)
            found = export.verification
            figures[name] = {
                "mb": export.n_byte / 1e6,
                "worst": found.worst,
                "equal": found.n_equal,
                "texts": found.n_text,
            }
    return figures


def answers(done: Mapping[str, Figures], smoke: bool) -> Figures:
    """Beam 5 of each on the same sentences, by turns: sentences per second (medians), BLEU, and the
    answers that are those of the run.
    """
    from lslm_lightning import export_model
    from lslm_lightning.decoding import Beam
    from tests.benchmarks.bleus import bleus
    from tests.benchmarks.finished import Finished

    reference = done["training"]["run"]
    run = Finished(reference)
    run.task.search = Beam(beam_size=5, length_penalty=1.0)
    examples = run.data.examples("test")[: 4 if smoke else None]
    seconds: dict[str, list[float]] = {}
    found: dict[str, Answers] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = export_model(reference, Path(folder, "transformers")).path
        systems = {"ours": ours(run.task), "transformers": transformers(path, run.task)}
        systems |= {
            name: ours(run.task, ENGINES[to], dtype)
            for name, (to, dtype) in FORMATS.items()
            if to in ENGINES
        }
        for _ in range(1 if smoke else 3):
            for name, answer in systems.items():
                began = time.perf_counter()
                found[name] = answer(examples)
                seconds.setdefault(name, []).append(time.perf_counter() - began)
    return {
        name: {
            "sentences_per_second": len(examples) / statistics.median(seconds[name]),
            "bleu": bleus(examples, [Prediction(e.id, own[e.id][0]) for e in examples])["bleu"],
            **agreement(found["ours"], own),
        }
        for name, own in found.items()
    }


def agreement(ours: Answers, theirs: Answers) -> Figures:
    """Share of equal answers in percent; of the others, those as probable as ours, and the ids of
    the rest.
    """
    others = [i for i, (text, _) in ours.items() if theirs[i][0].strip() != text.strip()]
    ties = [i for i in others if abs(ours[i][1] - theirs[i][1]) <= TIE]
    return {
        "equal": 100 * (1 - len(others) / len(ours)),
        "ties": len(ties),
        "others": sorted(set(others) - set(ties))[:50],
    }


def ours(
    task: object, engine_name: str | None = None, dtype: str = "float32"
) -> Callable[[Sequence[Example]], Answers]:
    """The task's own search, with weights of a type in an engine, or in PyTorch without one."""
    from lslm_lightning.decoding.engine import open_engine
    from lslm_lightning.systems.batches import by_length

    engine = None if engine_name is None else open_engine(engine_name, task, dtype)

    def answer(examples: Sequence[Example]) -> Answers:
        task.engine = engine
        found = {}
        for batch in by_length(examples, BATCH):
            decoded = task.decode(task.padded_sources(batch), task.search)
            for example, ids, n, score in zip(
                batch,
                decoded.ids.tolist(),
                decoded.n_token.tolist(),
                decoded.score.tolist(),
                strict=True,
            ):
                found[example.id] = task.tokenizer.decode(ids[:n]), score
        return found

    return answer


def transformers(path: Path, task: object) -> Callable[[Sequence[Example]], Answers]:
    """`generate` of `transformers` with the exported folder."""
    from lslm_lightning.systems.hugging_face import HuggingFaceSystem

    system = HuggingFaceSystem(
        str(path), n_beam=5, max_new_tokens=task.max_length, batch_size=BATCH, device="cpu"
    )
    return lambda examples: {p.id: (p.output, float("nan")) for p in system.generate(examples)}


def checks(figures: Mapping[str, Figures]) -> list[Check]:
    """Equal answers, BLEU of int8, and the speeds."""
    found = figures["answers"]
    exact, int8 = found["ctranslate2_float32"], found["ctranslate2_int8"]
    onnx, onnx_int8 = found["onnxruntime_float32"], found["onnxruntime_int8"]
    return [
        Check("equal beam-5 sentences, CTranslate2 float32, %", exact["equal"], ">=", 99.5),
        Check("of the others, with equal log p", exact["ties"]),
        Check("equal beam-5 sentences, onnxruntime float32, %", onnx["equal"], ">=", 99.5),
        Check("of the others, with equal log p", onnx["ties"]),
        Check("equal beam-5 sentences, transformers, %", found["transformers"]["equal"]),
        Check("BLEU of ours", found["ours"]["bleu"]),
        Check("loss of BLEU in int8", exact["bleu"] - int8["bleu"], "<=", 0.3),
        Check("loss of BLEU in int8, onnxruntime", onnx["bleu"] - onnx_int8["bleu"], "<=", 0.3),
        *(
            Check(f"sentences/s, {name}", own["sentences_per_second"])
            for name, own in found.items()
        ),
        *(Check(f"MB, {name}", own["mb"]) for name, own in figures["exports"].items()),
    ]


BENCHMARK = Benchmark(
    about="a translator of Multi30k in CTranslate2, onnxruntime and transformers: equal answers",
    minutes=40,
    parts={"training": training, "exports": exports, "answers": answers},
    checks=checks,
    needs=("LSLM_DATA",),
)
