"""Model card of an exported model: README.md."""

import json
from collections.abc import Sequence
from pathlib import Path

from lslm_lightning.contracts import Score
from lslm_lightning.evaluation.scoring import read_scores
from lslm_lightning.interchange.targets import ExportedModel, Target
from lslm_lightning.interchange.verification import Verification, precision_of
from lslm_lightning.runs.directory import RunDirectory
from lslm_lightning.safety.visible_text import one_visible_line
from lslm_lightning.systems.purpose import languages_of_answers

PIPELINES = {
    "translation": "translation",
    "summarization": "summarization",
    "question_answering": "question-answering",
}


def model_card(
    target: Target,
    model: ExportedModel,
    layout: str,
    notes: Sequence[str],
    verification: Verification,
) -> str:
    """Return the text of a model card: scores with their signatures, data and licence, how the
    weights were written, and the comparison with the run.

    Args:
        target: format of the model.
        layout: name of the layout.
        notes: remarks on how what is written differs from the run.
        verification: comparison of the folder with the run.
    """
    directory = model.run.directory
    parts, _ = model.written
    is_causal = parts.kind == "causal"
    languages = languages_of_answers(directory, model.run.config)
    task = model.run.config["model"]["class_path"].split(".")[1]
    pipeline = "text-generation" if is_causal else PIPELINES.get(task, "")
    front = {
        "library_name": target.library,
        **({"pipeline_tag": pipeline} if pipeline else {}),
        **({"language": list(dict.fromkeys(languages))} if languages else {}),
    }
    precision = str(precision_of(model.any_task)).removeprefix("torch.")
    stacks = ", ".join(f"{n} {stack} layers" for stack, n in parts.stacks.items())
    lines = [
        "---",
        *(f"{name}: {json.dumps(value)}" for name, value in front.items()),
        "---",
        "",
        f"# {plain(directory.path.name)}",
        "",
        f"A {parts.kind} Transformer in the layout {layout}: {stacks}, {parts.d_model} wide, "
        f"{parts.n_head} heads, {parts.vocab_size:,} tokens, {model.n_parameter:,} weights "
        f"in {model.dtype}. {origin_of(directory)}",
        "",
        "```python",
        *target.usage_code(model).replace('"TEXT"', before_text(model)).splitlines(),
        "```",
        "",
        "## Scores of the run",
        "",
        *score_lines(directory),
        "",
        "## Data",
        "",
        *data_lines(model),
        "",
        "## Conversion",
        "",
        *(f"- {plain(note)}" for note in notes),
        f"- Compared with the run in {precision}; {verification}.",
        "",
    ]
    return "\n".join(lines)


def before_text(model: ExportedModel) -> str:
    """Return the literal "TEXT" of Python code, behind the prefix of the run."""
    return json.dumps(f"{model.any_task.prompt.prefix}TEXT", ensure_ascii=False)


def origin_of(directory: RunDirectory) -> str:
    """Return a sentence on where the weights of a run come from."""
    record = json.loads(directory.record.read_text("utf-8")) if directory.record.is_file() else {}
    if not (imported := record.get("imported")):
        return "Trained by lslm-lightning."
    name = Path(imported["path"])
    source = name.name if name.is_absolute() or name.exists() else str(name)
    return f"Imported by lslm-lightning from {plain(source)}, and not trained further."


def plain(text: str) -> str:
    """Return a text for a line of Markdown, without control characters and table borders."""
    return one_visible_line(text).replace("|", "\\|").replace("<", "&lt;")


def score_lines(directory: RunDirectory) -> list[str]:
    """Return a table of the test scores of a run, with their signatures."""
    if not directory.metrics.is_file():
        return ["The run was not tested."]
    rows = [score_row(score) for score in read_scores(directory.metrics)]
    return [
        "| metric | score | 95 % interval | examples | signature |",
        "|---|---|---|---|---|",
        *rows,
    ]


def score_row(score: Score) -> str:
    """Return the row of a score."""
    unit = f" {score.unit}" if score.unit else ""
    has_interval = score.low is not None and score.high is not None
    interval = f"{score.low:.4g} to {score.high:.4g}" if has_interval else ""
    cells = (
        score.metric,
        f"{score.value:.4g}{unit}",
        interval,
        f"{score.n_example:,}",
        score.signature,
    )
    return f"| {' | '.join(map(plain, cells))} |"


def data_lines(model: ExportedModel) -> list[str]:
    """Return the corpus of a run, its licence, and the digest of the test set."""
    directory = model.run.directory
    data = model.run.config.get("data") or {}
    corpus = str((data.get("init_args") or {}).get("corpus", "not stated"))
    lines = [
        f"- Corpus: {plain(corpus)}",
        f"- Licence of the corpus: {plain(model.licence)}",
    ]
    if directory.metrics.is_file():
        tested = json.loads(directory.metrics.read_text("utf-8")).get("data", {})
        if digest := tested.get("digest"):
            split = plain(str(tested.get("split", "test")))
            lines.append(f"- Test set: {split}, {plain(str(digest))}")
    return lines
