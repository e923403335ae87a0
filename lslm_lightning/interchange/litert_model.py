"""Model in LiteRT as functions on ids.

Axes: B sources, N rows, S source time, T time, P past time, V vocabulary.
"""

import json
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lslm_lightning.decoding import Greedy, Nested
from lslm_lightning.interchange.litert_files import CONFIG, open_model
from lslm_lightning.interchange.verification import rows_of

Tensors: TypeAlias = tuple[Tensor, ...]


class LiteRtModel:
    """Model in a folder, which LiteRT computes one text after the other.

    Args:
        folder: folder with config.json and the file that it names.
    """

    def __init__(self, folder: Path) -> None:
        self.config = json.loads((folder / CONFIG).read_text("utf-8"))
        self.signatures = open_model(folder / self.config["model"])
        self.names: list[str] = []  # of what decode reads besides ids

    def logits(self, source: Tensor, target: Tensor) -> Tensor:
        """Return the logits (1, T, V) after each of `target` (1, T), given a source (1, S) unless
        it is a language model.
        """
        return self.decode(target, self.encode(source))

    def answers(self, source: Tensor, most: int) -> list[list[int]]:
        """Return the greedy answers to padded sources (B, S), or continuations of texts (B, T) of
        one length, with at most `most` tokens.
        """
        shared = self.encode(source)
        prefix = torch.full((len(source), 1), self.config["bos_id"]) if shared else source
        return rows_of(Greedy()(self.step, prefix, shared, self.config["eos_id"], most))

    def encode(self, source: Tensor) -> Tensors:
        """Return what the decoder reads of padded sources (B, S): their ids, and the outputs of the
        encoder; () for a language model.
        """
        if "encode" not in self.signatures:
            return ()
        rows = fixed(source, self.config["source_length"], self.config["pad_id"])
        found = [{"source": row, **self.signatures["encode"](source=row)} for row in rows]
        self.names = list(found[0])
        return tuple(
            torch.from_numpy(np.concatenate([each[name] for each in found])) for name in self.names
        )

    def step(self, ids: Tensor, state: Nested, shared: Tensors) -> tuple[Tensor, Nested]:
        """Return the logits (N, V) after the last of `ids` (N, T), as `decoding.search.Step`.

        Args:
            state: ids (N, P) before these; None at first.
        """
        text = ids if state is None else torch.cat([state, ids], 1)
        return self.decode(text, shared)[:, -1], text

    def decode(self, ids: Tensor, shared: Tensors) -> Tensor:
        """Return the logits (N, T, V) after each of `ids` (N, T).

        Args:
            shared: what `encode` returns, a row for each of `ids`.
        """
        logits = []
        for i, row in enumerate(fixed(ids, self.config["length"], self.config["eos_id"])):
            given = {name: each[i : i + 1].numpy() for name, each in zip(self.names, shared)}
            logits.append(self.signatures["decode"](ids=row, **given)["logits"])
        return torch.from_numpy(np.concatenate(logits))[:, : ids.size(1)]


def fixed(ids: Tensor, length: int, pad_id: int) -> list[np.ndarray]:
    """Return each row of `ids` (N, T) as an array (1, length) int32, with padding behind it."""
    rows = F.pad(ids, (0, length - ids.size(1)), value=pad_id).to(torch.int32)
    return [row[None].numpy() for row in rows]
