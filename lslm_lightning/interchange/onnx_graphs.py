"""Graphs of a model in ONNX: what `torch.onnx` traces, and the names of inputs and outputs.

Axes: B sources, S source time, N rows (N = k * B for k beams per source), T time, P past time, D
d_model, G n_kv_head, K d_k, V d_v.
"""

import copy
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch._higher_order_ops.while_loop import while_loop

from lslm_lightning.interchange.verification import AnyTask
from lslm_lightning.models.attention import AttentionContext, KeyValue, SelfAttention
from lslm_lightning.models.backbone import Backbone
from lslm_lightning.models.heads import Projection, Source
from lslm_lightning.models.stack import Stack, causal_mask
from lslm_lightning.training.sequence_to_sequence import SequenceToSequenceTask

OPSET = 20
ENCODER = "encoder.onnx"
DECODER = "decoder.onnx"
GREEDY = "greedy.onnx"
EXAMPLE = {"sources": 2, "source_length": 3, "rows": 4, "length": 2, "past": 3, "wanted": 2}
"""Size of each axis in the inputs that are traced; all of them may differ when a graph is used."""

Layers: TypeAlias = tuple[KeyValue, ...]  # keys and values of each layer
Axes: TypeAlias = dict[int, str]  # names of the axes of a tensor whose sizes may differ


class GraphInput(NamedTuple):
    """Argument of a graph: a tensor, or the keys and values of all layers."""

    argument: str  # of `forward`
    names: list[str]  # of its tensors, in their order
    example: Tensor | Layers
    axes: Axes | tuple[tuple[Axes, Axes], ...]  # of its tensors, nested like them


class TracedModel(nn.Module):
    """Modules of a task that its graphs consist of.

    Args:
        task: task without an adapter, whose backbone is a `Transformer`.
    """

    def __init__(self, task: AnyTask) -> None:
        super().__init__()
        self.backbone: Backbone = task.backbone
        self.embedding: nn.Module = task.embedding
        self.head: nn.Module = task.head
        self.pad_id = task.tokenizer.pad_id
        self.has_encoder = isinstance(task, SequenceToSequenceTask)

    @property
    def copies_source(self) -> bool:
        """True if the head copies tokens of the source."""
        return self.has_encoder and not isinstance(self.head, Projection)

    @property
    def decoder(self) -> Stack:
        """Layers of the decoder."""
        stack = self.backbone.decoder
        assert isinstance(stack, Stack)
        return stack


class EncoderGraph(nn.Module):
    """Encoder, from padded sources to what the decoder needs of them."""

    def __init__(self, model: TracedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, source: Tensor) -> tuple[Layers, Tensor | None]:
        """Return the keys (B, G, S, K) and values (B, G, S, V) of the cross-attention of each
        layer, and the encoder output (B, S, D) if the head copies from it, for sources (B, S).
        """
        model = self.model
        memory = model.backbone.encode(model.embedding(source), source == model.pad_id)
        layers: Layers = model.backbone.precompute_cross_attention(memory)
        return layers, memory if model.copies_source else None


class DecoderGraph(nn.Module):
    """Next T steps of a decoder, given the keys and values of earlier steps."""

    def __init__(self, model: TracedModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        ids: Tensor,
        past: Layers,
        source: Tensor | None = None,
        cross: Layers | None = None,
        memory: Tensor | None = None,
        wanted: Tensor | None = None,
    ) -> tuple[Tensor, Layers]:
        """Return the logits after some of `ids` (N, T) int64, and `past` with the keys and values
        of these ids behind it.

        Args:
            past: keys (N, G, P, K) and values (N, G, P, V) of each layer.
            source: ids (B, S) of the sources; None for a language model.
            cross: keys and values of the cross-attention, from the encoder.
            memory: encoder output (B, S, D), for a head that copies from it.
            wanted: indices (W,) into T of the logits that are returned, which cost most where the
                vocabulary is large; None for all.
        """
        model = self.model
        position = model.decoder.position
        n_past = past[0][0].size(2)
        length = n_past + ids.size(1)
        positions = torch.arange(ids.size(1), device=ids.device) + n_past
        mask = causal_mask(positions, length, position.score_bias(positions, length))
        context = AttentionContext(positions, length, position.rotation(positions), mask, False)
        pad = None if source is None else source == model.pad_id
        seen = None if pad is None else ~pad[:, None, None]
        y, layers = model.decoder(model.embedding(ids), context, past, cross, seen)
        y = y if wanted is None else y.index_select(1, wanted)
        copied = None if source is None or memory is None else Source(memory, source, pad)
        return model.head(y, model.embedding.weight, copied), layers


class GreedyGraph(nn.Module):
    """Greedy search as a whole, with the loop over its steps.

    A step reads the text so far again: the tensors of a loop cannot grow, as keys and values would.
    """

    def __init__(self, model: TracedModel, eos_id: int) -> None:
        super().__init__()
        self.model = model
        self.eos_id = eos_id
        self.encoder = EncoderGraph(model) if model.has_encoder else None
        self.decoder = DecoderGraph(model)

    def forward(self, ids: Tensor, n_given: Tensor, source: Tensor | None = None) -> Tensor:
        """Return `ids` (N, T) int64 with answers in the place of all but the first `n_given` ()
        ids, and `eos_id` behind their ends, for sources (N, S).
        """
        cross, memory = (None, None) if self.encoder is None else self.encoder(source)
        position = torch.arange(ids.size(1), device=ids.device)
        start = torch.where(position < n_given, ids, self.eos_id)
        past = no_past(self.model.decoder, ids.size(0), 0)

        def goes_on(n: Tensor, ids: Tensor, done: Tensor) -> Tensor:
            return (n < ids.size(1)) & ~done.all()

        def step(n: Tensor, ids: Tensor, done: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            logits, _ = self.decoder(ids, past, source, cross, memory, wanted=(n - 1)[None])
            token = torch.where(done, self.eos_id, logits[:, 0].argmax(-1))
            written = torch.where(position == n, token[:, None], ids)
            return n + 1, written, done | (token == self.eos_id)

        done = torch.zeros_like(ids[:, 0], dtype=torch.bool)
        answers: Tensor = while_loop(goes_on, step, (n_given.clone(), start, done))[1]
        return answers


def write_greedy(task: AnyTask, path: Path, dtype: torch.dtype = torch.float32) -> None:
    """Write the graph of a whole greedy search; it computes in float32.

    Args:
        task: task with trained weights, without an adapter, whose backbone is a `Transformer`.
        dtype: type that the weights are rounded to.

    Raises:
        ValueError: `torch.onnx` cannot trace the model.
    """
    model = copy_to_trace(task, dtype)
    eos = task.tokenizer.eos_id
    shape = EXAMPLE["sources"], EXAMPLE["length"] + 1
    ids = torch.full(shape, eos)
    inputs = [
        GraphInput("ids", ["ids"], ids, {0: "rows", 1: "length"}),
        GraphInput("n_given", ["n_given"], torch.tensor(1), {}),
    ]
    if model.has_encoder:
        source = torch.full((EXAMPLE["sources"], EXAMPLE["source_length"] + 1), eos)
        axes: Axes = {0: "rows", 1: "source_length"}
        inputs.append(GraphInput("source", ["source"], source, axes))
    export(GreedyGraph(model, eos), inputs, ["answers"], path)


def write_graphs(task: AnyTask, folder: Path, dtype: torch.dtype = torch.float32) -> None:
    """Write the graphs of a task into a folder: decoder.onnx, and encoder.onnx if it has one. They
    compute in float32.

    Args:
        task: task with trained weights, without an adapter, whose backbone is a `Transformer`.
        dtype: type that the weights are rounded to.

    Raises:
        ValueError: `torch.onnx` cannot trace the model.
    """
    model = copy_to_trace(task, dtype)
    n_layer = len(model.decoder.layers)
    axes: Axes = {0: "rows", 2: "past"}
    past = no_past(model.decoder, EXAMPLE["rows"], EXAMPLE["past"])
    ids = torch.zeros(EXAMPLE["rows"], EXAMPLE["length"], dtype=torch.int64)
    inputs = [
        GraphInput("ids", ["ids"], ids, {0: "rows", 1: "length"}),
        GraphInput("past", layer_names("past", n_layer), past, ((axes, axes),) * n_layer),
    ]
    if model.has_encoder:
        inputs += write_encoder(model, task.tokenizer.eos_id, folder / ENCODER)
    inputs.append(GraphInput("wanted", ["wanted"], torch.arange(EXAMPLE["wanted"]), {0: "wanted"}))
    outputs = ["logits", *layer_names("present", n_layer)]
    export(DecoderGraph(model), inputs, outputs, folder / DECODER)


def copy_to_trace(task: AnyTask, dtype: torch.dtype = torch.float32) -> TracedModel:
    """Return the modules of a task that computes in float32 with its weights rounded to a type."""
    shared = {id(each): nn.Parameter(each.detach()) for each in task.parameters()}
    return copy.deepcopy(TracedModel(task), shared).cpu().to(dtype).float().eval()


def write_encoder(model: TracedModel, eos_id: int, path: Path) -> list[GraphInput]:
    """Write the graph of the encoder of a model; return what the decoder reads at every step: the
    sources, and the outputs of the encoder.

    Args:
        eos_id: id of which the traced sources consist.
    """
    encoder = EncoderGraph(model)
    ids = torch.full((EXAMPLE["sources"], EXAMPLE["source_length"]), eos_id)
    source = GraphInput("source", ["source"], ids, {0: "sources", 1: "source_length"})
    with torch.no_grad():
        cross, memory = encoder(ids)
    axes: Axes = {0: "sources", 2: "source_length"}
    names = layer_names("cross", len(cross))
    found = [GraphInput("cross", names, cross, ((axes, axes),) * len(cross))]
    if memory is not None:
        axes = {0: "sources", 1: "source_length"}
        found.append(GraphInput("memory", ["memory"], memory, axes))
    export(encoder, [source], [name for each in found for name in each.names], path)
    return [source, *found]


def layer_names(prefix: str, n_layer: int) -> list[str]:
    """Return the names of the keys and values of each layer, such as "past.0.key"."""
    return [f"{prefix}.{i}.{kind}" for i in range(n_layer) for kind in ("key", "value")]


def no_past(stack: Stack, n_row: int, n_past: int) -> Layers:
    """Return keys (N, G, P, K) and values (N, G, P, V) for each layer of a stack, all 0."""
    made = []
    for layer in stack.layers:
        attention = layer.self_attention
        assert isinstance(attention, SelfAttention)
        shape = n_row, attention.n_kv_head, n_past
        made.append((torch.zeros(*shape, attention.d_k), torch.zeros(*shape, attention.d_v)))
    return tuple(made)


def export(
    graph: nn.Module, inputs: Sequence[GraphInput], outputs: Sequence[str], path: Path
) -> None:
    """Write the graph of a module to a file.

    Args:
        inputs: its arguments, with which it is traced, in the order of `forward`.
        outputs: name of each output tensor.

    Raises:
        ValueError: it cannot be traced.
    """
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    with quiet():
        try:
            program = torch.onnx.export(
                graph,
                kwargs={each.argument: each.example for each in inputs},
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                dynamic_shapes={each.argument: each.axes for each in inputs},
                input_names=[name for each in inputs for name in each.names],
                output_names=list(outputs),
            )
        except torch.onnx.OnnxExporterError as error:
            raise ValueError(why(error, "torch.onnx")) from None
    assert program is not None
    ClearMetadataAndDocStringPass()(program.model)
    program.save(path)


def why(error: BaseException, package: str) -> str:
    """Return a message about a model that a package cannot trace."""
    while error.__cause__ is not None:
        error = error.__cause__
    reason = str(error).strip().splitlines() or [type(error).__name__]
    return (
        f"{package} cannot trace this model: {reason[0]}; a part of your own must not choose "
        "between operations by the values of tensors; train with the parts of "
        "lslm_lightning.models, or export --to huggingface"
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what the libraries tell their authors, such as that a package with more operators is
    not installed.
    """
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"), torch.no_grad():
            yield
    finally:
        logging.disable(before)
