"""Model card of an exported model: README.md."""

import json
from collections.abc import Sequence

from lslm_lightning.auditing.card_subject import CardSubject
from lslm_lightning.auditing.cards import english_sections, origin_of
from lslm_lightning.auditing.harness import read_findings
from lslm_lightning.interchange.targets import ExportedModel, Target
from lslm_lightning.interchange.verification import Verification, precision_of
from lslm_lightning.run_files import AUDIT
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
    findings = read_findings(directory.path / AUDIT)
    subject = CardSubject(directory, model.run.config, None, findings, licence=model.licence)
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
        f"# {in_markdown(directory.path.name)}",
        "",
        f"A {parts.kind} Transformer in the layout {layout}: {stacks}, {parts.d_model} wide, "
        f"{parts.n_head} heads, {parts.vocab_size:,} tokens, {model.n_parameter:,} weights "
        f"in {model.dtype}. {in_markdown(origin_of(directory))}",
        "",
        "```python",
        *target.usage_code(model).replace('"TEXT"', before_text(model)).splitlines(),
        "```",
        "",
        *english_sections(subject),
        "## Conversion",
        "",
        *(f"- {in_markdown(note)}" for note in notes),
        f"- Compared with the run in {precision}; {verification}.",
        "",
    ]
    return "\n".join(lines)


def before_text(model: ExportedModel) -> str:
    """Return the literal "TEXT" of Python code, behind the prefix of the run."""
    return json.dumps(f"{model.any_task.prompt.prefix}TEXT", ensure_ascii=False)


def in_markdown(text: str) -> str:
    """Return a text for a line of Markdown, without control characters and table borders."""
    return one_visible_line(text).replace("|", "\\|").replace("<", "&lt;")
