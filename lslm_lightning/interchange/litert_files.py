"""Files of a model in LiteRT: its graphs, whose inputs have fixed lengths, and their description.

Axes: S source time, T time, D d_model, V vocabulary, G n_kv_head, K d_k or d_v.
"""

import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from lslm_lightning.extras import MissingPackageError
from lslm_lightning.interchange.onnx_files import COPY_INPUTS
from lslm_lightning.interchange.onnx_graphs import (
    DecoderGraph,
    EncoderGraph,
    TracedModel,
    copy_to_trace,
    no_past,
    quiet,
    why,
)
from lslm_lightning.interchange.verification import AnyTask
from lslm_lightning.interchange.written import ids_and_lengths
from lslm_lightning.models.heads import PointerGenerator
from lslm_lightning.safety.user_files import permit_as_usual
from lslm_lightning.types import JsonObject

FILE = "model.tflite"
CONFIG = "config.json"
PACKAGES = ("litert_torch", "ai_edge_litert")
INPUTS: JsonObject = {
    "ids": "int32 (1, length), the tokens so far, the first is bos_id; those behind them are "
    "not seen",
    "logits": "float32 (1, length, vocab_size), scores of the token after each of ids",
}
SOURCE_INPUTS: JsonObject = {
    "source": "int32 (1, source_length), ids of a source up to eos_id, then pad_id",
    "cross_*": "outputs of encode, which decode reads at every step",
}

Runner: TypeAlias = Callable[..., Mapping[str, np.ndarray]]
"""Signature of a model: named arrays in, named arrays out."""


class Lengths(NamedTuple):
    """Fixed lengths of the inputs of a model, in tokens."""

    target: int  # of a text that a language model reads, or that another model writes
    source: int | None = None  # None for a language model


class EncodeSignature(nn.Module):
    """Encoder of one source of fixed length."""

    def __init__(self, model: TracedModel) -> None:
        super().__init__()
        self.traced = EncoderGraph(model)

    def forward(self, source: Tensor) -> dict[str, Tensor]:
        """Return what the decoder needs of a source (1, S) int32: keys and values (1, G, S, K) of
        each layer, and the encoder output (1, S, D) if the head copies from it.
        """
        layers, memory = self.traced(source.long())
        flat = [each for layer in layers for each in layer]
        found = dict(zip(cross_names(len(layers)), flat, strict=True))
        return found if memory is None else {**found, "memory": memory}


class DecodeSignature(nn.Module):
    """Decoder of a whole text of fixed length."""

    def __init__(self, model: TracedModel) -> None:
        super().__init__()
        self.traced = DecoderGraph(model)

    def forward(self, ids: Tensor, **given: Tensor) -> dict[str, Tensor]:
        """Return the logits (1, T, V) after each of `ids` (1, T) int32.

        Args:
            given: the source (1, S) int32 and what `EncodeSignature` returns for it; nothing for a
                language model.
        """
        stack = self.traced.model.decoder
        past = no_past(stack, 1, 0)
        if "source" not in given:
            return {"logits": self.traced(ids.long(), past)[0]}
        flat = [given[name] for name in cross_names(len(past))]
        cross = tuple(zip(flat[::2], flat[1::2], strict=True))
        source = given["source"].long()
        logits, _ = self.traced(ids.long(), past, source, cross, given.get("memory"))
        return {"logits": logits}


class ProductPointerGenerator(PointerGenerator):
    """Pointer-generator head that copies by a matrix product: LiteRT computes no `scatter_add`."""

    def sum_by_token(self, copied: Tensor, ids: Tensor, vocab_size: int) -> Tensor:
        return copied @ (ids[..., None] == torch.arange(vocab_size)).to(copied.dtype)


def cross_names(n_layer: int) -> list[str]:
    """Return the names of the keys and values of the cross-attention of each layer."""
    return [f"cross_{i}_{kind}" for i in range(n_layer) for kind in ("key", "value")]


def check_installed() -> None:
    """Raise ValueError if a package is missing that writes or runs LiteRT."""
    for package in PACKAGES:
        try:
            import_module(package)
        except ImportError:
            raise ValueError(MissingPackageError(package, "the format LiteRT")) from None


def signatures_of(task: AnyTask) -> dict[str, nn.Module]:
    """Return the modules that a model in LiteRT is made from, by the names of its signatures:
    "decode", and "encode" if it has an encoder.

    Args:
        task: task with trained weights, without an adapter, whose backbone is a `Transformer`.
    """
    model = copy_to_trace(task)
    if type(model.head) is PointerGenerator:
        vocab_size, d_model = task.embedding.weight.shape
        head = ProductPointerGenerator(vocab_size, d_model)
        head.load_state_dict(model.head.state_dict())
        model.head = head.eval()
    made: dict[str, nn.Module] = {"decode": DecodeSignature(model).eval()}
    return {"encode": EncodeSignature(model).eval(), **made} if model.has_encoder else made


def write_model(task: AnyTask, lengths: Lengths, folder: Path) -> None:
    """Write model.tflite, and config.json, which describes it, into a folder.

    Args:
        task: as for `signatures_of`.
        lengths: lengths of the inputs.

    Raises:
        ValueError: `litert_torch` cannot trace the model.
    """
    signatures = signatures_of(task)
    given = {"ids": torch.full((1, lengths.target), task.tokenizer.eos_id, dtype=torch.int32)}
    if lengths.source is None:
        inputs = {"decode": given}
    else:
        source = torch.full((1, lengths.source), task.tokenizer.eos_id, dtype=torch.int32)
        with torch.no_grad():
            found = signatures["encode"](source)
        inputs = {"encode": {"source": source}, "decode": {**given, "source": source, **found}}
    convert(signatures, inputs, folder / FILE)
    permit_as_usual(folder / FILE)
    text = json.dumps(description(task, lengths), ensure_ascii=False, indent=2)
    (folder / CONFIG).write_text(f"{text}\n", "utf-8")


def description(task: AnyTask, lengths: Lengths) -> JsonObject:
    """Return the content of config.json: ids and lengths that a program needs to use the model,
    and the meaning of the inputs and outputs of its signatures.
    """
    shared = {**ids_and_lengths(task), "model": FILE, "dtype": "float32"}
    if lengths.source is None:
        return {**shared, "length": lengths.target, "signatures": ["decode"], "inputs": INPUTS}
    copied = COPY_INPUTS if TracedModel(task).copies_source else {}
    return {
        **shared,
        "length": lengths.target,
        "source_length": lengths.source,
        "signatures": ["encode", "decode"],
        "inputs": SOURCE_INPUTS | copied | INPUTS,
    }


def convert(
    signatures: Mapping[str, nn.Module], inputs: Mapping[str, Mapping[str, Tensor]], path: Path
) -> None:
    """Write modules to a file of LiteRT.

    Args:
        signatures: module of each signature.
        inputs: named inputs of each, with which it is traced.

    Raises:
        ValueError: `litert_torch` cannot trace a module.
    """
    import litert_torch

    with quiet(), redirect_stdout(io.StringIO()):
        converter = litert_torch.Converter()
        for name, module in signatures.items():
            converter.add_signature(name, module, sample_kwargs=dict(inputs[name]))
        try:
            converter.convert().export(str(path))
        except (OSError, MemoryError):  # no fault of the model
            raise
        except Exception as error:  # of many kinds, from several libraries
            raise ValueError(why(error, "litert_torch")) from None


def open_model(path: Path) -> dict[str, Runner]:
    """Return the signatures of a file of LiteRT, by name.

    Raises:
        ValueError: LiteRT cannot compute the model; calls of a signature raise it, too.
    """
    from ai_edge_litert.interpreter import Interpreter

    with computing():
        interpreter = Interpreter(str(path), num_threads=torch.get_num_threads())
        names = interpreter.get_signature_list()
        return {name: computing()(interpreter.get_signature_runner(name)) for name in names}


@contextmanager
def computing() -> Iterator[None]:
    """Raise ValueError for an operation that was converted and that LiteRT cannot compute."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"LiteRT cannot compute this model: {reason}") from None
