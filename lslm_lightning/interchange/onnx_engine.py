"""onnxruntime as an engine: the steps of a model in ONNX, under our own searches.

Axes: B sources, N rows (N = k * B for k beams per source), S source time, T time, V vocabulary.
"""

import json
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from lslm_lightning.adapters import merged
from lslm_lightning.decoding import Decoded, Nested, Search
from lslm_lightning.decoding.engine import InferenceEngine
from lslm_lightning.interchange.onnx_files import CONFIG, check_installed, write_model
from lslm_lightning.interchange.parts import read_parts
from lslm_lightning.interchange.verification import writing
from lslm_lightning.training.batches import padded

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Tensors: TypeAlias = tuple[Tensor, ...]
MOST_LOGITS = 2**24  # numbers that one call of the decoder returns where texts are scored
MOST_TOKENS = 256  # tokens of a row that one call reads of a prompt
TEXTS_AT_ONCE = 32  # texts that are scored together


class OnnxRuntimeEngine(InferenceEngine):
    """Model in a folder with graphs in ONNX.

    Args:
        folder: folder with config.json and the graphs that it names.
    """

    name = "onnxruntime"

    def __init__(self, folder: Path) -> None:
        import onnxruntime

        self.version = onnxruntime.__version__
        config = json.loads((folder / CONFIG).read_text("utf-8"))
        self.dtype = config["dtype"]
        self.pad_id: int = config["pad_id"]
        self.bos_id: int = config["bos_id"]
        self.eos_id: int = config["eos_id"]
        self.max_positions: int | None = config["max_positions"]
        self.vocab_size: int = config["vocab_size"]
        self.n_byte = sum(path.stat().st_size for path in folder.glob("*.onnx*"))
        self.encoder = open_graph(folder / config["encoder"]) if "encoder" in config else None
        self.decoder = open_graph(folder / config["decoder"])
        inputs = self.decoder.get_inputs()
        self.past = [each for each in inputs if each.name.startswith("past.")]
        names = {each.name for each in self.past} | {"ids", "wanted"}
        self.shared = [each.name for each in inputs if each.name not in names]

    @classmethod
    def of_task(cls, task: nn.Module, dtype: str, device: str = "cpu") -> Self:
        check_installed()
        if device != "cpu":
            raise ValueError(
                f"device={device}: the engine onnxruntime computes on the CPU; take device=cpu "
                "(--device cpu), or the engine ctranslate2"
            )
        made = writing(merged(task) if getattr(task, "adapter", None) is not None else task)
        read_parts(made)
        with tempfile.TemporaryDirectory(prefix="lslm-onnx-") as folder:
            write_model(made, dtype, Path(folder))
            return cls(Path(folder))

    def check_search(self, search: Search, min_length: int = 0) -> None:
        pass  # our searches run over its steps

    def find_answers(
        self,
        rows: Sequence[Sequence[int]],
        search: Search,
        max_length: int,
        min_length: int = 0,
        n_best: int = 1,
        generator: torch.Generator | None = None,
    ) -> Decoded:
        if self.encoder is None:
            prefix = padded(rows, self.pad_id)
            shared: Tensors = ()
        else:
            prefix = torch.full((len(rows), 1), self.bos_id)
            shared = self.encode(rows)
        length = torch.tensor([len(row) for row in rows]) if self.encoder is None else None
        find = search if n_best == 1 else partial(search, n_best=n_best)
        return find(
            self.step,
            prefix,
            shared,
            self.eos_id,
            max_length,
            min_length,
            prefix_length=length,
            generator=generator,
        )

    def encode(self, rows: Sequence[Sequence[int]]) -> Tensors:
        """Return what the decoder reads of sources at every step: their padded ids (B, S), and the
        outputs of the encoder.
        """
        assert self.encoder is not None
        source = padded(rows, self.pad_id)
        self.check_length(source.size(1))
        return source, *map(torch.from_numpy, self.encoder.run(None, {"source": source.numpy()}))

    def encode_each(self, rows: Sequence[tuple[int, ...]]) -> Tensors:
        """Return what `encode` does, after it has encoded equal sources once."""
        different = list(dict.fromkeys(rows))
        index = torch.tensor([different.index(row) for row in rows])
        return tuple(each[index] for each in self.encode(different))

    def step(self, ids: Tensor, state: Nested, shared: Nested) -> tuple[Tensor, Nested]:
        """Return the logits (N, V) after the last of `ids` (N, T), as `decoding.search.Step`."""
        for piece in ids.split(MOST_TOKENS, 1):
            last = torch.tensor([piece.size(1) - 1])
            logits, state = self.decode(piece, state, shared, last)
        return logits[:, 0], state

    def decode(
        self, ids: Tensor, state: Tensors | None, shared: Tensors, wanted: Tensor | None = None
    ) -> tuple[Tensor, Tensors]:
        """Return the logits (N, W, V) after some of `ids` (N, T), and the new state.

        Args:
            state: keys and values of each layer for earlier ids; None at first.
            shared: what `encode` returns; () for a language model.
            wanted: indices (W,) of the logits; None for all.
        """
        if state is None:
            state = tuple(
                torch.zeros(len(ids), each.shape[1], 0, each.shape[3]) for each in self.past
            )
        self.check_length(state[0].size(2) + ids.size(1))
        wanted = torch.arange(ids.size(1)) if wanted is None else wanted
        names = ["ids", "wanted", *(each.name for each in self.past), *self.shared]
        tensors = (ids, wanted, *state, *shared)
        inputs = {
            name: tensor.contiguous().numpy() for name, tensor in zip(names, tensors, strict=True)
        }
        logits, *after = map(torch.from_numpy, self.decoder.run(None, inputs))
        return logits, tuple(after)

    def check_length(self, n: int) -> None:
        """Raise ValueError if the model has fewer than `n` positions."""
        if self.max_positions is not None and n > self.max_positions:
            raise ValueError(
                f"a text of {n} tokens is longer than the positions of the model, max_length="
                f"{self.max_positions}; shorten it, or train with more positions"
            )

    def nats(
        self, rows: Sequence[Sequence[int]], targets: Sequence[Sequence[int]] | None = None
    ) -> list[np.ndarray]:
        texts = rows if targets is None else targets
        sources = [() if targets is None else tuple(row) for row in rows]
        nats = [np.zeros(0)] * len(texts)
        order = by_source(sources, [len(text) for text in texts])
        while order:
            longest = max(len(texts[i]) for i in order[:TEXTS_AT_ONCE])
            n = max(1, min(TEXTS_AT_ONCE, MOST_LOGITS // (longest * self.vocab_size)))
            chunk, order = order[:n], order[n:]
            shared = () if targets is None else self.encode_each([sources[i] for i in chunk])
            ids = padded([texts[i] for i in chunk], self.pad_id)
            logits, _ = self.decode(ids[:, :-1], None, shared)
            log_p = logits.log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
            for i, row in zip(chunk, log_p.double().numpy(), strict=True):
                nats[i] = -row[: len(texts[i]) - 1]
        return nats

    def logits(self, source: Tensor, target: Tensor) -> Tensor:
        """Return the logits (1, T, V) after each of `target` (1, T), given a source (1, S) unless
        it is a language model.
        """
        shared = () if self.encoder is None else self.encode(source.tolist())
        return self.decode(target, None, shared)[0]


def by_source(sources: Sequence[tuple[int, ...]], lengths: Sequence[int]) -> list[int]:
    """Return the indices of texts by decreasing length, those with equal sources together: at the
    place of the longest of them.
    """
    longest: dict[tuple[int, ...], int] = {}
    for source, length in zip(sources, lengths, strict=True):
        longest[source] = max(longest.get(source, 0), length)
    return sorted(
        range(len(sources)), key=lambda i: (-longest[sources[i]], sources[i], -lengths[i])
    )


def open_graph(path: Path) -> "InferenceSession":
    """Return a graph that can be run, with as many threads as PyTorch has."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors, which are raised too
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
