"""Base class of all tasks' data modules: corpus, tokenizer, training batches and evaluation
examples.
"""

import inspect
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal, NamedTuple

from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.data import DataLoader

from lslm_lightning.contracts import Example
from lslm_lightning.data.batching import BatchStream, limited
from lslm_lightning.data.corpora import Corpus, open_corpus
from lslm_lightning.data.locations import cache_directory
from lslm_lightning.data.rows import Row
from lslm_lightning.evaluation.evaluation_set import EvaluationSet, evaluation_set
from lslm_lightning.text.cache import train_once
from lslm_lightning.text.identification import tell_language
from lslm_lightning.text.languages import canonical
from lslm_lightning.text.recipes import BytePair, Existing, Recipe
from lslm_lightning.text.tokenizer import Tokenizer
from lslm_lightning.training.batches import ExamBatch
from lslm_lightning.training.sharding import data_share


class Sizes(NamedTuple):
    """Sizes of the micro-batches of a training, for estimates of memory and time."""

    usual: Any  # a batch
    largest: Any  # one that takes most memory
    # in an epoch, of one device; reads the texts; None where nobody knows
    n_batch: Callable[[], int | None]


class TaskData(LightningDataModule, ABC):
    """Training batches and evaluation examples from one corpus.

    Args:
        corpus: an entry of corpora.yaml, a built-in corpus, a path, or a hub id.
        tokenizer: recipe of the tokenizer, which is trained once, on the training split only, and
            then read from the cache.
        columns: columns of the files for the fields this task uses, where they differ; see
            corpora.yaml.
        seed: seed of the order of training batches.
        exam_tokens: maximal number of padded source positions in one batch of an evaluation.
        n_validation_example: number of validation examples that are decoded, spread evenly over the
            split; 0 for none.
        num_workers: loader processes; batches are cheap to make, 0 suits most corpora.
    """

    def __init__(
        self,
        corpus: str,
        tokenizer: Recipe = BytePair(),  # noqa: B008 (frozen)
        columns: dict[str, Any] | None = None,
        seed: int = 0,
        exam_tokens: int = 2048,
        n_validation_example: int = 200,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        if exam_tokens < 1:
            raise ValueError(
                f"exam_tokens={exam_tokens} must be at least 1; 2048 suits most machines"
            )
        for name, value in {
            "seed": seed,
            "n_validation_example": n_validation_example,
            "num_workers": num_workers,
        }.items():
            if value < 0:
                raise ValueError(f"{name}={value} must be at least 0")
        self.corpus_name = corpus
        self.recipe = tokenizer
        self.columns = columns
        self.seed = seed
        self.exam_tokens = exam_tokens
        self.num_workers = num_workers
        self.n_validation_example = n_validation_example
        self.counts: dict[str, float] = {}
        # one line, where nobody states the language; set when it is told from the texts
        self.assumed_language = ""
        self._corpus: Corpus | None = None
        self._tokenizer: Tokenizer | None = None
        self._examples: dict[str, list[Example]] = {}
        self._sets: dict[str, EvaluationSet] = {}

    def __str__(self) -> str:
        """Return class and corpus; Lightning's default would build every loader, and the tokenizer
        for them.
        """
        return f"{type(self).__name__} of {self.corpus_name}"

    @property
    def corpus(self) -> Corpus:
        """The opened corpus, opened on first use."""
        if self._corpus is None:
            self._corpus = open_corpus(self.corpus_name, self.columns, self.languages, self.fields)
        return self._corpus

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer, loaded or trained on first use; processes that start together train it
        once.

        A tokenizer that is read from a file needs no training split.
        """
        if self._tokenizer is None and isinstance(self.recipe, Existing):
            self._tokenizer = self.recipe.train()
        elif self._tokenizer is None:
            self._tokenizer = train_once(
                self.recipe,
                self.training_texts,
                self.training_key(),
                cache_directory() / "tokenizers",
            )
        return self._tokenizer

    def own_code(self) -> str:
        """Return the source of this class and its bases outside this project, which may make other
        texts of the same rows, so that caches depend on it.
        """
        own = takewhile(
            lambda kind: kind.__module__.partition(".")[0] not in ("lslm_lightning", "tasks"),
            type(self).__mro__,
        )
        return "".join(f" {kind.__qualname__} {source_of(kind)}" for kind in own)

    # What a task's data says

    languages: Sequence[str] = ()  # those it reads of a parallel corpus
    fields: Sequence[str] = ()  # what it reads of every row
    source_fields: Sequence[str] = ()  # those that the source is made of, by their names alone

    @abstractmethod
    def training_texts(self) -> Iterable[str]:
        """Return the texts that the tokenizer is trained on."""

    @cached_property
    def texts_at_hand(self) -> list[str] | None:
        """All `training_texts`; None if the corpus has none, or if they cannot be read or
        fetched.
        """
        try:
            # of a stream there are no all
            return list(self.training_texts()) if "train" in self.corpus.splits else None
        except (ValueError, OSError):
            return None

    def training_key(self) -> str:
        """Return a cache key that changes whenever `training_texts` change."""
        return f"{self.digest('train')} {self.text_key()}{self.own_code()}"

    @abstractmethod
    def text_key(self) -> str:
        """Return the settings besides the corpus, such as its fields or languages, on which
        `training_texts` depend.
        """

    @abstractmethod
    def to_example(self, row: Mapping[str, Any]) -> Example:
        """Convert a row of the corpus to an example."""

    @cached_property
    def telling_split(self) -> str:
        """Name of the split from whose texts the language is identified: the training split, or the
        first one that can be read.
        """
        for split in dict.fromkeys(("train", *self.corpus.splits)):
            try:
                if split in self.corpus.splits and self.rows(split):
                    return split
            except (ValueError, OSError):  # told where the split is needed
                continue
        return self.corpus.splits[0]

    def language_of(
        self, texts: Iterable[str], given: str | None = None, more: Iterable[str] = ()
    ) -> str:
        """Return the language code of the texts: the given one, that of the corpus, or the one
        identified from the texts.

        Args:
            given: code that the config states.
            more: other texts in the same language, read only if the first ones are not enough.

        Raises:
            ValueError: the code of the config or the corpus is no language code.
        """
        if given:
            return canonical(given)
        if self.corpus.languages:
            return stated_language(self.corpus.languages[0], f"corpus {self.corpus_name}")
        first = list(texts)
        told = tell_language(first)
        if not (told.is_sure or told.several) and (others := list(more)):
            told = tell_language([*first, *others])
        self.assumed_language = told.assumption
        return told.code

    def rows(self, split: str) -> Sequence[Row]:
        """Return the rows of the split, after checking that they have the fields that this task
        reads.

        Raises:
            ValueError: the corpus is of another task, or has other languages.
        """
        rows = self.corpus.rows(split)
        if rows and (lacking := [field for field in self.fields if field not in rows[0]]):
            there = ", ".join(field for field in rows[0] if field != "id")
            raise ValueError(
                f"corpus {self.corpus_name} has no {' and no '.join(map(repr, lacking))}, which "
                f"{type(self).__name__} reads;"
                f" its rows have {there}; choose from them, or another corpus (lslm data list)"
            )
        return rows

    def digest(self, split: str) -> str:
        """Return the SHA-256 digest, in hex, of the split's files and of how they are read, on
        which caches and resumed runs depend.

        Scores are compared by `evaluation_set`, which depends on the examples alone.
        """
        return self.corpus.digest(split)

    def readable(self, split: str) -> bool:
        """Return whether the split has any rows; reads it."""
        return bool(self.rows(split))

    def check_length(self, max_steps: int) -> None:
        """Refuse a training whose length cannot be known from these data.

        Raises:
            ValueError: `max_steps` must be given.
        """

    @abstractmethod
    def sizes(self) -> Sizes:
        """Return the sizes of the training batches."""

    def trained_on(self, batch: Any) -> None:
        """Record that a training step has used the batch."""

    # Exams

    def examples(self, split: str) -> list[Example]:
        """Return all examples of the split, in the order of the corpus."""
        if split not in self._examples:
            self._examples[split] = [self.to_example(row) for row in self.rows(split)]
        return self._examples[split]

    def evaluation_set(self, split: str) -> EvaluationSet:
        """Return the identity (digests) of the split's examples in order; scores are comparable
        where it is equal.
        """
        if split not in self._sets:
            self._sets[split] = evaluation_set(self.examples(split))
        return self._sets[split]

    def recorded(self, split: str, examples: Sequence[Example] | None = None) -> dict[str, str]:
        """Return the description of the evaluation data that metrics.json keeps beside the scores:
        corpus, split and digests.

        Args:
            examples: the scored examples, if they are a part of the split.
        """
        whole = examples is None or len(examples) == len(self.examples(split))
        found = self.evaluation_set(split) if whole else evaluation_set(examples)
        return {
            "corpus": self.corpus.name,
            "split": split,
            "digest": found.digest,
            "members": found.members,
            "ids": found.ids,
            "languages": found.languages,
            "files": self.corpus.digest(split),
        }

    @property
    def dataset_name(self) -> str:
        """Name of the data set in MLflow: the corpus without its folder and, for a parallel corpus,
        the direction.
        """
        path = Path(self.corpus.name)
        name = path.name if path.exists() else self.corpus.name
        return f"{name} {'-'.join(self.languages)}" if self.languages else name

    @property
    def stated_languages(self) -> tuple[str, str] | None:
        """Language codes (of sources, of answers) that the config or the corpus states; None if
        neither does.
        """
        if len(self.languages) == 2:
            return self.languages[0], self.languages[1]
        given = getattr(self, "given_language", None) or next(iter(self.corpus.languages), None)
        return (given, given) if given else None

    mode: Literal["generate", "log_prob"] = "generate"
    """Whether an exam wants text, or the probability of a text."""

    prompt_version = ""  # of `question`

    def question(self, example: Example, shots: Sequence[Example]) -> str:
        """Return the example as a prompt in plain language, after the few-shot examples `shots`; ""
        if this task has no prompt.
        """
        return ""

    def exam(self, split: str, n_shot: int = 0) -> list[Example]:
        """Return `examples`, each with its prompt; the `n_shot` few-shot examples come from the
        training split and are the same for all.

        Raises:
            ValueError: the training split has fewer than `n_shot` examples.
        """
        rows = self.rows("train") if n_shot else []
        if n_shot > len(rows):
            raise ValueError(
                f"n_shot={n_shot} is more than the {len(rows)} examples of the training split"
            )
        shots = [
            self.to_example(rows[i]) for i in random.Random(0).sample(range(len(rows)), n_shot)
        ]
        return [replace(e, question=self.question(e, shots)) for e in self.examples(split)]

    def prompts(self, split: str) -> list[Example]:
        """Return text beginnings for systems to continue, shown in the report and not scored; empty
        for tasks whose evaluation generates text anyway.
        """
        return []

    def validation_exam(self) -> list[Example]:
        """Return the validation examples that are decoded: at most `n_validation_example`, spread
        evenly over the split, always the same ones.
        """
        whole = self.examples("val") if self.n_validation_example else []
        n = min(self.n_validation_example, len(whole))
        return [whole[i * len(whole) // n] for i in range(n)]

    def read_length(self, n: int) -> int:
        """Return the number of tokens that the model reads of a source of `n` tokens."""
        return n

    def source_lengths(self, examples: Sequence[Example]) -> list[int]:
        """Return the number of tokens that the model reads of each source, `</s>` included."""
        return [
            self.read_length(len(ids) + 1)
            for ids in self.tokenizer.encode_batch([e.source for e in examples])
        ]

    def exam_batches(
        self, examples: Sequence[Example], rank: int = 0, world: int = 1
    ) -> list[list[Example]]:
        """Return this rank's examples in batches of at most `exam_tokens` padded source positions,
        longest first.
        """
        lengths = self.source_lengths(examples)
        batches: list[list[Example]] = []
        longest = 0
        for i in sorted(range(len(examples)), key=lambda i: (-lengths[i], i))[rank::world]:
            if not batches or (len(batches[-1]) + 1) * longest > self.exam_tokens:
                batches.append([])
                longest = lengths[i]
            batches[-1].append(examples[i])
        return batches

    # Loaders

    train_stream: BatchStream | None = None  # of the running training

    # micro-batches of this rank, and of all ranks, when this process took over; of another number
    # of ranks, maybe
    began_at = (0, 0)

    def position(self, n: int) -> int:
        """Return the number of micro-batches that all ranks have trained on, given this rank's
        count `n`.
        """
        own, everyone = self.began_at
        return everyone + (n - own) * data_share(self.trainer)[1]

    overfit_batches: int | float = 0
    """Train on the first batches of the first epoch alone: so many of them on each rank, or a
    share; 0 for all batches.
    """

    can_overfit = True
    """Whether the first batches of an epoch can be read again and again."""

    def stream(self, plan: Any) -> BatchStream:
        """Return this rank's share of the batches of `plan`, from the Trainer's current position
        on.
        """
        total = self.trainer.fit_loop.epoch_loop.batch_progress.total
        rank, world = data_share(self.trainer)
        n_batch = len(plan)
        epoch = plan
        if self.overfit_batches:
            n_batch = min(n_batch, limited(max(1, n_batch // world), self.overfit_batches) * world)
            kept = plan(0)[:n_batch]
            epoch = lambda _: kept  # noqa: E731 (one line says it)
        return BatchStream(
            epoch,
            n_batch,
            lambda: self.position(total.processed),
            rank,
            world,
            self.trainer.accumulate_grad_batches,
            self.trainer.limit_train_batches,
        )

    @cached_property
    def identity(self) -> dict[str, str]:
        """Everything that determines the training batches, by name; a run can be resumed only if
        all of it is unchanged.
        """
        overfit = f", overfit_batches {self.overfit_batches}" if self.overfit_batches else ""
        return {
            "training data": self.digest("train"),
            "tokenizer": self.tokenizer.digest,
            "batches": f"{self.batching()}, seed {self.seed}{overfit}",
        }

    @abstractmethod
    def batching(self) -> str:
        """Return a description of how training batches are made, apart from their order."""

    def share_of(self, batches: Sequence[Any]) -> list[Any]:
        """Return this rank's part of the batches; one empty batch if it has none, since Lightning
        would otherwise skip its part in collective calls.
        """
        rank, number = data_share(self.trainer)
        return list(batches[rank::number]) or [[]]

    def loader(self, dataset: Any, sampler: Any) -> DataLoader:
        """Return a DataLoader of whole batches, where `dataset[item of sampler]` is a batch."""
        pin = self.trainer.accelerator.__class__.__name__ == "CUDAAccelerator"
        return DataLoader(
            dataset, sampler=sampler, batch_size=None, num_workers=self.num_workers, pin_memory=pin
        )

    def exam_loader(self, split: str) -> DataLoader:
        """Return a loader of this rank's evaluation batches of the split."""
        batches = self.exam_batches(self.examples(split), *data_share(self.trainer))
        # as in share_of
        return DataLoader([ExamBatch(batch) for batch in batches or [[]]], batch_size=None)

    def test_dataloader(self) -> DataLoader:
        return self.exam_loader("test")

    def predict_dataloader(self) -> DataLoader:
        return self.exam_loader("test")


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
    """Return the source text of a class; "" if it is not available, as for a deleted notebook
    cell.
    """
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):
        return ""


@rank_zero_only
def say(words: str) -> None:
    """Print one line, on rank 0 only."""
    print(words, flush=True)
