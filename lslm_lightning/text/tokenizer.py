"""The project's tokenizer: Hugging Face `tokenizers` behind a few promises.

Ids are plain: no `<s>` or `</s>` is ever added, and text that looks like a special token stays
text. All state is one `tokenizer.json`.
"""

import hashlib
import json
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
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
    """Ids around two texts that are read as one: before the first, between them, and behind the
    second.

    `kinds` are the segment ids, where a network reads them: of all ids up to and with those between
    the texts, and of the rest.
    """

    before: list[int]
    between: list[int]
    behind: list[int]
    kinds: tuple[int, int]


class Tokenizer:
    """Tokenizer of text to ids and back, built by a recipe (`text/recipes.py`) or read by
    `load_tokenizer`.

    `unk_id` is None where every text has ids of its own, as where `knows_all_bytes`.
    `lossless` promises more: `decode(encode(text)) == text` for every text. `kind` is the family
    ("byte-bpe", "bytes", "unigram", "characters", "words", "bpe", "wordpiece"); `digest` the sha256
    of the json.
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
        """Take a backend, and set the attributes that say what it can do."""
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
        """Return the ids of each text as `encode` does, on all cores."""
        with self._errors():
            encodings = self._backend.encode_batch_fast(texts, add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def entries(self) -> dict[int, str]:
        """Return id -> token as the vocabulary has it, without special tokens and `<unk>`, in the
        order of ids.
        """
        special = {token.content for token in self._backend.get_added_tokens_decoder().values()}
        entries = sorted(
            (i, token)
            for token, i in self._backend.get_vocab().items()
            if token not in special and i != self.unk_id
        )
        return dict(entries)

    def encode_targets(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of texts to be written: a pretrained translator may have other pieces for
        them than for texts to be read.
        """
        return self.encode_batch(texts)

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Return the ids, and for each its character offsets [start, end) in `text`; parts of one
        character share its offsets.
        """
        with self._errors():
            encoding = self._backend.encode(text, add_special_tokens=False)
        return encoding.ids, encoding.offsets

    def frame(self) -> Frame:
        """Return the ids around a pair of texts: those that the tokenizer itself adds, as BERT's
        `[CLS]` and `[SEP]`; else `<s>`, `</s>` and `</s>`.
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
        """Return the text of ids: special tokens are skipped, `<unk>` is kept, broken UTF-8 becomes
        U+FFFD.
        """
        with self._errors():
            return self._backend.decode(ids, skip_special_tokens=True)

    def _errors(self) -> AbstractContextManager[None]:
        """Return a context that turns errors of the backend into ValueError."""
        return rust_errors(f"{self!r} fails", "it is damaged, or has no token for unknown text")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the tokenizer as `tokenizer.json`, as a whole or not at all."""
        atomic_write(Path(path), self._json)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the tokenizer that the content of a `tokenizer.json` describes."""
        return cls(backend_of(text))

    def __reduce__(self) -> tuple[Callable[[str], Self], tuple[str]]:
        return type(self).from_json, (self._json,)

    def __repr__(self) -> str:
        return f"Tokenizer({self.kind}, vocab_size={self.vocab_size}, digest={self.digest[:8]})"


@contextmanager
def rust_errors(what: str, way_out: str) -> Iterator[None]:
    """Turn errors of Rust code, which are bare `Exception` or panics, into ValueError.

    Raises:
        ValueError: of one line: `what`, the reason, `way_out`.
    """
    try:
        yield
    except BaseException as error:
        if type(error) is not Exception and type(error).__name__ != "PanicException":
            raise
        reason = " ".join(str(error).split()) or "no reason given"
        raise ValueError(f"{what} ({reason[:300]}); {way_out}") from None


def backend_of(text: str) -> tokenizers.Tokenizer:
    """Return the Hugging Face tokenizer that the content of a `tokenizer.json` describes.

    Raises:
        ValueError: it describes none.
    """
    with rust_errors(
        "no tokenizer.json of Hugging Face tokenizers", "make it again or restore a copy"
    ):
        return tokenizers.Tokenizer.from_str(text)


def size_of(ids: Collection[int]) -> int:
    """Return the number of rows that a model needs for these ids, which may have gaps.

    Raises:
        ValueError: there are no ids, a negative one, or far fewer than the largest.
    """
    size = max(ids, default=-1) + 1
    if not ids or min(ids) < 0 or size > 4 * len(ids) + MAX_HOLES:
        raise ValueError(
            f"{len(ids):,} tokens have ids up to {size - 1:,}: a model would need a row for each; "
            "number its tokens from 0"
        )
    return size


def read_backend(path: str | os.PathLike[str]) -> tokenizers.Tokenizer:
    """Return the Hugging Face tokenizer of a json file, without truncation and padding.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file holds no tokenizer, in one line.
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
    """Return the first of `names` that is in the vocabulary, or None."""
    return next((name for name in names if backend.token_to_id(name) is not None), None)


def _steps(layout: JsonObject, part: str) -> list[JsonObject]:
    """Return the normalizers, pre-tokenizers or decoders of a tokenizer.json, a sequence as its
    members.
    """
    step = layout[part]
    if step is None:
        return []
    return step[part.replace("_", "") + "s"] if step["type"] == "Sequence" else [step]


def _kind(layout: JsonObject) -> str:
    """Return the kind of a tokenizer; see `Tokenizer`."""
    model = layout["model"]
    byte_level = any(step["type"] == "ByteLevel" for step in _steps(layout, "pre_tokenizer"))
    if model["type"] == "BPE" and byte_level:
        return "byte-bpe" if model["merges"] else "bytes"
    if model["type"] == "BPE":
        return "bpe" if model["merges"] else "characters"
    return {"WordLevel": "words", "Unigram": "unigram", "WordPiece": "wordpiece"}[model["type"]]


def _knows_all_bytes(layout: JsonObject) -> bool:
    """Return whether the vocabulary has a token for every byte."""
    model = layout["model"]
    steps = _steps(layout, "pre_tokenizer")
    return (
        model["type"] == "BPE"
        and set(ByteLevel.alphabet()) <= set(model["vocab"])
        and not (model["continuing_subword_prefix"] or model["end_of_word_suffix"])
        and any(step["type"] == "ByteLevel" for step in steps)
    )


def _is_lossless(layout: JsonObject) -> bool:
    """Return whether no step of a tokenizer that knows all bytes adds or drops any text."""
    steps = _steps(layout, "pre_tokenizer")
    return (
        not _steps(layout, "normalizer")
        and all(step["type"] in ("ByteLevel", "Split", "Digits", "Punctuation") for step in steps)
        and not any(
            step.get("add_prefix_space") or step.get("behavior") == "Removed" for step in steps
        )
        and [step["type"] for step in _steps(layout, "decoder")] == ["ByteLevel"]
        and not any(
            token["lstrip"] or token["rstrip"]
            for token in layout["added_tokens"]
            if not token["special"]
        )
    )
