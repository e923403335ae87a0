"""Lengths, types and remarks of a model that is written for another library."""

import json
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from lslm_lightning.interchange.layouts.bart import N_POSITION
from lslm_lightning.interchange.parts import ModelParts
from lslm_lightning.interchange.prompts import prompt_notes
from lslm_lightning.interchange.search_settings import generation_config, most_new
from lslm_lightning.interchange.targets import ExportedModel
from lslm_lightning.interchange.tokenizer_export import cut_sources, special_ids, write_tokenizer
from lslm_lightning.interchange.verification import AnyTask
from lslm_lightning.training.causal import CausalTask
from lslm_lightning.training.sequence_to_sequence import SequenceToSequenceTask
from lslm_lightning.training.span_model import SpanModel
from lslm_lightning.types import JsonObject

INT8_NOTE = "weights are rounded to 8 bits, and answers may differ from those of the run"


def with_positions(parts: ModelParts, task: object) -> ModelParts:
    """Return the parts of a model with enough positions for its longest texts, where the layout
    stores a table of positions that we compute, or states their number.
    """
    has_no_table = parts.max_positions is not None or parts.position == "RelativeBuckets"
    if not isinstance(task, SequenceToSequenceTask) or has_no_table:
        return parts
    longest = max(task.max_source_length or 0, task.max_length + 1)
    return replace(parts, context=max(N_POSITION, longest))


def longest_input(parts: ModelParts, task: object) -> int | None:
    """Return the largest number of tokens of an input."""
    if isinstance(task, SequenceToSequenceTask):
        limits = (task.max_source_length, parts.max_positions or parts.context)
        return min((limit for limit in limits if limit is not None), default=None)
    return parts.context or parts.max_positions


def ids_and_lengths(task: AnyTask) -> JsonObject:
    """Return what a program needs to use a model whose graphs compute logits: its kind, special
    ids, and lengths.
    """
    tokenizer = task.tokenizer
    positions = task.backbone.max_positions
    shared: JsonObject = {
        "vocab_size": task.embedding.weight.size(0),
        "pad_id": tokenizer.pad_id,
        "eos_id": tokenizer.eos_id,
        "max_positions": positions,
    }
    if isinstance(task, CausalTask):
        more = {"bos_id": tokenizer.eos_id, "max_length": task.max_length, "context": task.context}
        return {"kind": "causal", **shared, **more}
    more = {"bos_id": tokenizer.bos_id, "max_length": most_new(task, positions)}
    return {"kind": "sequence-to-sequence", **shared, **more}


def write_tokenizer_and_search(model: ExportedModel, longest: int | None, folder: Path) -> None:
    """Write the tokenizer of a run, which cuts sources to `longest` tokens, and its search, into a
    folder.

    Raises:
        ValueError: `transformers` has no tokenizer or no search like it.
    """
    task, parts = model.task, model.parts
    ids = special_ids(task.tokenizer, parts.kind, model.written[0].vocab_size)
    write_tokenizer(task.tokenizer, ids, parts.kind, longest, folder)
    if parts.kind != "causal" and longest is not None:
        cut_sources(folder, longest)
    search = generation_config(task, ids, parts.max_positions)
    text = json.dumps(search, ensure_ascii=False, indent=2)
    (folder / "generation_config.json").write_text(f"{text}\n", "utf-8")


def cast_to(name: str, weight: Tensor, dtype: str) -> Tensor:
    """Return a weight in a type.

    Raises:
        ValueError: a value is too large for the type.
    """
    cast = weight.to(getattr(torch, dtype))
    if not torch.isfinite(cast).all():
        raise ValueError(
            f"dtype={dtype} cannot hold the weight {name}, whose largest value is "
            f"{float(weight.abs().max()):.3g}; take bfloat16 or float32"
        )
    return cast.contiguous()


def extra_notes(
    task: AnyTask | SpanModel, parts: ModelParts, has_template: bool = False
) -> list[str]:
    """Return remarks on what a user of the folder must do as the run does, and on lengths that have
    no place in it.

    Args:
        parts: parts that are written.
        has_template: whether the folder holds the chat template of the run.
    """
    if isinstance(task, SpanModel):
        return [*task.answer_rules(), "the pooler of AutoModel has no weights in the folder"]
    notes = prompt_notes(task.prompt, isinstance(task, CausalTask), has_template)
    if isinstance(task, CausalTask):
        notes += [
            f"a text begins with {task.tokenizer.eos_id}, the id of the end of a text, which the "
            "tokenizer adds",
            f"the run reads windows of {parts.context} tokens",
        ]
        return notes
    if task.max_source_length is None and (longest := longest_input(parts, task)) is not None:
        notes.append(f"sources are cut to {longest:,} tokens, as many as there are positions")
    most = most_new(task, parts.max_positions)
    if most < task.max_length:
        notes.append(f"answers have at most {most:,} tokens, as many as there are positions")
    return notes
