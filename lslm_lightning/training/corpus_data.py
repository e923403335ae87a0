"""Base class of data modules that owns the corpus, its tokenizer and its languages."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import takewhile
from pathlib import Path

from lightning.pytorch import LightningDataModule, Trainer

from lslm_lightning.corpora.locations import cache_directory
from lslm_lightning.corpora.lookup import Corpus, open_corpus
from lslm_lightning.task_package import NAMES
from lslm_lightning.text.cache import train_once
from lslm_lightning.text.identification import tell_language
from lslm_lightning.text.languages import canonical
from lslm_lightning.text.recipes import Recipe, TokenizerFile
from lslm_lightning.text.tokenizer import Tokenizer
from lslm_lightning.types import JsonObject


class CorpusData(LightningDataModule, ABC):
    """Corpus, tokenizer and languages of a data module.

    Args:
        corpus: an entry of corpora.yaml, a built-in corpus, a path, or a hub id.
        tokenizer: recipe of the tokenizer, which is trained once, on the training split only, and
            then read from the cache.
        columns: file columns by field, for fields whose column has another name; see corpora.yaml.
    """

    trainer: Trainer  # None until a Trainer uses the data

    # Defined by the data module of each task

    languages: Sequence[str] = ()  # languages that it reads of a parallel corpus
    fields: Sequence[str] = ()  # fields that it reads of every row
    source_fields: Sequence[str] = ()  # fields of the source, if the config does not name them
    given_language: str | None = None  # language code that the config states
    # cached properties that depend on settings shared with the model
    derived: Sequence[str] = ("identity",)

    def __init__(self, corpus: str, tokenizer: Recipe, columns: JsonObject | None) -> None:
        super().__init__()
        self.corpus_name = corpus
        self.recipe = tokenizer
        self.columns = columns
        # one line for the user if the language was identified from the texts
        self.assumed_language = ""
        # settings shared with the model that were given to the data; see `share_settings`
        self.stated: dict[str, object] = {}
        self._corpus: Corpus | None = None
        self._tokenizer: Tokenizer | None = None

    def __str__(self) -> str:
        """Return the class name and the corpus. Lightning's default would build every data loader,
        and train the tokenizer for them.
        """
        return f"{type(self).__name__} of {self.corpus_name}"

    @property
    def corpus(self) -> Corpus:
        """The corpus, opened on first use."""
        if self._corpus is None:
            self._corpus = open_corpus(self.corpus_name, self.columns, self.languages, self.fields)
        return self._corpus

    # Tokenizer

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer, loaded or trained on first use. Processes that start together train it
        only once.

        A tokenizer that is read from a file needs no training split.
        """
        if self._tokenizer is None and isinstance(self.recipe, TokenizerFile):
            self._tokenizer = self.recipe.train()
        elif self._tokenizer is None:
            self._tokenizer = train_once(
                self.recipe,
                self.training_texts,
                self.training_key(),
                cache_directory() / "tokenizers",
            )
        return self._tokenizer

    @abstractmethod
    def training_texts(self) -> Iterable[str]:
        """Return the texts that the tokenizer is trained on."""

    @cached_property
    def available_training_texts(self) -> list[str] | None:
        """All `training_texts`; None if the corpus has no training split or it cannot be read."""
        try:
            # a corpus without a training split is trained on a stream, which has no end
            return list(self.training_texts()) if "train" in self.corpus.splits else None
        except (ValueError, OSError):
            return None

    def training_key(self) -> str:
        """Return a cache key that changes whenever the texts of `training_texts` change."""
        return f"{self.digest('train')} {self.text_key()}{self.own_code()}"

    @abstractmethod
    def text_key(self) -> str:
        """Return a key for the settings other than the corpus that determine `training_texts`, such
        as fields or languages.
        """

    def own_code(self) -> str:
        """Return the source code of this class and of its bases outside this project. Such code may
        make other texts of the same rows, so cache keys include it.
        """
        own = takewhile(
            lambda kind: kind.__module__.partition(".")[0] not in ("lslm_lightning", *NAMES),
            type(self).__mro__,
        )
        return "".join(f" {kind.__qualname__} {source_of(kind)}" for kind in own)

    # Rows

    def rows(self, split: str) -> Sequence[JsonObject]:
        """Return the rows of the split, after checking that the corpus has all fields that this
        task reads.

        Raises:
            ValueError: the corpus is of another task or has other languages, so that a field is
                missing.
        """
        rows = self.corpus.rows(split)
        if rows and (missing := [field for field in self.fields if field not in rows[0]]):
            there = ", ".join(field for field in rows[0] if field != "id")
            raise ValueError(
                f"corpus {self.corpus_name} has no {' and no '.join(map(repr, missing))}, which "
                f"{type(self).__name__} reads; its rows have {there}: map one of them in "
                "data.columns, or choose another corpus (lslm data list)"
            )
        return rows

    def digest(self, split: str) -> str:
        """Return the SHA-256 digest, in hex, of the split's files and of the settings with which
        they are read. Caches and resumed runs depend on it.

        Scores are compared by `evaluation_set` instead, which depends on the examples alone.
        """
        return self.corpus.digest(split)

    def readable(self, split: str) -> bool:
        """Return whether the split has any rows. Reads the split."""
        return bool(self.rows(split))

    @property
    def dataset_name(self) -> str:
        """Name of the data set in MLflow: the corpus without its folder and, for a parallel corpus,
        the languages, such as "en-zh".
        """
        path = Path(self.corpus.name)
        name = path.name if path.exists() else self.corpus.name
        return f"{name} {'-'.join(self.languages)}" if self.languages else name

    # Languages

    @cached_property
    def language_split(self) -> str:
        """Name of the split from which the language is identified: the training split if it can be
        read, otherwise the first split that can.
        """
        for split in dict.fromkeys(("train", *self.corpus.splits)):
            try:
                if split in self.corpus.splits and self.rows(split):
                    return split
            except (ValueError, OSError):  # reported when the split is needed
                continue
        return self.corpus.splits[0]

    def language_of(
        self, texts: Iterable[str], given: str | None = None, more: Iterable[str] = ()
    ) -> str:
        """Return the language code of the texts: `given`, otherwise the language of the corpus,
        otherwise the language identified from the texts.

        Args:
            given: code that the config states.
            more: other texts in the same language, read only if `texts` are not enough to identify
                it.

        Raises:
            ValueError: the code of the config or the corpus is no language code.
        """
        if given:
            return canonical(given)
        if self.corpus.languages:
            return stated_language(self.corpus.languages[0], f"corpus {self.corpus_name}")
        first = list(texts)
        cache = cache_directory() / "languages"
        told = tell_language(first, cache)
        if not (told.is_sure or told.several) and (others := list(more)):
            told = tell_language([*first, *others], cache)
        self.assumed_language = told.assumption
        return told.code

    @property
    def stated_languages(self) -> tuple[str, str] | None:
        """Language codes (of sources, of answers) that the config or the corpus states; None if
        neither does.
        """
        if len(self.languages) == 2:
            return self.languages[0], self.languages[1]
        stated = self.given_language or next(iter(self.corpus.languages), None)
        return (stated, stated) if stated else None


def stated_language(code: str, where: str) -> str:
    """Return the canonical spelling of a language code.

    Args:
        where: setting or corpus that states the code, for the message.

    Raises:
        ValueError: `code` is no language code.
    """
    try:
        return canonical(code)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def source_of(kind: type) -> str:
    """Return the source text of a class; "" if it has none, as in a deleted notebook cell."""
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):
        return ""
