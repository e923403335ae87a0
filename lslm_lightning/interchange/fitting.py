"""Adaptation of foreign weights and tokenizers to what our tasks expect.

Our tasks have one embedding row for every id of the tokenizer, an id for padding that no text has,
and begin the text of a language model with the id of the end of a text.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lslm_lightning.interchange.parts import ModelParts
from lslm_lightning.models.heads import BLOCKED
from lslm_lightning.text.pretrained import PretrainedTokenizer
from lslm_lightning.text.prompts import NO_PROMPT, Prompt
from lslm_lightning.text.tokenizer import backend_of

EMBEDDING = "embedding.weight"
HEAD = "head.weight"
BIAS = "head.bias"


@dataclass
class FittedModel:
    """Model on its way in.

    Args:
        parts: parts of the model.
        weights: our weights.
        tokenizer: tokenizer whose ids the weights have rows for.
        notes: remarks on what was changed.
        start: id that the model of `transformers` expects before a text.
        adds_start: whether its tokenizer puts it there.
        blocks_padding: whether its search must not write padding.
        prompt: text around its inputs.
    """

    parts: ModelParts
    weights: dict[str, Tensor]
    tokenizer: PretrainedTokenizer
    notes: list[str]
    start: int
    adds_start: bool = False
    blocks_padding: bool = False
    prompt: Prompt = NO_PROMPT

    def tell(self, note: str) -> None:
        """Add a remark."""
        self.notes.append(note)


def fit_tokenizer(tokenizer: PretrainedTokenizer, n_row: int) -> PretrainedTokenizer:
    """Return a tokenizer whose ids are those of the rows of a model, or one more for padding.

    Args:
        n_row: number of embedding rows.

    Raises:
        ValueError: the tokenizer has ids without a row.
    """
    layout = json.loads(tokenizer.to_json())
    roles = layout["roles"]
    known = layout["ids"] or backend_of(json.dumps(layout["source"])).get_vocab()
    n_known = max(known.values()) + 1
    if n_known > n_row:
        raise ValueError(
            f"its tokenizer has ids up to {n_known - 1:,} and its model {n_row:,} rows for them; "
            "save the model again after model.resize_token_embeddings(len(tokenizer))"
        )
    if n_known == n_row or layout["ids"] is not None:
        return tokenizer
    if roles["pad"] >= n_row:
        roles["pad"] = n_row - 1  # a row that no token uses
    backend = backend_of(json.dumps(layout["source"]))
    backend.add_special_tokens([f"<unused_{i}>" for i in range(n_known, n_row)])
    if max(backend.get_vocab().values()) + 1 != n_row:
        raise ValueError(
            f"its tokenizer numbers {n_known:,} tokens with gaps, and its model has {n_row:,} "
            "rows; give the tokenizer a token for each id, and save it again"
        )
    layout["source"] = json.loads(backend.to_str())
    return PretrainedTokenizer.from_json(json.dumps(layout, ensure_ascii=False))


def with_end(tokenizer: PretrainedTokenizer, eos: int) -> PretrainedTokenizer:
    """Return a tokenizer whose texts end with another id."""
    layout = json.loads(tokenizer.to_json())
    layout["roles"]["eos"] = eos
    return PretrainedTokenizer.from_json(json.dumps(layout, ensure_ascii=False))


def add_padding_row(model: FittedModel) -> None:
    """Add a row for the padding of a tokenizer whose model has none; it is never written."""
    n_row = model.parts.vocab_size
    if model.tokenizer.vocab_size == n_row:
        return
    for name in (EMBEDDING, HEAD):
        if name in model.weights:
            weight = model.weights[name]
            model.weights[name] = torch.cat([weight, weight.new_zeros(1, weight.size(1))])
    if BIAS in model.weights:
        bias = model.weights[BIAS]
        model.weights[BIAS] = torch.cat([bias, bias.new_zeros(1)])
    model.parts = replace(model.parts, vocab_size=n_row + 1, blocked_ids=(n_row,))
    model.tell(f"a row for padding was added, with id {n_row}, that is never written")


def block_padding(model: FittedModel) -> None:
    """Keep a model from writing padding, where its search must not."""
    model.blocks_padding = True
    pad = model.tokenizer.pad_id
    bias = bias_of(model).clone()
    bias[pad] = BLOCKED
    model.weights[BIAS] = bias
    model.parts = replace(model.parts, head_bias=True)
    model.tell(f"the bias of the head keeps the model from writing padding, id {pad}")


def bias_of(model: FittedModel) -> Tensor:
    """Return the bias (V,) of the head of a model, zeros if it has none."""
    zeros = model.weights[EMBEDDING].new_zeros(model.parts.vocab_size)
    return model.weights.get(BIAS, zeros)


def begin_with_end(model: FittedModel) -> None:
    """Let the end of a text stand for the start of the next, as in our language models, where a
    model has a start token of its own.

    The vector of the start replaces that of the end among the inputs; a head that shares the
    vectors gets a copy of them first.
    """
    bos, eos = model.start, model.tokenizer.eos_id
    if bos == eos:
        return
    vectors = model.weights[EMBEDDING]
    if model.parts.is_tied:
        model.weights[HEAD] = vectors
        model.parts = replace(model.parts, head="LinearHead")
    model.weights[EMBEDDING] = vectors.clone()
    model.weights[EMBEDDING][eos] = vectors[bos]
    model.tell(
        f"a text begins with the end of the text before it, id {eos}, which has the vector of the "
        f"model's own start, id {bos}"
    )


def without_added_row(
    parts: ModelParts, weights: Mapping[str, Tensor], pad: int
) -> tuple[ModelParts, dict[str, Tensor]]:
    """Return a model without the last row, if that is the padding that `add_padding_row` added.

    Args:
        pad: id of padding.
    """
    if parts.blocked_ids != (pad,) or pad != parts.vocab_size - 1:
        return parts, dict(weights)
    n_row = parts.vocab_size - 1
    rows = {name: weights[name][:n_row] for name in (EMBEDDING, HEAD, BIAS) if name in weights}
    return replace(parts, vocab_size=n_row, blocked_ids=()), {**weights, **rows}
