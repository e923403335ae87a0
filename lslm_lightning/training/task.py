"""What every task shares: optimizer and schedule, a loss normalized by tokens, reproducible chance,
and answers to an exam.
"""

import hashlib
import math
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torchmetrics
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor

from lslm_lightning.contracts import Example, Metric, Mode, Prediction
from lslm_lightning.decoding import AnySearch, CtcSearch, Fusion, Search
from lslm_lightning.decoding.search import no_sync
from lslm_lightning.evaluation.evaluation_set import evaluation_set
from lslm_lightning.metrics.names import as_metrics
from lslm_lightning.models.backbone import Backbone
from lslm_lightning.optim import Cosine, Schedule, decay_groups, n_parameter
from lslm_lightning.text.identification import language_by_letters
from lslm_lightning.text.tokenizer import Tokenizer
from lslm_lightning.training.accumulation import MeanNats
from lslm_lightning.training.batches import ExamBatch
from lslm_lightning.training.exam import EvaluationCallback
from lslm_lightning.training.optimizer_settings import name_of, recorded
from lslm_lightning.training.precision import weights_cast_once
from lslm_lightning.training.sharding import (
    ShardedStrategy,
    agreement,
    apply_fsdp,
    by_mesh,
    clip_by_norm,
    data_share,
    local,
    reshard,
    splits_layers,
    unshard,
)

# Sums of nats are back-propagated over this constant; the gradients are divided by the true number
# of tokens before clipping.
LOSS_DIVISOR = 1024.0


class NotFiniteError(ArithmeticError):
    """The loss of a training step was nan or infinite."""


class Task(LightningModule, ABC):
    """A backbone with words at both ends, trained by maximum likelihood.

    The gradient of an optimizer step is that of the mean loss per target token of the whole
    accumulation window over all ranks, whatever the lengths in each micro-batch: sums are
    back-propagated, and divided once by the tokens of the window.

    Args:
        backbone: maps vectors to vectors; None of a model that is no such network.
        tokenizer: linked from the data.
        optimizer: called with parameter groups; matrices decay, vectors do not.
        schedule: factor on the learning rate by step.
        label_smoothing: share of probability spread over the vocabulary, in training only.
        extra_metrics: by which answers in validation and test are scored besides `metrics`: of
            lslm_lightning.metrics or torchmetrics.text.
    """

    monitor = "val/loss"  # what chooses the best checkpoint
    higher_is_better = False
    headline = ""  # the metric a report leads with
    # whether it reads all texts of the training split once, whole and in order, whatever the
    # Trainer's settings say
    one_pass = False
    tunes = False  # whether `tuned` chooses anything
    competes = False  # whether a state is being validated that becomes the best one if it does well
    goes_on = False  # whether a checkpoint is about to be loaded
    modality = "text"  # of its examples; see `contracts.Example`
    # how answers are written, token by token; None of a task that writes none
    search: AnySearch | None = None
    searches: tuple[type, ...] = (Search,)  # the kinds that it may be of, the preferred one first
    finds_n_best = False  # whether `generate` takes `n_best`, for several answers to one source
    fusion: Fusion | None = None  # a language model that the search asks
    has_open_length = False  # whether the training split is to decide `max_length`
    bounded: Mapping[str, Any] = {}  # what it has decided, for config.yaml
    # is told the share of a batch of long texts that is scored
    on_scored: Callable[[float], None] | None = None

    def __init_subclass__(cls) -> None:
        """Read `reads` of a task written for the last release as `modality`."""
        super().__init_subclass__()
        if "reads" in vars(cls):
            cls.modality = vars(cls)["reads"]
            warnings.warn(
                f"{cls.__name__}.reads is now called modality; rename it: the next release does "
                "not read the old name",
                FutureWarning,
                stacklevel=2,
            )

    def __init__(
        self,
        backbone: Backbone | None,
        tokenizer: Tokenizer,
        optimizer: OptimizerCallable = lambda p: torch.optim.AdamW(
            p, lr=1e-3, weight_decay=0.01, fused=True
        ),
        schedule: Schedule = Cosine(warmup_steps=200),  # noqa: B008 (frozen)
        label_smoothing: float = 0.0,
        extra_metrics: list[Metric | torchmetrics.Metric] | None = None,
    ) -> None:
        super().__init__()
        if not 0.0 <= label_smoothing < 1.0:
            raise ValueError(
                f"label_smoothing={label_smoothing} must be at least 0 and below 1; 0.1 is usual"
            )
        if backbone is not None and backbone.tokenizer_digest not in (None, tokenizer.digest):
            raise ValueError(
                f"{type(backbone).__name__} reads the ids of its own tokenizer, not those of "
                f"{tokenizer!r}: give data.tokenizer the recipe"
                " lslm_lightning.text.hugging_face.HuggingFace with the same path"
            )
        self.backbone = backbone
        self.tokenizer = tokenizer
        self.optimizer_of = optimizer
        self.schedule = schedule
        self.label_smoothing = label_smoothing
        self.extra_metrics = as_metrics(extra_metrics or [])
        self._window_tokens: int = 0
        self._window_nats: Tensor | float = 0.0
        self.validation_loss = MeanNats()

    # What a task says about itself

    @abstractmethod
    def loss(self, batch: Any, label_smoothing: float = 0.0) -> Tensor:
        """Sum of nats over the batch's `n_token` target tokens."""

    @abstractmethod
    def answer(self, examples: Sequence[Example]) -> list[Prediction]:
        """One prediction for each example of a batch, in order."""

    @classmethod
    @abstractmethod
    def metrics(cls, language: str) -> list[Metric]:
        """What an exam in this language is scored by; `headline` is one of them."""

    def all_metrics(self, language: str) -> list[Metric]:
        """Return what answers in this language are scored by: `metrics`, and the extra ones."""
        return [*self.metrics(language), *self.extra_metrics]

    @classmethod
    def sections_of(
        cls, data: Any, split: str, outputs: Mapping[str, Sequence[Prediction]]
    ) -> list[Any]:
        """The task's own sections of the report on several systems, given what each answered to
        `data.examples(split)`, in their order.

        What systems wrote for `data.prompts(split)`, where they were asked, comes after.
        """
        return []

    def measured_by(self, trainer: Trainer) -> dict[str, str]:
        """What besides the weights decides the value of `monitor` in a validation, by name: two
        values compare where all of it is equal.

        Empty where nothing is validated.
        """
        data = trainer.datamodule
        limit = trainer.limit_val_batches
        if not limit:
            return {}
        exam = data.validation_exam()
        metrics = (
            {f"val/{m.name}": m.signature for m in self.all_metrics(exam[0].language)}
            if exam
            else {}
        )
        if self.monitor in metrics:
            search = getattr(self, "validation_search", None) or self.search
            lengths = [
                f"{name}={getattr(self, name)}"
                for name in ("min_length", "max_length")
                if hasattr(self, name)
            ]
            answering = " ".join(
                [settings_of(search), *lengths, self.signature_of_answers(data.mode)]
            ).strip()
            own = {"metric": f"{self.monitor} {metrics[self.monitor]}", "search": answering}
        else:
            exam = data.examples("val")
            whole = isinstance(limit, float) and limit == 1.0
            part = "all" if whole else f"{limit} on {data_share(trainer)[1]} processes"
            own = {"metric": self.monitor, "batches": part}
        return {**own, "examples": f"{len(exam)} with digest {evaluation_set(exam).digest}"}

    def tuned(
        self, examples: Sequence[Example], predictions: Sequence[Prediction]
    ) -> list[Prediction]:
        """What of the way of answering a validation that is part of a training chooses, by its
        answers: those that there are then.

        Every process has all of them, and must choose the same; what it chooses belongs into a
        buffer, so that it is saved. A task that chooses something has `tunes`.
        """
        return list(predictions)

    @property
    def is_choosing(self) -> bool:
        """Whether the validation under way is part of a training."""
        return (
            self._trainer is not None
            and self.trainer.validating
            and (self.trainer.state.fn == "fit" or self.competes)
        )

    def rehearse(self, examples: Sequence[Example]) -> None:
        """As much work as answering these examples in a validation takes a trained model, whatever
        the weights.
        """
        self.answer(examples)

    @classmethod
    def example(cls, id: str, given: str) -> Example:
        """What somebody gives to a trained model, as text or a line of it, as an example: by
        default the text that is to be read.

        Raises:
            ValueError, OSError: it names something that is not there.
        """
        language = language_by_letters(given)
        language = "en" if language in ("und", "und-Latn") else language
        return Example(id, given, (), source_language=language)

    def lend(self, data: Any) -> None:
        """Give the data module what it cannot know without the model, before it makes batches: how
        long a source is to it, say.
        """

    def bound_answers(self, data: Any) -> None:
        """Decide `max_length` before a training, where it was left open, by the training
        targets.
        """

    def bound_answers_as(self, settings: Mapping[str, Any]) -> None:
        """Take `max_length`, where it was left open, from the settings of a model that was
        trained.
        """
        if self.has_open_length and settings.get("max_length"):
            self.max_length = settings["max_length"]
            self.bounded = {"max_length": self.max_length}

    def check(self, data: Any) -> None:
        """Refuse, before any long work, data that do not fit this task.

        Raises:
            ValueError: two settings that must agree do not, or a text is longer than the model can
                read.
        """

    @property
    def model_name(self) -> str:
        """What kind of model it is."""
        return type(self.backbone).__name__

    @property
    def n_parameter(self) -> int:
        """Numbers that are learned from the training split."""
        return n_parameter(self.parameters())

    @property
    def memory_bytes(self) -> int:
        """Of these numbers."""
        return sum(p.numel() * p.element_size() for p in self.parameters())

    def load_beside(self, saved: Mapping[str, Any], folder: Path) -> None:
        """What of a checkpoint's model lies in files beside it.

        Raises:
            ValueError: a file is missing or damaged.
        """

    def files_beside(self, folder: Path) -> list[Path]:
        """These files, or folders of them, where the checkpoints lie in `folder`."""
        return []

    @property
    def answer_limit(self) -> str:
        """The setting at which answers are cut, as "max_length=128"; empty of a task, or a search,
        that has none.
        """
        longest = getattr(self, "max_length", None)
        return (
            ""
            if longest is None or self.search is None or isinstance(self.search, CtcSearch)
            else f"max_length={longest}"
        )

    def cut_sources(self, examples: Sequence[Example]) -> tuple[int, str]:
        """Return how many examples are not read to their end, and words that follow "12 of 100"; no
        words if all are always read.
        """
        return 0, ""

    def answer_by(self, search: AnySearch | None, fusion: Fusion | None = None) -> None:
        """Write answers by this search in place of its own, and ask this language model too; None
        changes nothing.

        Raises:
            ValueError: the task has no use for them.
        """
        kind = type(self).__name__
        asked = self.search if search is None else search
        given = " and ".join(
            name
            for name, value in {f"search={type(search).__name__}": search, "fusion": fusion}.items()
            if value
        )
        if given and self.search is None:
            raise ValueError(f"{given}: {kind} writes nothing token by token; leave it out")
        if search is not None and not isinstance(search, self.searches):
            fits = " or ".join(each.__name__ for each in self.searches)
            raise ValueError(
                f"{given}: {kind} answers by {fits} as it is built; choose another search of "
                "lslm_lightning.decoding"
            )
        if fusion is not None and not asked.supports_fusion:
            raise ValueError(
                f"{given}: {type(asked).__name__} asks no language model, but CtcPrefixBeam and "
                "JointBeam do; choose one of these"
                " (--search beam), or leave fusion out"
            )
        self.search = asked
        self.fusion = self.fusion if fusion is None else fusion

    def signature_of_answers(self, mode: Mode) -> str:
        """What of the way of answering belongs in the signatures of scores: "|context:256", say;
        see `evaluation.scoring.with_signature_parts`.
        """
        return ""

    def samples(self) -> list[str]:
        """A few outputs to log at each validation, as text."""
        return []

    def baselines(self, data: Any) -> list[Any]:
        """Systems to stand beside this one in the report of a test; `data` is the run's data
        module.
        """
        return []

    def sections(self, data: Any, predictions: Sequence[Prediction]) -> list[Any]:
        """The task's own sections of a run's report, given what it answered in the test."""
        return []

    @property
    def agree(self) -> Callable[[bool], bool]:
        """For a search: whether all who compute this answer together are done with it."""
        return (
            agreement(self.trainer)
            if self._trainer is not None and splits_layers(self.trainer)
            else no_sync
        )

    # Training

    def setup(self, stage: str) -> None:
        """Where weights were trained before, training begins with those."""
        if stage == "fit" and not self.goes_on and self.backbone is not None:
            self.backbone.load_pretrained_weights()

    def configure_model(self) -> None:
        """Where the Trainer says so, each process keeps its part of the weights."""
        if isinstance(self.trainer.strategy, ShardedStrategy):
            apply_fsdp(self, self.device_mesh, self.trainer.precision)

    def configure_optimizers(self) -> Any:
        optimizer = self.optimizer_of(by_mesh(decay_groups(self)))
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: self.schedule(step, self.n_step)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    @property
    def n_step(self) -> int:
        """Optimizer steps of the whole run: the fewer of `trainer.max_steps` and what
        `trainer.max_epochs` comes to; 1 until known.
        """
        max_steps = self.trainer.max_steps
        max_epochs = self.trainer.max_epochs
        stream = self.trainer.datamodule.train_stream
        if stream is None or (max_epochs or -1) < 0:
            return max(1, max_steps)
        n_step = max_epochs * math.ceil(stream.epoch_length / self.trainer.accumulate_grad_batches)
        return max(1, min(n_step, max_steps) if max_steps > 0 else n_step)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Chance depends on (seed, number of the micro-batch over all ranks) alone: not on
        validation, not on what came before.
        """
        completed = self.trainer.fit_loop.epoch_loop.batch_progress.total.completed
        number = self.trainer.datamodule.position(completed) + data_share(self.trainer)[0]
        torch.manual_seed(micro_batch_seed(int(os.environ.get("PL_GLOBAL_SEED", "0")), number))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.trainer.datamodule.trained_on(batch)
        nats = self.loss(batch, self.label_smoothing)
        self._window_tokens += batch.n_token
        if self.trainer.world_size > 1:
            # the ranks look together, at the end of the window
            self._window_nats = self._window_nats + nats.detach()
        elif nats.device.type == "cpu":
            # on a GPU looking would make each step wait; Reporter and save_atomically look
            self.check_finite(float(nats.detach()))
        return nats / LOSS_DIVISOR

    def check_finite(self, nats: float, since: int | None = None) -> None:
        """Raise NotFiniteError for a loss that is none: that of this step, or the sum of those
        after step `since`.
        """
        if not math.isfinite(nats):
            where = (
                f"at step {self.global_step}"
                if since is None
                else f"between steps {since} and {self.global_step}"
            )
            raise NotFiniteError(
                f"the loss is {nats} {where}; try a smaller learning rate or gradient clipping"
            )

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Gradients of the sum over a constant become gradients of the mean per token of the
        window; clipping comes after.
        """
        n_token = self._window_tokens
        world = self.trainer.world_size
        if world > 1:
            window = torch.stack(
                [
                    torch.full((), n_token, dtype=torch.float64, device=self.device),
                    self._window_nats.double(),
                ]
            )
            torch.distributed.all_reduce(window)  # that of Lightning has all wait for the GPU first
            n_token = window[0]
            if self.device.type == "cpu":
                self.check_finite(float(window[1]))
        scale = LOSS_DIVISOR * self.trainer.accumulate_grad_batches * world / n_token
        gradients = [
            local(p.grad)
            for group in optimizer.param_groups
            for p in group["params"]
            if p.grad is not None
        ]
        if isinstance(scale, Tensor):
            scale = scale.to(torch.promote_types(gradients[0].dtype, torch.float32))
        torch._foreach_mul_(gradients, scale)
        self._window_tokens = 0
        self._window_nats = 0.0

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Lightning refuses to clip for fused optimizers under autocast, which is right only where
        a scaler has scaled the gradients.
        """
        scaled = getattr(self.trainer.precision_plugin, "scaler", None) is not None
        if gradient_clip_val and not scaled and gradient_clip_algorithm in (None, "norm"):
            clip_by_norm(list(self.parameters()), gradient_clip_val)
        elif gradient_clip_val and not scaled:
            for gradient in (local(p.grad) for p in self.parameters() if p.grad is not None):
                gradient.clamp_(-gradient_clip_val, gradient_clip_val)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    # Validation: exact sums over the split; scores of real decoding are the Exam's

    def on_validation_epoch_start(self) -> None:
        self.validation_loss.reset()
        self.validation_loss.n_alike = self.trainer.world_size // data_share(self.trainer)[1]
        self.validation_loss.update(torch.zeros(()), 0)  # also where this process has no batch
        unshard(self)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        if batch.n_token:
            self.validation_loss.update(self.loss(batch), batch.n_token)

    def add_up(self) -> tuple[float, int]:
        """Nats and tokens of this validation over all ranks; the first call of each is collective.

        Raises:
            NotFiniteError: the nats are none, on every rank.
        """
        self.validation_loss.compute()
        nats, n_token = self.validation_loss.totals
        self.check_finite(nats)
        return nats, n_token

    def on_validation_epoch_end(self) -> None:
        for name, value in self.validation_values(*self.add_up()).items():
            self.log(name, self.validation_loss if name == "val/loss" else value)
        reshard(self)

    def validation_values(self, nats: float, n_token: int) -> dict[str, float]:
        """What is logged of a validation's total nats; the loss is in nats per token."""
        return {"val/loss": nats / max(1, n_token)}

    def validation_metrics(self, data: Any) -> list[str]:
        """Names of all that a validation on these data logs; a metric that is not defined is
        not.
        """
        exam = data.validation_exam()
        answered = self.all_metrics(exam[0].language) if exam else []
        return ["val/loss", *(f"val/{metric.name}" for metric in answered)]

    # Exams

    def configure_callbacks(self) -> list[Callback]:
        """Return, as Lightning's hook, what scores decoded answers, where the Trainer has nothing
        that does.
        """

        has_one = any(
            isinstance(callback, EvaluationCallback) for callback in self.trainer.callbacks
        )
        return [] if has_one else [EvaluationCallback()]

    def on_test_epoch_start(self) -> None:
        unshard(self)

    on_predict_epoch_start = on_test_epoch_start

    def on_test_epoch_end(self) -> None:
        reshard(self)

    on_predict_epoch_end = on_test_epoch_end

    def test_step(self, batch: ExamBatch, batch_idx: int) -> list[Prediction]:
        with weights_cast_once(self.device.type):
            return self.answer(batch.examples) if batch.examples else []

    predict_step = test_step

    @torch.no_grad()
    def answers(self, batches: Iterable[Sequence[Example]]) -> Iterator[Prediction]:
        """Predictions batch by batch, in evaluation mode."""
        training = self.training
        self.eval()
        try:
            for batch in batches:
                with weights_cast_once(self.device.type):
                    predictions = self.answer(batch)
                yield from predictions
        finally:
            self.train(training)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        trainer = self.trainer
        data = self.trainer.datamodule
        checkpoint["tokenizer_digest"] = self.tokenizer.digest
        checkpoint["world_size"] = data_share(trainer)[1]
        checkpoint["accumulate"] = trainer.accumulate_grad_batches
        checkpoint["position"] = data.position(
            trainer.fit_loop.epoch_loop.batch_progress.total.processed
        )
        checkpoint["data"] = data.identity
        checkpoint["limit_train_batches"] = trainer.limit_train_batches
        checkpoint["optimizers"] = [recorded(optimizer) for optimizer in trainer.optimizers]
        checkpoint["schedules"] = [
            name_of(config.scheduler) for config in trainer.lr_scheduler_configs
        ]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """A state of training goes on only with the batches that would have come.

        Raises:
            ValueError: what decides them has changed; the message names it.
        """
        trainer = self.trainer
        if trainer.state.fn != "fit" or "position" not in checkpoint:
            return
        before = checkpoint["world_size"]
        now = data_share(trainer)[1]
        limit = trainer.limit_train_batches
        refuse_changes(
            checkpoint, trainer.datamodule.identity, now, trainer.accumulate_grad_batches, limit
        )
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        reopen_epoch(checkpoint["loops"]["fit_loop"]["epoch_progress"], progress)
        if before != now:
            self._count_anew(progress, checkpoint["position"], now)
            if trainer.is_global_zero:
                words = f"{now} x {trainer.accumulate_grad_batches} micro-batches a step"
                print(
                    (
                        f"saved by {before} processes, goes on with {words}, {before} x "
                        f"{checkpoint['accumulate']} before"
                    ),
                    flush=True,
                )
        trainer.datamodule.began_at = (progress["total"]["processed"], checkpoint["position"])
        n_group = len(by_mesh(decay_groups(self)))
        for state in checkpoint.get("lr_schedulers", []):  # other meshes, other groups
            names = ("base_lrs", "_last_lr", "lr_lambdas")
            state |= {name: state[name][:1] * n_group for name in names if name in state}

    def _count_anew(self, progress: dict[str, Any], position: int, world: int) -> None:
        """Lightning's counts of a rank's micro-batches, on which its validations depend, as if
        `world` ranks had trained all along.
        """
        data = self.trainer.datamodule
        if data.train_stream is None:
            data.train_dataloader()
        done = position // world
        in_epoch = done if data.train_stream is None else done % data.train_stream.epoch_length
        for which, number in (("total", done), ("current", in_epoch)):
            progress[which] |= dict.fromkeys(("ready", "started", "processed", "completed"), number)


def reopen_epoch(epochs: dict[str, Any], batches: Mapping[str, Any]) -> None:
    """Correct Lightning's count of epochs in a state of a training that ended within one, which it
    counts as complete: it goes on.
    """
    if (
        batches["is_last_batch"]
        or not batches["current"]["ready"]
        or epochs["current"]["processed"] < epochs["current"]["ready"]
    ):
        return
    for counts in (epochs["total"], epochs["current"]):
        counts |= dict.fromkeys(("processed", "completed"), counts["started"] - 1)


def refuse_changes(
    checkpoint: Mapping[str, Any],
    identity: Mapping[str, str],
    world_size: int,
    accumulate: int,
    limit: int | float | None,
) -> None:
    """Refuse to go on where what decides the batches has changed since the checkpoint was saved;
    another world size may change the window, but not where each process carries the state of rows
    of its own.

    Args:
        limit: trainer.limit_train_batches, which decides how long an epoch is.

    Raises:
        ValueError: the message names what, as it was and as it is.
    """
    saved = dict(checkpoint.get("data", {}))
    now = dict(identity)
    if checkpoint.get("world_size") == world_size:
        name = "trainer.accumulate_grad_batches"
        saved[name] = str(checkpoint.get("accumulate"))
        now[name] = str(accumulate)
    elif "carried" in checkpoint:
        name = "the number of processes, each with contiguous rows of its own,"
        saved[name] = str(checkpoint.get("world_size"))
        now[name] = str(world_size)
    if "limit_train_batches" in checkpoint:
        name = "trainer.limit_train_batches"
        saved[name] = str(checkpoint["limit_train_batches"])
        now[name] = str(1.0 if limit is None else limit)
    changed = [
        f"{name} ({saved[name]} then, {value} now)"
        for name, value in now.items()
        if saved.get(name, value) != value
    ]
    if changed:
        raise ValueError(
            f"since the checkpoint was saved, {' and '.join(changed)} changed; put back what "
            "was, or train a new run"
        )


def settings_of(search: AnySearch | None) -> str:
    """The class of a search with its plain settings; "" for none."""
    if search is None:
        return ""
    plain = (
        f"{name}={value}"
        for name, value in vars(search).items()
        if isinstance(value, int | float | str)
    )
    return f"{type(search).__name__}({', '.join(plain)})"


def micro_batch_seed(seed: int, number: int) -> int:
    """A 63-bit seed for one micro-batch."""
    return (
        int.from_bytes(hashlib.blake2b(f"{seed}:{number}".encode(), digest_size=8).digest(), "big")
        >> 1
    )
