"""Tokenizers of pretrained models, which use the model's own ids for tokens, start, end and
padding.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import tokenizers

from lslm_lightning.text.tokenizer import Tokenizer, backend_of, size_of
from lslm_lightning.types import Settings

SPACE = "▁"
CODE = re.compile(r">>[^<>\s]+<<")  # of a target language, in multilingual Marian models


class Roles(NamedTuple):
    """Ids that a model uses for padding and for the start and the end of a text.

    The padding id may belong to no token, and may equal the start id.
    """

    pad: int
    bos: int
    eos: int


class PretrainedTokenizer(Tokenizer):
    """Tokenizer with the ids of a pretrained model.

    Its JSON file contains its whole state, including the keys "roles" and "source". Hugging Face
    libraries cannot read that file.

    Args:
        source: backend for source texts.
        roles: ids for padding, start and end.
        target: backend for target texts, if it differs from `source`, as in Marian.
        ids: piece -> id, if the ids of the backends are not the ids of the model.
        before: ids that precede every source text, and every target text: `<s>` for BART, a
            language for NLLB.

    Attributes:
        language_codes: codes of target languages, such as ">>zho<<", that a source may begin with,
            as in multilingual Marian models.
    """

    language_codes: Sequence[str] = ()

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
            self.language_codes = [piece for piece in ids if CODE.fullmatch(piece)]
            self._pieces = {index: piece for piece, index in ids.items() if index not in roles}
        known = (source.get_vocab() if ids is None else ids).values()
        self.vocab_size = size_of([*roles, *known])

    def encode(self, text: str) -> list[int]:
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        if not self.language_codes:
            return self._encode(self._backend, self._before[0], texts)
        codes, rests = zip(*map(self._split_code, texts), strict=True) if texts else ((), ())
        rows = self._encode(self._backend, self._before[0], rests)
        return [[*code, *ids] for code, ids in zip(codes, rows, strict=True)]

    def encode_targets(self, texts: Sequence[str]) -> list[list[int]]:
        return self._encode(self._target, self._before[1], texts)

    def _split_code(self, text: str) -> tuple[list[int], str]:
        """Return the id of the code of a target language that a source begins with, if the
        vocabulary has it, and the text behind it.
        """
        found = CODE.match(text) if self.language_codes else None
        if found is None or self._ids is None or found[0] not in self._ids:
            return [], text
        return [self._ids[found[0]]], text[found.end() :]

    def _encode(
        self, backend: tokenizers.Tokenizer, before: Sequence[int], texts: Sequence[str]
    ) -> list[list[int]]:
        # the fast one does not return tokens
        encode = backend.encode_batch_fast if self._ids is None else backend.encode_batch
        with self._errors():
            encodings = encode(texts, add_special_tokens=False)
        return [[*before, *self._ids_of(encoding)] for encoding in encodings]

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        code, rest = self._split_code(text)
        with self._errors():
            encoding = self._backend.encode(rest, add_special_tokens=False)
        before = self._before[0]
        ids = [*code, *before, *self._ids_of(encoding)]
        n = len(text) - len(rest)
        spans = [(start + n, end + n) for start, end in encoding.offsets]
        return ids, [(0, n)] * len(code) + [(n, n)] * len(before) + spans

    def _ids_of(self, encoding: tokenizers.Encoding) -> list[int]:
        """Return the model's ids for an encoded text."""
        if self._ids is None:
            return encoding.ids
        unknown = self._ids["<unk>"]
        return [self._ids.get(piece, unknown) for piece in encoding.tokens]

    def decode(self, ids: Sequence[int]) -> str:
        if self._ids is None:
            return super().decode(ids)
        return "".join(self._pieces.get(index, "") for index in ids).replace(SPACE, " ").strip()

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self | None:
        """Return the tokenizer stored in a file; None if the file is missing or holds something
        else.

        Raises:
            ValueError: the file holds a tokenizer of this class that is damaged.
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
            raise ValueError(
                f"{path} is not the tokenizer of a pretrained model ({reason}); make it again or "
                "restore a copy"
            ) from None

    @classmethod
    def from_json(cls, text: str) -> Self:
        return cls._build(json.loads(text))

    @classmethod
    def _build(cls, layout: Settings) -> Self:
        """Return the tokenizer described by the parsed JSON `layout`."""
        source, target = (
            layout[name] and backend_of(json.dumps(layout[name])) for name in ("source", "target")
        )
        return cls(source, Roles(**layout["roles"]), target, layout["ids"], layout["before"])
