"""Model of a run as it is written for another library: its parts, its weights, its lengths."""

from dataclasses import replace

import torch
from torch import Tensor

from lslm_lightning.interchange.fitting import has_padding_row, without_padding_row
from lslm_lightning.interchange.layouts.bart import N_POSITION
from lslm_lightning.interchange.parts import ModelParts
from lslm_lightning.interchange.targets import ExportedModel
from lslm_lightning.interchange.verification import AnyTask
from lslm_lightning.training.sequence_to_sequence import SequenceToSequenceTask


def written_model(task: AnyTask, parts: ModelParts) -> tuple[ModelParts, dict[str, Tensor]]:
    """Return the parts and the weights that are written: those of the run, without a row for
    padding that an import added.
    """
    weights = task.state_dict()
    if has_padding_row(parts, weights, task.tokenizer.pad_id):
        return without_padding_row(parts, weights)
    return parts, weights


def with_positions(parts: ModelParts, task: object) -> ModelParts:
    """Return the parts of a model with enough positions for its longest texts, where the layout
    stores a table of positions that we compute.
    """
    if not isinstance(task, SequenceToSequenceTask) or parts.max_positions is not None:
        return parts
    longest = max(task.max_source_length or 0, task.max_length + 1)
    return replace(parts, context=max(N_POSITION, longest))


def longest_input(parts: ModelParts, task: object) -> int | None:
    """Return the largest number of tokens of an input."""
    if isinstance(task, SequenceToSequenceTask):
        limits = (task.max_source_length, parts.max_positions or parts.context)
        return min((limit for limit in limits if limit is not None), default=None)
    return parts.context


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


def extra_notes(model: ExportedModel) -> list[str]:
    """Return remarks on what a user of the folder must do as the run does."""
    if model.parts.kind == "causal":
        return [
            f"a text begins with {model.task.tokenizer.eos_id}, the id of the end of a text, which "
            "the tokenizer adds",
            f"the run reads windows of {model.parts.context} tokens",
        ]
    return []
