"""Tokenizer recipes: classes named in YAML that train a tokenizer on the training split.

The ids of `<pad>`, `<s>` and `</s>` are 0, 1 and 2 in trained tokenizers; `<unk>`, if present, is
3.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers

from lslm_lightning.text.pretrained import PretrainedTokenizer
from lslm_lightning.text.special_tokens import guard, protect
from lslm_lightning.text.tokenizer import (
    ROLES,
    UNKNOWN,
    Tokenizer,
    find_token,
    read_backend,
)
from lslm_lightning.text.unigram import without_chance, without_rare_characters

SPECIAL = ("<pad>", "<s>", "</s>")
SPECIAL_AND_UNKNOWN = (*SPECIAL, "<unk>")


class Recipe(ABC):
    """Base class of tokenizer recipes, whose settings are the fields of a dataclass."""

    @abstractmethod
    def train(self, texts: Iterable[str]) -> Tokenizer:
        """Return a tokenizer that depends only on the settings and these texts.

        Raises:
            ValueError: all texts are blank.
        """

    def key(self) -> str:
        """Return a text of all settings: recipes with equal keys produce equal tokenizers from
        equal texts.
        """
        return repr(self)

    def _texts(self, texts: Iterable[str]) -> Iterator[str]:
        """Return an iterator over the texts that are not blank; raise ValueError if all are
        blank.
        """
        texts = (text for text in texts if text and not text.isspace())
        first = next(texts, None)
        if first is None:
            raise ValueError(
                f"the corpus is empty: {type(self).__name__} cannot be trained on no text; look "
                "at the training split"
            )
        return chain([first], texts)

    def _at_least(self, setting: str, smallest: int, reason: str = "") -> None:
        """Raise ValueError if a setting is below `smallest`.

        Args:
            setting: name of the setting.
            reason: end of the message.
        """
        value = getattr(self, setting)
        if value < smallest:
            raise ValueError(
                f"{setting}={value} of {type(self).__name__} must be at least {smallest}{reason}"
            )


@dataclass(frozen=True)
class BytePair(Recipe):
    """Byte-level byte pair encoding with GPT-2's splitting into words: short sequences, exact
    decoding.

    Source: Sennrich et al. 2016; Radford et al. 2019, section 2.2.

    Args:
        vocab_size: number of tokens, including 3 special tokens and 256 bytes; a small corpus may
            give fewer.
        min_count: minimum number of occurrences for a pair to be merged.
        lowercase: fold case, and give a word the same tokens at the start of a text as within it,
            for scores that ignore case, as ROUGE does. Decoding is then not exact.
    """

    vocab_size: int = 8000
    min_count: int = 2
    lowercase: bool = False

    def __post_init__(self) -> None:
        self._at_least(
            "vocab_size",
            len(SPECIAL) + 256,
            " (3 special tokens and 256 bytes); 8000 suits a small corpus",
        )
        self._at_least("min_count", 1)

    def train(self, texts: Iterable[str]) -> Tokenizer:
        backend = _byte_level(models.BPE(), use_regex=True)
        if self.lowercase:
            backend.normalizer = normalizers.Lowercase()
            backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
            backend.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
        trainer = trainers.BpeTrainer(
            vocab_size=self.vocab_size,
            min_frequency=self.min_count,
            special_tokens=list(SPECIAL),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        backend.train_from_iterator(self._texts(texts), trainer)
        return Tokenizer(backend)


@dataclass(frozen=True)
class Bytes(Recipe):
    """Tokenizer into UTF-8 bytes: byte b has id b + 3. Nothing is trained, sequences are long, and
    no text is unknown.
    """

    def train(self, texts: Iterable[str] = ()) -> Tokenizer:
        letters = [_byte_letter(byte) for byte in range(256)]
        vocabulary = {token: index for index, token in enumerate((*SPECIAL, *letters))}
        backend = _byte_level(models.BPE(vocab=vocabulary, merges=[]), use_regex=False)
        backend.add_special_tokens(list(SPECIAL))
        return Tokenizer(backend)


@dataclass(frozen=True)
class Unigram(Recipe):
    """Subwords of a unigram language model, with spaces written as `▁`; suited to translation and
    to Chinese.

    Decoding is exact except for a space at the start of a text. Source: Kudo 2018, as in
    SentencePiece.

    Args:
        vocab_size: number of tokens.
        byte_fallback: encode characters without a token as UTF-8 bytes (256 more tokens) instead of
            `<unk>`.
        coverage: fraction of the text whose most frequent characters get tokens.
    """

    vocab_size: int = 8000
    byte_fallback: bool = True
    coverage: float = 0.9995

    def __post_init__(self) -> None:
        smallest = len(self._special()) + 1
        self._at_least(
            "vocab_size",
            smallest,
            f" ({smallest - 1} special tokens and one piece); 8000 suits a small corpus",
        )
        if not 0 < self.coverage <= 1:
            raise ValueError(
                f"coverage={self.coverage} of Unigram must be above 0 and at most 1; "
                "SentencePiece takes 0.9995"
            )

    def train(self, texts: Iterable[str]) -> Tokenizer:
        backend = tokenizers.Tokenizer(models.Unigram())
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [guard(self._special()), pre_tokenizers.Metaspace("▁", "first")]
        )
        backend.decoder = decoders.Sequence(
            [decoders.ByteFallback(), decoders.Metaspace("▁", "first")]
        )
        trainer = trainers.UnigramTrainer(
            vocab_size=self.vocab_size,
            special_tokens=self._special(),
            unk_token="<unk>",
            show_progress=False,
        )
        room = self.vocab_size - len(self._special())
        backend.train_from_iterator(
            without_rare_characters(list(self._texts(texts)), self.coverage, room), trainer
        )
        layout = json.loads(backend.to_str())
        special = layout["model"]["vocab"][: len(self._special())]
        pieces = layout["model"]["vocab"][len(self._special()) :]
        layout["model"]["vocab"] = special + without_chance(pieces)
        layout["model"]["byte_fallback"] = self.byte_fallback  # the trainer cannot set it
        layout["added_tokens"] = [
            token for token in layout["added_tokens"] if token["content"] in SPECIAL
        ]
        return Tokenizer(tokenizers.Tokenizer.from_str(json.dumps(layout)))

    def _special(self) -> list[str]:
        """Return the special tokens, including the byte tokens if `byte_fallback` is set."""
        return [
            *SPECIAL_AND_UNKNOWN,
            *(f"<0x{byte:02X}>" for byte in range(256) if self.byte_fallback),
        ]


@dataclass(frozen=True)
class Characters(Recipe):
    """Tokenizer into Unicode characters, including spaces and line ends.

    Args:
        min_count: characters with fewer occurrences become `<unk>`.
    """

    min_count: int = 1

    def __post_init__(self) -> None:
        self._at_least("min_count", 1)

    def train(self, texts: Iterable[str]) -> Tokenizer:
        counts: Counter[str] = Counter()
        for text in self._texts(texts):
            counts.update(text)
        vocabulary = _vocabulary(counts, self.min_count)
        # no merges: one token a character
        backend = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
        backend.decoder = decoders.Fuse()
        backend.add_special_tokens(list(SPECIAL))
        return Tokenizer(backend)


@dataclass(frozen=True)
class Words(Recipe):
    """Tokenizer into words between white space, for text that is already tokenized, as PTB and
    WikiText-2 are. A line end is a word.

    Words outside the vocabulary become `<unk>`, and so does a literal `<unk>` in the corpus.
    Decoded text has one space between words.

    Args:
        vocab_size: number of tokens, including special tokens; the most frequent words are kept.
            None for no limit.
        min_count: words with fewer occurrences are not in the vocabulary.
    """

    vocab_size: int | None = None
    min_count: int = 1

    def __post_init__(self) -> None:
        self._at_least("min_count", 1)
        if self.vocab_size is not None:
            self._at_least(
                "vocab_size",
                len(SPECIAL_AND_UNKNOWN) + 1,
                " (4 special tokens and one word), or null for all words",
            )

    def train(self, texts: Iterable[str]) -> Tokenizer:
        between = pre_tokenizers.Split(Regex(r"[^\S\n]+"), "removed")
        line_end = pre_tokenizers.Split("\n", "isolated")
        split = pre_tokenizers.Sequence([between, line_end, guard(SPECIAL)])
        counts: Counter[str] = Counter()
        for text in self._texts(texts):
            counts.update(word for word, _ in split.pre_tokenize_str(text))
        vocabulary = _vocabulary(counts, self.min_count, self.vocab_size)
        backend = tokenizers.Tokenizer(models.WordLevel(vocab=vocabulary, unk_token="<unk>"))
        backend.pre_tokenizer = split
        # A prefix that no word has makes this decoder write a space before every word but the
        # first.
        spaced = decoders.WordPiece(prefix="\n\n", cleanup=False)
        backend.decoder = decoders.Sequence(
            [spaced, decoders.Fuse(), decoders.Replace(Regex(" ?\n ?"), "\n")]
        )
        backend.add_special_tokens(list(SPECIAL))
        return Tokenizer(backend)


@dataclass(frozen=True)
class TokenizerFile(Recipe):
    """Existing `tokenizer.json` file (GPT-2's, BERT's...), which is never trained.

    Tokens of the file with usual names serve as pad, bos and eos; a missing one is added at the end
    of the vocabulary.
    """

    path: str

    def key(self) -> str:
        """Return a text with the SHA-256 of the file, so that the key does not depend on its
        path.
        """
        return f"Existing({hashlib.sha256(Path(self.path).read_bytes()).hexdigest()})"

    def train(self, texts: Iterable[str] = ()) -> Tokenizer:
        """Return the tokenizer of the file; `texts` are not used.

        Raises:
            ValueError: the tokenizer does not meet the requirements of `Tokenizer`.
        """
        if (pretrained := PretrainedTokenizer.read(self.path)) is not None:
            return pretrained
        backend = read_backend(self.path)
        for names in ROLES.values():
            backend.add_special_tokens([find_token(backend, names) or names[0]])
        self._prepare(backend)
        tokenizer = Tokenizer(backend)
        self._check(tokenizer, backend)
        return tokenizer

    def _prepare(self, backend: tokenizers.Tokenizer) -> None:
        """Disable BPE dropout in a backend, and keep it from encoding ordinary text as special
        tokens.
        """
        if isinstance(backend.model, models.BPE):
            backend.model.dropout = None  # the same text must give the same ids
        try:
            protect(backend)
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from None

    def _check(self, tokenizer: Tokenizer, backend: tokenizers.Tokenizer) -> None:
        """Raise ValueError if a tokenizer drops characters that it does not know."""
        if not (
            tokenizer.knows_all_bytes
            or tokenizer.unk_id is not None
            or getattr(backend.model, "byte_fallback", False)
        ):
            raise ValueError(
                f"{self.path}: it drops or refuses characters it does not know; give its model "
                f"an unknown token ({UNKNOWN[0]})"
            )


def _vocabulary(
    counts: Counter[str], min_count: int, vocab_size: int | None = None
) -> dict[str, int]:
    """Return token -> id: special tokens first, then tokens by falling count, ties in code point
    order.

    Args:
        counts: token -> number of occurrences.
        min_count: minimum count of a token to be included.
        vocab_size: maximum number of tokens, including special tokens; None for no limit.
    """
    counted = sorted(
        (-count, token)
        for token, count in counts.items()
        if count >= min_count and token not in SPECIAL_AND_UNKNOWN
    )
    tokens = (*SPECIAL_AND_UNKNOWN, *(token for _, token in counted))[:vocab_size]
    return {token: index for index, token in enumerate(tokens)}


def _byte_level(model: models.BPE, use_regex: bool) -> tokenizers.Tokenizer:
    """Return a byte-level backend; `use_regex` splits text into words as GPT-2 does."""
    backend = tokenizers.Tokenizer(model)
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)
    backend.decoder = decoders.ByteLevel()
    return backend


def _byte_letter(byte: int) -> str:
    """Return the printable character that represents a byte in byte-level tokenizers.

    Source: GPT-2's `bytes_to_unicode`.
    """
    visible = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    return (
        chr(byte)
        if byte in visible
        else chr(256 + [b for b in range(256) if b not in visible].index(byte))
    )
