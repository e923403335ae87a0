"""The project's tokenizer class, based on Hugging Face `tokenizers`.

`encode` never adds `<s>` or `</s>`, and text that looks like a special token stays text. The whole
state is one `tokenizer.json`.
"""

import hashlib
import json
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Self

import tokenizers
from tokenizers.pre_tokenizers import ByteLevel

from lslm_lightning.files import atomic_write
from lslm_lightning.types import JsonObject

# Names of the token of each role, in our own tokenizers (first) and in well-known foreign ones.
ROLES = {
    "pad": ("<pad>", "[PAD]", "<|pad|>", "<|finetune_right_pad_id|>"),
    "bos": (
        "<s>",
        "[CLS]",
        "<bos>",
        "[BOS]",
        "<|begin_of_text|>",
        "<|startoftext|>",
        "<|endoftext|>",
    ),
    "eos": ("</s>", "[SEP]", "<eos>", "[EOS]", "<|end_of_text|>", "<|endoftext|>"),
}
UNKNOWN = ("<unk>", "[UNK]", "<|unk|>")
MAX_HOLES = 100_000  # ids without a token; a model has a row for each


class Frame(NamedTuple):
    """Ids to put around two texts that a network reads as one input.

    `before` precedes the first text, `between` separates the texts, and `behind` follows the
    second. `kinds` holds two segment ids, for networks that read them: the first for all ids up to
    and including `between`, the second for the rest.
    """

    before: list[int]
    between: list[int]
    behind: list[int]
    kinds: tuple[int, int]


class Tokenizer:
    """Tokenizer of text to ids and back, built by a recipe (`text/recipes.py`) or by
    `load_tokenizer`.

    Attributes:
        unk_id: id of unknown text; None if every text has ids of its own.
        knows_all_bytes: whether the vocabulary has a token for every byte.
        lossless: whether `decode(encode(text)) == text` for every text.
        kind: family: "byte-bpe", "bytes", "unigram", "characters", "words", "bpe" or "wordpiece".
        digest: SHA-256, in hex, of the JSON.
    """

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        missing = [role for role, names in ROLES.items() if find_token(backend, names) is None]
        if missing:
            raise ValueError(
                f"the tokenizer has no token for {' and '.join(missing)}; adopt it with the "
                "recipe TokenizerFile, which adds them"
            )
        self._json = backend.to_str()
        self.digest = hashlib.sha256(self._json.encode()).hexdigest()
        vocabulary = backend.get_vocab()
        self.vocab_size = size_of(vocabulary.values())
        self.pad_id, self.bos_id, self.eos_id = (
            vocabulary[find_token(backend, names) or ""] for names in ROLES.values()
        )
        self._take(backend)

    def _take(self, backend: tokenizers.Tokenizer) -> None:
        """Store a backend, and derive `kind`, `knows_all_bytes`, `lossless` and `unk_id` from
        it.
        """
        self._backend = backend
        self._backend.encode_special_tokens = True  # not stored in the json
        layout = json.loads(backend.to_str())
        self.kind = _kind(layout)
        self.knows_all_bytes = _knows_all_bytes(layout)
        self.lossless = self.knows_all_bytes and _is_lossless(layout)
        unknown = layout["model"].get("unk_token") or find_token(backend, UNKNOWN)
        self.unk_id: int | None = (
            None if self.knows_all_bytes or unknown is None else backend.token_to_id(unknown)
        )

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, without `<s>` and `</s>`."""
        with self._errors():
            return self._backend.encode(text, add_special_tokens=False).ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text as `encode` does, computed on all CPU cores."""
        with self._errors():
            encodings = self._backend.encode_batch_fast(texts, add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def encode_with_special_tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text; names of special tokens in it are these tokens."""
        with self._errors():
            encodings = self._unguarded.encode_batch_fast(texts, add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    @cached_property
    def _unguarded(self) -> tokenizers.Tokenizer:
        """Backend that reads names of special tokens as these tokens."""
        return backend_of(self._backend.to_str())

    def entries(self) -> dict[int, str]:
        """Return id -> token in order of ids, without special tokens and `<unk>`.

        Tokens have the form in which the vocabulary stores them.
        """
        special = {token.content for token in self._backend.get_added_tokens_decoder().values()}
        entries = sorted(
            (i, token)
            for token, i in self._backend.get_vocab().items()
            if token not in special and i != self.unk_id
        )
        return dict(entries)

    def encode_targets(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of target texts.

        A pretrained translation model may tokenize target texts differently from source texts.
        """
        return self.encode_batch(texts)

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Return the ids of a text, and the character offsets [start, end) of each id in `text`.

        Tokens that are parts of the same character have equal offsets.
        """
        with self._errors():
            encoding = self._backend.encode(text, add_special_tokens=False)
        return encoding.ids, encoding.offsets

    def frame(self) -> Frame:
        """Return the ids to put around a pair of texts.

        These are the ids that the tokenizer itself adds, such as BERT's `[CLS]` and `[SEP]`; if it
        adds none, `<s>` before, `</s>` between and `</s>` behind.
        """
        with self._errors():
            pair = self._backend.encode("a", "a", add_special_tokens=True)
        ids = pair.ids
        owners = pair.sequence_ids
        kinds = pair.type_ids
        if not {0, 1} <= set(owners) or owners[0] is not None:
            return Frame([self.bos_id], [self.eos_id], [self.eos_id], (0, 1))
        first = owners.index(0)
        second = owners.index(1)
        ends = [len(owners) - owners[::-1].index(owner) for owner in (0, 1)]
        return Frame(
            ids[:first], ids[ends[0] : second], ids[ends[1] :], (kinds[first], kinds[second])
        )

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids: special tokens are skipped, `<unk>` is kept, and invalid UTF-8
        becomes U+FFFD.
        """
        with self._errors():
            return self._backend.decode(ids, skip_special_tokens=True)

    def name(self, id: int) -> str:
        """Return the name of an id in the vocabulary; "" if there is no such id."""
        return self._backend.id_to_token(id) or ""

    def _errors(self) -> AbstractContextManager[None]:
        """Return a context manager that converts errors of the backend to ValueError."""
        return rust_errors(f"{self!r} fails", "it is damaged, or has no token for unknown text")

    def to_json(self) -> str:
        """Return the content of `tokenizer.json`."""
        return self._json

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `tokenizer.json` atomically."""
        atomic_write(Path(path), self._json)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the tokenizer for the content `text` of a `tokenizer.json` file."""
        return cls(backend_of(text))

    def __reduce__(self) -> tuple[Callable[[str], Self], tuple[str]]:
        return type(self).from_json, (self._json,)

    def __repr__(self) -> str:
        return f"Tokenizer({self.kind}, vocab_size={self.vocab_size}, digest={self.digest[:8]})"


@contextmanager
def rust_errors(what: str, way_out: str) -> Iterator[None]:
    """Convert errors of Rust code, which are bare `Exception`s or panics, to ValueError.

    Args:
        what: description of the failure, the start of the message.
        way_out: advice, the end of the message.

    Raises:
        ValueError: Rust code failed; the message is one line with the reason.
    """
    try:
        yield
    except BaseException as error:
        if type(error) is not Exception and type(error).__name__ != "PanicException":
            raise
        reason = " ".join(str(error).split()) or "no reason given"
        raise ValueError(f"{what} ({reason[:300]}); {way_out}") from None


def backend_of(text: str) -> tokenizers.Tokenizer:
    """Return the Hugging Face tokenizer for the content `text` of a `tokenizer.json` file.

    Raises:
        ValueError: the text does not describe a tokenizer.
    """
    with rust_errors(
        "no tokenizer.json of Hugging Face tokenizers", "make it again or restore a copy"
    ):
        return tokenizers.Tokenizer.from_str(text)


def size_of(ids: Collection[int]) -> int:
    """Return the number of embedding rows that a model needs for these ids, which may have gaps.

    Raises:
        ValueError: there are no ids, an id is negative, or the gaps are too large.
    """
    size = max(ids, default=-1) + 1
    if not ids or min(ids) < 0 or size > 4 * len(ids) + MAX_HOLES:
        raise ValueError(
            f"{len(ids):,} tokens have ids up to {size - 1:,}: a model would need a row for each; "
            "number its tokens from 0"
        )
    return size


def read_backend(path: str | os.PathLike[str]) -> tokenizers.Tokenizer:
    """Return the Hugging Face tokenizer of a tokenizer.json file, with truncation and padding
    disabled.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file holds no tokenizer; the message is one line.
    """
    try:
        backend = backend_of(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path} is missing: expected a tokenizer.json of Hugging Face tokenizers"
        ) from None
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not a tokenizer.json of Hugging Face tokenizers ({error})"
        ) from None
    except ValueError as error:
        raise ValueError(
            f"{path} is {str(error).replace('no tokenizer', 'not a tokenizer', 1)}"
        ) from None
    backend.no_padding()
    backend.no_truncation()
    return backend


def find_token(backend: tokenizers.Tokenizer, names: Sequence[str]) -> str | None:
    """Return the first of `names` that is a token of the backend's vocabulary, or None."""
    return next((name for name in names if backend.token_to_id(name) is not None), None)


def steps_of(layout: JsonObject, part: str) -> list[JsonObject]:
    """Return the normalizers, pre-tokenizers or decoders in a parsed tokenizer.json; a sequence is
    expanded.

    Args:
        part: key of the steps, such as "pre_tokenizer".
    """
    step = layout[part]
    if step is None:
        return []
    return step[part.replace("_", "") + "s"] if step["type"] == "Sequence" else [step]


def _kind(layout: JsonObject) -> str:
    """Return the family of a tokenizer, such as "byte-bpe", from its parsed tokenizer.json."""
    model = layout["model"]
    byte_level = any(step["type"] == "ByteLevel" for step in steps_of(layout, "pre_tokenizer"))
    if model["type"] == "BPE" and byte_level:
        return "byte-bpe" if model["merges"] else "bytes"
    if model["type"] == "BPE":
        return "bpe" if model["merges"] else "characters"
    return {"WordLevel": "words", "Unigram": "unigram", "WordPiece": "wordpiece"}[model["type"]]


def _knows_all_bytes(layout: JsonObject) -> bool:
    """Return whether the tokenizer is byte-level and has a token for every byte."""
    model = layout["model"]
    steps = steps_of(layout, "pre_tokenizer")
    return (
        model["type"] == "BPE"
        and set(ByteLevel.alphabet()) <= set(model["vocab"])
        and not (model["continuing_subword_prefix"] or model["end_of_word_suffix"])
        and any(step["type"] == "ByteLevel" for step in steps)
    )


def _is_lossless(layout: JsonObject) -> bool:
    """Return whether no step of a byte-level tokenizer adds or removes text."""
    steps = steps_of(layout, "pre_tokenizer")
    return (
        not steps_of(layout, "normalizer")
        and all(step["type"] in ("ByteLevel", "Split", "Digits", "Punctuation") for step in steps)
        and not any(
            step.get("add_prefix_space") or step.get("behavior") == "Removed" for step in steps
        )
        and [step["type"] for step in steps_of(layout, "decoder")] == ["ByteLevel"]
        and not any(
            token["lstrip"] or token["rstrip"]
            for token in layout["added_tokens"]
            if not token["special"]
        )
    )
