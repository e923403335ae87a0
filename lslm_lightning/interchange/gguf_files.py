"""File of a model in the format GGUF."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lslm_lightning.interchange.gguf_layout import (
    PERMUTED_NOTE,
    add_metadata,
    gguf_layout,
    gguf_weights,
)
from lslm_lightning.interchange.gguf_tokenizer import add_vocabulary, read_vocabulary
from lslm_lightning.interchange.parts import ModelParts
from lslm_lightning.interchange.tokenizer_export import special_ids
from lslm_lightning.interchange.weights import Weights
from lslm_lightning.interchange.written import cast_to
from lslm_lightning.safety.user_files import permit_as_usual
from lslm_lightning.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from gguf import GGMLQuantizationType

TYPES: Mapping[str, tuple[str, str]] = {
    "float32": ("F32", "ALL_F32"),
    "float16": ("F16", "MOSTLY_F16"),
    "bfloat16": ("BF16", "MOSTLY_BF16"),
    "int8": ("Q8_0", "MOSTLY_Q8_0"),
}
"""Type of the matrices in a file, and of the file, by type of the weights."""

DTYPES = tuple(TYPES)
FILE = "model.gguf"
BLOCK = 32  # weights of a row that are rounded to 8 bits together
WIDE_NOTE = (
    "llama.cpp reads this file since its pull request 21245, and llama-cpp-python since version "
    "0.3.21: biases of queries had to be d_model long before"
)
VECTORS_NOTE = "norms and biases stay in float32, as llama.cpp reads them"


def write_file(
    parts: ModelParts,
    ours: Weights,
    tokenizer: Tokenizer,
    layout_name: str,
    dtype: str,
    path: Path,
) -> list[str]:
    """Write a model and its tokenizer into a file; return remarks on how what is written differs
    from our weights.

    Args:
        parts: parts of the model.
        ours: weights by our names.
        layout_name: name of the layout.
        dtype: type of the matrices, one of `DTYPES`.

    Raises:
        ValueError: the format cannot express the model or its tokenizer, or the type cannot hold a
            weight.
    """
    from gguf import GGML_QUANT_VERSION, GGUFWriter, LlamaFileType

    layout = gguf_layout(parts, layout_name)
    ids = special_ids(tokenizer, parts.kind, parts.vocab_size)
    writer = GGUFWriter(path, layout.model_type)
    add_metadata(writer, layout, parts)
    add_vocabulary(writer, read_vocabulary(tokenizer, parts.vocab_size), ids)
    weights = gguf_weights(layout, parts, ours)
    for name, weight in weights.items():
        values, kind = encoded(name, weight, dtype)
        writer.add_tensor(name, values, raw_dtype=kind)
    writer.add_file_type(LlamaFileType[TYPES[dtype][1]])
    writer.add_quantization_version(GGML_QUANT_VERSION)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    permit_as_usual(path)
    notes = [PERMUTED_NOTE] if layout.model_type == "llama" else []
    if parts.attention_bias and parts.n_head * parts.d_k != parts.d_model:
        notes.append(WIDE_NOTE)
    if dtype != "float32":
        notes.append(VECTORS_NOTE)
    stored = [stored_type(weight, dtype) for weight in weights.values()]
    if n_float16 := stored.count("float16") if dtype == "int8" else 0:
        notes.append(
            f"matrices in float16, since their rows are no multiple of {BLOCK} long: {n_float16}"
        )
    return notes


def stored_type(weight: Tensor, dtype: str) -> str:
    """Return the type in which a weight is stored where matrices have a type: a vector is stored in
    float32, and a matrix whose rows are not made of whole blocks in float16 instead of int8.
    """
    if weight.dim() == 1:
        return "float32"
    return "float16" if dtype == "int8" and weight.size(-1) % BLOCK else dtype


def encoded(
    name: str, weight: Tensor, dtype: str
) -> "tuple[npt.NDArray[np.generic], GGMLQuantizationType]":
    """Return a weight as it is stored where matrices have a type, and llama.cpp's name of its type.

    Raises:
        ValueError: a value is too large for the type.
    """
    from gguf import GGMLQuantizationType
    from gguf.quants import quantize

    stored = stored_type(weight, dtype)
    exact = cast_to(name, weight, "float32" if stored == "int8" else stored)
    kind = GGMLQuantizationType[TYPES[stored][0]]
    return quantize(exact.float().cpu().numpy(), kind), kind


def rounded(name: str, weight: Tensor, dtype: str) -> Tensor:
    """Return a weight as it is read from a file where matrices have a type, in its own type."""
    from gguf.quants import dequantize

    return torch.from_numpy(dequantize(*encoded(name, weight, dtype))).to(weight)
