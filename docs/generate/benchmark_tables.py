"""Headings and rows of the tables of benchmarks, made from their figures."""

import statistics
from collections.abc import Callable, Mapping, Sequence

from docs.generate.markdown import plain
from lslm_lightning.contracts import metric_label
from lslm_lightning.types import Json, Settings
from tests.benchmarks.benchmark import number

Rows = list[Sequence[str]]
Figures = Mapping[str, Settings]
Maker = Callable[[Figures], tuple[Sequence[str], Rows]]  # headings and rows from figures
OURS = "lslm-lightning"

SYSTEMS = {
    "copy": "copy of the source",
    "lead": "first sentence",
    "lstm": "LSTM",
    "oracle": "extractive oracle",
    "rnn": "RNN",
    "transformer": "Transformer",
}


def named(system: str) -> str:
    """Return the name of a system of a sweep as papers write it."""
    return SYSTEMS.get(system, plain(system.replace("_", "-")))


def sweep(figures: Figures) -> tuple[Sequence[str], Rows]:
    """Return headings and rows of a sweep: score, interval and size of each system."""
    found = figures["sweep"]
    rows: Rows = []
    for system, score in found["scores"].items():
        n_parameter = found["parameters"][system]
        interval = f"{number(score['low'])} – {number(score['high'])}"
        size = "" if n_parameter is None else f"{n_parameter:,}"
        rows.append((named(system), number(score["value"]), interval, size))
    return ("system", metric_label(found["headline"]), "95 % interval", "parameters"), rows


def trained(figures: Figures) -> tuple[Sequence[str], Rows]:
    """Return headings and rows of trained models and their baselines: all scores, and minutes."""
    systems: dict[str, Settings] = {}
    minutes: dict[str, str] = {}
    for part, found in figures.items():
        if part == "baselines":
            systems |= found
        elif "training_minutes" in found:
            name = "trained model" if part == "training" else part
            systems[name] = found["scores"]
            minutes[name] = number(found["training_minutes"])
    metrics = list(dict.fromkeys(metric for scores in systems.values() for metric in scores))
    rows: Rows = [
        (plain(name), *(score_of(scores, m) for m in metrics), minutes.get(name, ""))
        for name, scores in systems.items()
    ]
    return ("system", *map(metric_label, metrics), "minutes"), rows


def score_of(scores: Mapping[str, float], metric: str) -> str:
    """Return a score as text; a dash if there is none."""
    value = scores.get(metric)
    return "—" if value is None or value != value else number(value)


def race(peer: str, unit: str, key: str = "theirs") -> Maker:
    """Return a function that makes the table of a race between this project and a peer.

    Args:
        peer: name of the other program.
        unit: of the speeds.
        key: name of the peer's figure.
    """

    def made(figures: Figures) -> tuple[Sequence[str], Rows]:
        rows: Rows = []
        for part, found in figures.items():
            if key not in found:
                continue
            numbers = (middle(found["ours"]), middle(found[key]), found["ratio"])
            rows.append((plain(part), *map(number, numbers)))
        return ("model", f"{OURS}, {unit}", f"{peer}, {unit}", "ratio"), rows

    return made


def contest(figures: Figures) -> tuple[Sequence[str], Rows]:
    """Return headings and rows of a contest: tokens per second of each contender, by model, and the
    share of the rate of matrix products that this project reaches.
    """
    contenders = [name for name, found in next(iter(figures.values())).items() if listed(found)]
    rows: Rows = [
        (
            OURS if name == "ours" else plain(name),
            *(shown(found[name]) for found in figures.values()),
        )
        for name in contenders
    ]
    shares = (number(100 * found["share"]) for found in figures.values())
    rows.append((f"{OURS}, % of the rate of matrix products", *shares))
    return ("tokens/s", *map(plain, figures)), rows


def listed(measured: Json) -> bool:
    """Return whether a figure was measured several times."""
    return isinstance(measured, list)


def middle(measured: float | Sequence[float]) -> float:
    """Return a figure, or the median of one that was measured several times."""
    return measured if isinstance(measured, float | int) else statistics.median(measured)


def parts(first: str, columns: Mapping[str, str], only: Callable[[Settings], bool] = bool) -> Maker:
    """Return a function that makes a table with a row for each part of a record.

    Args:
        first: heading of the first column, the name of the part.
        columns: heading -> name of the figure.
        only: whether the figures of a part belong to the table.
    """

    def made(figures: Figures) -> tuple[Sequence[str], Rows]:
        rows: Rows = [
            (plain(part), *(shown(found.get(key)) for key in columns.values()))
            for part, found in figures.items()
            if only(found)
        ]
        return (first, *columns), rows

    return made


def shown(value: Json) -> str:
    """Return a figure as text: numbers with four digits, counts whole, lists by their median."""
    if value is None:
        return "—"
    if isinstance(value, int):
        return f"{value:,}"
    return (
        f"{value:.4f}" if isinstance(value, float) and 0 < value < 0.001 else number(middle(value))
    )


def aligned(
    rows: Sequence[tuple[str, *tuple[float | None, ...]]], *headings: str
) -> tuple[Sequence[str], Rows]:
    """Return headings and rows, whose numbers become text."""
    return headings, [(plain(name), *map(shown, numbers)) for name, *numbers in rows]


def multi30k(figures: Figures) -> tuple[Sequence[str], Rows]:
    """Return the table of Multi30k: both test sets, cased and lower-cased."""
    theirs = figures["peer"]["scores"]
    ours = next(found for found in figures.values() if theirs.keys() <= found.keys())
    columns = [(test, kind) for test in theirs for kind in theirs[test]]
    speed = figures["peer"]["tokens_per_second"]
    minutes = figures["training"]["training_minutes"]
    return aligned(
        [
            (OURS, *(ours[test][kind] for test, kind in columns), minutes, None),
            ("plain loop over Marian", *(theirs[t][k] for t, k in columns), 40, speed),
        ],
        "system",
        *(f"{'BLEU' if k == 'bleu' else 'BLEU, lower-cased'}, {t[5:9]}" for t, k in columns),
        "minutes",
        "tokens/s",
    )


def docstrings(figures: Figures) -> tuple[Sequence[str], Rows]:
    """Return the table of docstrings: the trained model, and its paired differences from rivals."""
    rows = [("trained model", figures["training"]["scores"]["rougeL"], None, None, None, None)]
    for name, found in figures["rivals"].items():
        rows.append((name, *(found[k] for k in ("rougeL", "difference", "low", "high", "p"))))
    return aligned(rows, "system", "ROUGE-L", "the model is better by", "from", "to (95 %)", "p")


def squad(figures: Figures) -> tuple[Sequence[str], Rows]:
    """Return the table of SQuAD: F1 on three sets of questions."""
    sets = next(f for f in figures.values() if {"test", "answerable"} <= f.keys())
    against = sets["test"]["against"]
    return aligned(
        [
            ("trained model", *(found["f1"] for found in sets.values())),
            *((name, *(f["against"][name]["f1"] for f in sets.values())) for name in against),
        ],
        "system",
        *(f"F1, {HEADINGS.get(name, name)} ({sets[name]['number']:,})" for name in sets),
    )


HEADINGS = {"test": "all questions", "answerable": "with an answer", "xquad": "XQuAD"}


def an4(figures: Figures) -> tuple[Sequence[str], Rows]:
    """Return the table of AN4: searches without and with a language model."""
    fusion = figures["fusion"]
    return aligned(
        [
            ("most frequent answer", figures["baselines"]["most frequent answer"]["wer"]),
            ("CTC, best path", figures["training"]["scores"]["wer"]),
            ("CTC, prefix beam search", fusion["alone"]),
            ("the same with 8-grams of the training transcripts", fusion["fused"]),
        ],
        "system",
        "WER",
    )


def one_row(name: str, **columns: str) -> Maker:
    """Return a function that makes a table of one row from the figures of all parts.

    Args:
        name: what was measured.
        columns: name of the figure -> heading.
    """

    def made(figures: Figures) -> tuple[Sequence[str], Rows]:
        found = {key: value for part in figures.values() for key, value in part.items()}
        return ("", *columns.values()), [(name, *(shown(found[key]) for key in columns))]

    return made


def logging_cost(figures: Figures) -> tuple[Sequence[str], Rows]:
    """Return the table of the cost of tracking: seconds of a step without and with it."""
    cost = figures["cost"]
    return aligned(
        [
            ("without tracking", 1e3 * middle(cost["plain"]["median"]), None, None, None),
            (
                "with tracking",
                1e3 * middle(cost["tracked"]["median"]),
                cost["points"],
                cost["missing"],
                cost["doubled"],
            ),
        ],
        "run",
        "ms per step",
        "metric values",
        "missing",
        "duplicated",
    )


def exports(figures: Figures) -> tuple[Sequence[str], Rows]:
    """Return the table of runs and their exports, each asked the same by lm_eval."""
    tasks = {
        name.replace("_", " "): found | {"millionths": 1e6 * found["worst difference"]}
        for name, found in figures["lm_eval"]["tasks"].items()
    }
    keys = {"answers": "answers", "not equal": "not equal"}
    keys["largest difference, millionths of a nat"] = "millionths"
    return parts("lm_eval, a run against its export", keys)(tasks)


def equal_texts(part: str, first: str) -> Maker:
    """Return a function that makes a table of exported models, each compared with its run on equal
    texts.

    Args:
        part: name of the part of the record.
        first: heading of the first column, the name of the task.
    """

    def made(figures: Figures) -> tuple[Sequence[str], Rows]:
        tasks = {
            name.replace("_", " "): found | {"millionths": 1e6 * found["worst difference"]}
            for name, found in figures[part]["tasks"].items()
        }
        keys = {"texts": "texts", "not equal": "not equal"}
        keys["largest difference of logits, millionths"] = "millionths"
        return parts(first, keys)(tasks)

    return made


def exports_gguf(figures: Figures) -> tuple[Sequence[str], Rows]:
    """Return the table of GGUF files in llama.cpp, against the runs that they are from."""
    files = {
        f"{name}, {dtype}": found
        for name, types in figures["llama_cpp"].items()
        for dtype, found in types.items()
        if dtype != "ours"
    }
    keys = {"texts": "texts", "other ids": "other ids", "prompts": "prompts"}
    keys |= {"equal greedy texts": "equal", "of the others, first different at a tie": "ties"}
    return parts("GGUF in llama.cpp", {**keys, "tokens/s": "tokens_per_second"})(files)


def exports_speed(figures: Figures) -> tuple[Sequence[str], Rows]:
    """Return the table of a translator in several libraries: speed, BLEU, equal answers, size."""
    systems = {
        engine_label(name): {**found, "mb": figures["exports"].get(name, {}).get("mb")}
        for name, found in figures["answers"].items()
    }
    keys = {"sentences/s": "sentences_per_second", "BLEU": "bleu", "equal answers, %": "equal"}
    return parts("beam 5", {**keys, "size, MB": "mb"})(systems)


def engine_label(name: str) -> str:
    """Return a library and the type of its weights, such as "CTranslate2 int8"."""
    library, _, dtype = name.partition("_")
    label = {"ours": OURS, "ctranslate2": "CTranslate2"}.get(library, library)
    return f"{label} {dtype}" if dtype else label


def exports_transformers(figures: Figures) -> tuple[Sequence[str], Rows]:
    """Return the table of the layouts of transformers, each in both directions."""
    rows: Rows = []
    for way in ("exported", "imported"):
        for name, found in figures[way].items():
            numbers = (found[key] for key in ("answers", "not equal", "ties"))
            rows.append((f"{name}, {way}", f"{found['worst']:.1e}", *map(shown, numbers)))
    headings = ("layout", "largest difference of logits", "answers", "not equal", "ties")
    return headings, rows


def export_positions(figures: Figures) -> tuple[Sequence[str], Rows]:
    """Return the table of positions of a translator: scores after the same number of steps."""
    rows = [(name, *found["scores"].values()) for name, found in figures.items()]
    metrics = next(iter(figures.values()))["scores"]
    return aligned(rows, "positions", *map(metric_label, metrics))


def mlflow_models(figures: Figures) -> tuple[Sequence[str], Rows]:
    """Return the table of a registered model in an environment of its own requirements."""
    found = figures["fresh"]
    rows = {
        f"`mlflow models {name}`": {**found, "not equal": n}
        for name, n in found["not equal"].items()
    }
    keys = {"texts": "texts", "not equal": "not equal", "packages": "requirements"}
    keys["size of the model, MB"] = "megabytes"
    return parts("a registered model, against lslm generate", keys)(rows)


def canaries(figures: Figures) -> tuple[Sequence[str], Rows]:
    """Return the table of canaries in a training corpus, by the number of their copies."""
    planted: dict[int, list[Settings]] = {}
    for canary in figures["canaries"]["canaries"]:
        planted.setdefault(canary["copies"], []).append(canary)
    rows = [
        (
            f"{copies}",
            statistics.fmean(each["exposure"] for each in found),
            100 * statistics.fmean(each["greedy"] or each["beam"] for each in found),
        )
        for copies, found in sorted(planted.items())
    ]
    return aligned(rows, "copies", "mean exposure, bits", "extracted, %")


def all_numbers(figures: Figures) -> tuple[Sequence[str], Rows]:
    """Return the table of a benchmark that has no table of its own: the numbers of each part."""
    keys = {
        key: None
        for found in figures.values()
        for key, value in found.items()
        if isinstance(value, int | float)
    }
    return parts("part", {key.replace("_", " "): key for key in keys})(figures)


TABLES: dict[str, tuple[Maker, ...]] = {
    "aeslc": (trained,),
    "an4": (an4,),
    "audit": (
        canaries,
        parts(
            "audit",
            {
                "parameters": "n_parameter",
                "training texts": "n_training_text",
                "seconds": "seconds",
                "processor seconds": "processor_seconds",
            },
            lambda found: "n_parameter" in found,
        ),
    ),
    "beam_speed": (race("transformers' generate", "sentences/s", "transformers"),),
    "chinese_sweep": (sweep,),
    "ctc_speed": (
        one_row(
            "300 frames, beam 10",
            alone="ms",
            together="ms, in a batch",
            plain="ms in plain Python",
            ratio="ratio",
        ),
    ),
    "docstrings": (docstrings,),
    "exports": (exports, equal_texts("onnx", "ONNX in onnxruntime")),
    "exports_gguf": (exports_gguf,),
    "export_positions": (export_positions,),
    "exports_speed": (exports_speed,),
    "exports_transformers": (exports_transformers,),
    "exports_litert": (equal_texts("litert", "LiteRT, without PyTorch"),),
    "mlflow_models": (mlflow_models,),
    "faults": (
        parts(
            "runs that were killed",
            {"runs": "moments", "same result as uninterrupted": "alike"},
            lambda found: "alike" in found,
        ),
    ),
    "fsdd": (trained,),
    "language_sweep": (sweep,),
    "logging_cost": (logging_cost,),
    "lstm_speed": (race("plain loop over torch.nn.LSTM", "tokens/s"),),
    "multi30k": (multi30k,),
    "nanogpt": (trained, race("plain loop over GPT-2", "tokens/s")),
    "ngram": (
        parts(
            "corpus",
            {
                "tokens": "tokens",
                "n-grams": "n_grams",
                "seconds": "seconds",
                "peak memory, MB": "peak_megabytes",
                "words scored per second": "scored_per_second",
                "perplexity": "perplexity",
            },
        ),
    ),
    "poetry": (trained,),
    "prepare": (
        one_row(
            "1 GB of text, 2 workers",
            megabytes_per_second="MB/s",
            one_core="MB/s, one core that only encodes",
            peak_megabytes="peak memory, MB",
        ),
    ),
    "sharded_gpu": (
        parts(
            "model",
            {
                "parameters": "parameters",
                "peak memory, GB": "gigabytes",
                "planned, GB": "planned_gigabytes",
                "tokens/s": "tokens_per_second",
                "planned tokens/s": "planned_tokens_per_second",
            },
            lambda found: "gigabytes" in found,
        ),
    ),
    "significance": (one_row("10,000 resamples", bleu="BLEU, seconds", rougeL="ROUGE-L, seconds"),),
    "squad": (squad,),
    "summarization_sweep": (sweep,),
    "tatoeba": (trained,),
    "loss_memory": (parts("loss", {"peak memory, MB": "megabytes", "nats per token": "nats"}),),
    "train_peers": (contest,),
    "train_speed": (race("plain loop over Marian", "tokens/s"),),
    "translation_sweep": (sweep,),
    "words_sweep": (sweep,),
}
