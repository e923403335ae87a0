"""The tokenizer of a pretrained model: its own ids, and its own words for the start, the end and
padding.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import tokenizers

from lslm_lightning.text.tokenizer import Tokenizer, backend_of, size_of

SPACE = "▁"


class Roles(NamedTuple):
    """Which ids a model uses for what. Padding may be an id of no token, and the start of an answer
    may be padding.
    """

    pad: int
    bos: int
    eos: int


class PretrainedTokenizer(Tokenizer):
    """A backend whose ids are those of a pretrained model, or a backend for each side whose pieces
    have these ids.

    Its json holds all of it, beside "roles" and "source": not a file that Hugging Face reads.

    Args:
        target: of the texts to be written, where they have one of their own, as in Marian.
        ids: those of the pieces of both, where they are not the backends' own.
        before: what stands before every text, on either side: `<s>` for BART, a language for NLLB.
            Else ids are plain.
    """

    def __init__(
        self,
        source: tokenizers.Tokenizer,
        roles: Roles,
        target: tokenizers.Tokenizer | None = None,
        ids: Mapping[str, int] | None = None,
        before: tuple[Sequence[int], Sequence[int]] = ((), ()),
    ) -> None:
        parts = {"source": source, "target": target}
        layout = {name: part and json.loads(part.to_str()) for name, part in parts.items()}
        self._json = json.dumps(
            {"roles": roles._asdict(), "ids": ids and dict(ids), "before": before, **layout},
            ensure_ascii=False,
        )
        self.digest = hashlib.sha256(self._json.encode()).hexdigest()
        self._take(source)
        self.pad_id, self.bos_id, self.eos_id = roles
        self._ids = ids
        self._target = target or source
        self._before = before
        self._target.encode_special_tokens = True
        if ids is not None:
            self.unk_id = ids["<unk>"]
            self._pieces = {index: piece for piece, index in ids.items() if index not in roles}
        known = (source.get_vocab() if ids is None else ids).values()
        self.vocab_size = size_of([*roles, *known])

    def encode(self, text: str) -> list[int]:
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        return self._encode(self._backend, self._before[0], texts)

    def encode_targets(self, texts: Sequence[str]) -> list[list[int]]:
        return self._encode(self._target, self._before[1], texts)

    def _encode(
        self, backend: tokenizers.Tokenizer, before: Sequence[int], texts: Sequence[str]
    ) -> list[list[int]]:
        # the fast one does not spell its tokens
        encode = backend.encode_batch_fast if self._ids is None else backend.encode_batch
        with self._errors():
            encodings = encode(texts, add_special_tokens=False)
        return [[*before, *self._numbers(found)] for found in encodings]

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        with self._errors():
            encoding = self._backend.encode(text, add_special_tokens=False)
        before = self._before[0]
        return [*before, *self._numbers(encoding)], [(0, 0)] * len(before) + encoding.offsets

    def _numbers(self, encoding: tokenizers.Encoding) -> list[int]:
        return (
            encoding.ids
            if self._ids is None
            else [self._ids.get(piece, self.unk_id) for piece in encoding.tokens]
        )

    def decode(self, ids: Sequence[int]) -> str:
        if self._ids is None:
            return super().decode(ids)
        return "".join(self._pieces.get(index, "") for index in ids).replace(SPACE, " ").strip()

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self | None:
        """Return the tokenizer of a file; None of one that is missing, or holds something else.

        Raises:
            ValueError: it is one of this kind, and damaged.
        """
        try:
            layout = json.loads(Path(path).read_text("utf-8"))
        except (OSError, ValueError, RecursionError):
            return None
        if not isinstance(layout, dict) or "roles" not in layout:
            return None
        try:
            return cls._build(layout)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            words = f"is not the tokenizer of a pretrained model ({reason})"
            raise ValueError(f"{path} {words}; make it again or restore a copy") from None

    @classmethod
    def from_json(cls, text: str) -> Self:
        return cls._build(json.loads(text))

    @classmethod
    def _build(cls, layout: Mapping) -> Self:
        source, target = (
            layout[name] and backend_of(json.dumps(layout[name])) for name in ("source", "target")
        )
        return cls(source, Roles(**layout["roles"]), target, layout["ids"], layout["before"])
