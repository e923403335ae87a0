"""Base class of all tasks' data modules: training batches and evaluation examples."""

import random
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import ClassVar, NamedTuple

from lightning.pytorch.utilities import rank_zero_only
from torch.utils.data import DataLoader

from lslm_lightning.contracts import Example, Mode
from lslm_lightning.data.batching import BatchStream
from lslm_lightning.evaluation.evaluation_set import EvaluationSet, evaluation_set
from lslm_lightning.text.prompts import NO_PROMPT, Prompt
from lslm_lightning.text.recipes import BytePair, Recipe
from lslm_lightning.training.batches import Batch
from lslm_lightning.training.corpus_data import CorpusData
from lslm_lightning.training.distributed.fsdp import data_share
from lslm_lightning.training.lightning_internals import n_micro_batch
from lslm_lightning.training.loaders import BatchPlan, evaluation_loader, rank_stream
from lslm_lightning.types import JsonObject

# Defaults of settings that all data modules have
EVAL_TOKENS = 2048
N_VALIDATION_EXAMPLE = 200


class Sizes(NamedTuple):
    """Representative micro-batches of a training, for estimates of memory and time."""

    usual: Batch  # batch of median size
    largest: Batch  # batch that takes the most memory
    # number of batches of one device in an epoch, None if it is not known; reads the texts
    n_batch: Callable[[], int | None]


class TaskData(CorpusData):
    """Training batches and evaluation examples from one corpus.

    Args:
        corpus: an entry of corpora.yaml, a built-in corpus, a path, or a hub id.
        tokenizer: recipe of the tokenizer, which is trained once, on the training split only, and
            then read from the cache.
        columns: file columns by field, for fields whose column has another name; see corpora.yaml.
        seed: seed of the order of training batches.
        eval_batch_tokens: maximal number of padded source positions in one batch of an evaluation.
        n_validation_example: number of validation examples that are decoded, spread evenly over the
            split; 0 for none.
        num_workers: number of loader processes; batches are cheap to make, so 0 suits most corpora.
    """

    mode: ClassVar[Mode] = "generate"
    """Ability that an evaluation needs: generated text, or the probability of a text."""

    prompt_version = ""  # version of the wording of `question`
    prompt: Prompt = NO_PROMPT  # text around each source; that of the model

    train_stream: BatchStream | None = None  # batches of the current training

    # micro-batches of this rank, and of all ranks, when this process started or resumed, maybe
    # with another number of ranks
    began_at = (0, 0)

    overfit_batches: int | float = 0
    """Number, or share, of the first batches of the first epoch on each rank to train on alone; 0
    for all batches.
    """

    can_overfit = True
    """True if the first batches of an epoch can be read repeatedly."""

    def __init__(
        self,
        corpus: str,
        tokenizer: Recipe = BytePair(),  # noqa: B008 (frozen)
        columns: JsonObject | None = None,
        seed: int = 0,
        eval_batch_tokens: int = EVAL_TOKENS,
        n_validation_example: int = N_VALIDATION_EXAMPLE,
        num_workers: int = 0,
    ) -> None:
        super().__init__(corpus, tokenizer, columns)
        if eval_batch_tokens < 1:
            raise ValueError(
                f"eval_batch_tokens={eval_batch_tokens} must be at least 1; {EVAL_TOKENS} suits "
                "most machines"
            )
        for name, value in {
            "seed": seed,
            "n_validation_example": n_validation_example,
            "num_workers": num_workers,
        }.items():
            if value < 0:
                raise ValueError(f"{name}={value} must be at least 0")
        self.seed = seed
        self.eval_batch_tokens = eval_batch_tokens
        self.num_workers = num_workers
        self.n_validation_example = n_validation_example
        self.counts: dict[str, float] = {}
        self._examples: dict[str, Sequence[Example]] = {}
        self._sets: dict[str, EvaluationSet] = {}

    # Evaluation

    @abstractmethod
    def to_example(self, row: JsonObject) -> Example:
        """Return the example that a row of the corpus describes."""

    def examples(self, split: str) -> Sequence[Example]:
        """Return all examples of the split, in the order of the corpus."""
        if split not in self._examples:
            self._examples[split] = [self.to_example(row) for row in self.rows(split)]
        return self._examples[split]

    def evaluation_set(self, split: str) -> EvaluationSet:
        """Return digests that identify the examples of the split and their order. Scores are
        comparable only if the digests are equal.
        """
        if split not in self._sets:
            self._sets[split] = evaluation_set(self.examples(split))
        return self._sets[split]

    def recorded(self, split: str, examples: Sequence[Example] | None = None) -> dict[str, str]:
        """Return the description of the evaluation data that metrics.json stores beside the scores:
        corpus, split and digests.

        Args:
            split: name of the split.
            examples: the scored examples, if only a part of the split was scored.
        """
        if examples is None or len(examples) == len(self.examples(split)):
            scored = self.evaluation_set(split)
        else:
            scored = evaluation_set(examples)
        return {
            "corpus": self.corpus.name,
            "split": split,
            "digest": scored.digest,
            "members": scored.members,
            "ids": scored.ids,
            "languages": scored.languages,
            "files": self.corpus.digest(split),
        }

    def question(self, example: Example, shots: Sequence[Example]) -> str:
        """Return a prompt in plain language that asks for the answer to an example; "" if this task
        has no prompt.

        Args:
            example: the example to ask about.
            shots: few-shot examples, which precede it with their answers.
        """
        return ""

    def prompted_examples(self, split: str, n_shot: int = 0) -> list[Example]:
        """Return `examples`, each with its prompt.

        Args:
            split: name of the split.
            n_shot: number of few-shot examples in each prompt; they come from the training split
                and are the same for all.

        Raises:
            ValueError: the training split has fewer than `n_shot` examples.
        """
        rows = self.rows("train") if n_shot else []
        if n_shot > len(rows):
            raise ValueError(
                f"n_shot={n_shot} must be at most {len(rows)}, the number of examples of the "
                "training split"
            )
        shots = [
            self.to_example(rows[i]) for i in random.Random(0).sample(range(len(rows)), n_shot)
        ]
        return [replace(e, question=self.question(e, shots)) for e in self.examples(split)]

    def prompts(self, split: str) -> list[Example]:
        """Return beginnings of texts for systems to continue. The continuations are shown in the
        report and not scored. The list is empty for tasks whose evaluation generates text anyway.
        """
        return []

    def validation_examples(self) -> list[Example]:
        """Return the validation examples that are decoded: at most `n_validation_example`, spread
        evenly over the split, always the same ones.
        """
        whole: Sequence[Example] = self.examples("val") if self.n_validation_example else []
        n = min(self.n_validation_example, len(whole))
        return [whole[i * len(whole) // n] for i in range(n)]

    def read_length(self, n: int) -> int:
        """Return how many tokens of a source of `n` tokens the model reads; by default all."""
        return n

    def source_lengths(self, examples: Sequence[Example]) -> list[int]:
        """Return the number of tokens that the model reads of each source, including `</s>`."""
        return [
            self.read_length(len(ids) + 1)
            for ids in self.prompt.ids(self.tokenizer, [e.source for e in examples])
        ]

    def evaluation_batches(
        self, examples: Sequence[Example], rank: int = 0, world: int = 1
    ) -> list[list[Example]]:
        """Return this rank's examples in batches of at most `eval_batch_tokens` padded source
        positions, longest first.

        Args:
            examples: examples to share among all ranks.
            rank, world: number of this rank, and number of ranks.
        """
        lengths = self.source_lengths(examples)
        batches: list[list[Example]] = []
        longest = 0
        for i in sorted(range(len(examples)), key=lambda i: (-lengths[i], i))[rank::world]:
            if not batches or (len(batches[-1]) + 1) * longest > self.eval_batch_tokens:
                batches.append([])
                longest = lengths[i]
            batches[-1].append(examples[i])
        return batches

    def test_dataloader(self) -> DataLoader:
        examples = self.examples("test")
        return evaluation_loader(self.evaluation_batches(examples, *data_share(self.trainer)))

    predict_dataloader = test_dataloader

    # Training

    @abstractmethod
    def sizes(self) -> Sizes:
        """Return the usual and the largest training batch, from which memory and time are
        estimated.
        """

    @abstractmethod
    def batching(self) -> str:
        """Return a text that says how training batches are made, apart from their order."""

    @cached_property
    def identity(self) -> dict[str, str]:
        """Settings that determine the training batches, as text by name. A run can be resumed only
        if all of them are unchanged.
        """
        overfit = f", overfit_batches {self.overfit_batches}" if self.overfit_batches else ""
        return {
            "training data": self.digest("train"),
            "tokenizer": self.tokenizer.digest,
            "batches": f"{self.batching()}, seed {self.seed}{overfit}",
        }

    def check_length(self, max_steps: int) -> None:
        """Raise an error if the length of the training cannot be known from these data.

        Args:
            max_steps: value of `trainer.max_steps`; below 1 for no limit.

        Raises:
            ValueError: `max_steps` must be given.
        """

    def position(self, n: int) -> int:
        """Return the number of micro-batches that all ranks together have trained on.

        Args:
            n: number of micro-batches that this rank has trained on.
        """
        own, everyone = self.began_at
        return everyone + (n - own) * data_share(self.trainer)[1]

    def current_position(self) -> int:
        """Return the number of micro-batches that all ranks together have trained on so far."""
        return self.position(n_micro_batch(self.trainer))

    def stream(self, plan: BatchPlan) -> BatchStream:
        """Return this rank's share of the batches of `plan`, from the Trainer's current position
        onwards, and store it as `train_stream`.
        """
        self.train_stream = rank_stream(
            self.trainer, plan, self.current_position, self.overfit_batches
        )
        return self.train_stream

    def trained_on(self, batch: Batch) -> None:
        """Record that a training step has used the batch. Does nothing by default."""


@rank_zero_only
def rank_zero_print(message: str) -> None:
    """Print one line, on rank 0 only."""
    print(message, flush=True)
