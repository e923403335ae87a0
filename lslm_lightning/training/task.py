"""Training of a task on Lightning: optimizer, loss per token, random state, checkpoints."""

import math
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
import torchmetrics
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from lslm_lightning.adapters.low_rank import Adapter
from lslm_lightning.contracts import Example, Metric, Prediction
from lslm_lightning.decoding import AnySearch, Fusion, Search
from lslm_lightning.decoding.engine import InferenceEngine
from lslm_lightning.metrics.names import as_metrics
from lslm_lightning.models.backbone import Backbone
from lslm_lightning.optim import Schedule, decay_groups
from lslm_lightning.renamed import TASK_METHODS
from lslm_lightning.runs.weights import fitting_weights, load_files
from lslm_lightning.text.tokenizer import Tokenizer
from lslm_lightning.training.accumulation import MeanNats
from lslm_lightning.training.adapted import adapt, freeze_base, load_start
from lslm_lightning.training.answering import Answering
from lslm_lightning.training.batches import Batch, EvaluationBatch
from lslm_lightning.training.callbacks.compilation import Compilation
from lslm_lightning.training.callbacks.evaluation import EvaluationCallback
from lslm_lightning.training.callbacks.progress import Reporter
from lslm_lightning.training.compilation import Compile, CompiledLoss
from lslm_lightning.training.data import TaskData
from lslm_lightning.training.data_requirements import DataRequirements
from lslm_lightning.training.distributed.fsdp import (
    ShardedStrategy,
    apply_fsdp,
    by_mesh,
    clip_by_norm,
    data_share,
    local,
    reshard,
    unshard,
)
from lslm_lightning.training.lightning_internals import callbacks_of, data_of
from lslm_lightning.training.model_info import ModelInfo
from lslm_lightning.training.optimizer_settings import ADAMW, COSINE, optimizer_builder
from lslm_lightning.training.precision import weights_cast_once
from lslm_lightning.training.task_report import TaskReport
from lslm_lightning.training.token_gradients import (
    LOSS_DIVISOR,
    TokenWindow,
    check_finite,
    micro_batch_seed,
)
from lslm_lightning.training.training_state import TrainingState
from lslm_lightning.training.validation import Validation
from lslm_lightning.types import StateDict

LABEL_SMOOTHING = 0.0
SEARCH_SETTINGS = ("search", "validation_search", "max_length", "min_length")


class Task(LightningModule, ABC):
    """A model between token embeddings and an output layer, trained by maximum likelihood.

    The gradient of an optimizer step is the gradient of the mean loss per target token, over all
    micro-batches of the accumulation window and all ranks, whatever the lengths in each
    micro-batch. To this end, summed losses are back-propagated and gradients are divided once by
    the number of target tokens of the window.

    A task is written by deriving from this class. `loss`, `answer` and `metrics` are required; a
    task that generates also has `generate`, one that gives probabilities has `log_prob` (see
    `contracts`). Everything else has a default, which a task changes by class attributes: the
    values listed below, and the classes of its components. Each component is constructed with the
    task:

    - `answering_class`: search, length limits, calibration and samples of answers (`Answering`);
    - `validation_class`: values that a validation logs (`Validation`);
    - `requirements_class`: demands on the data module (`DataRequirements`);
    - `report_class`: baselines and sections of reports (`TaskReport`);
    - `model_info_class`: name, size and files of the model (`ModelInfo`).

    A task whose constructor has arguments that do not change what its network computes, such as
    weights of the loss and settings of a search, lists their names in `changeable`, beside those of
    its base classes. Only these may differ from the run that trained a checkpoint.

    Args:
        backbone: maps vectors to vectors; None for a model that is no neural network.
        tokenizer: tokenizer of the data; configs link it automatically.
        optimizer: called with parameter groups; weight decay applies to matrices, not to vectors.
        schedule: factor on the learning rate as a function of the step.
        label_smoothing: share of the probability that is spread over the vocabulary, in training
            only.
        extra_metrics: additional metrics that score answers in validation and test, from
            lslm_lightning.metrics or torchmetrics.text.
        adapter: low-rank adapter of the backbone, which is then frozen; by default all weights are
            trained.

    Attributes:
        monitor: name of the logged value that selects the best checkpoint.
        higher_is_better: whether a higher value of `monitor` is better.
        headline: name of the metric that a report shows first.
        modality: modality of the examples; see `contracts.Example`.
        one_pass: whether training reads the training split once, whole and in order, whatever the
            Trainer's settings.
        search: generates answers token by token; None for a task that does not.
        validation_search: search used in validation; None to use `search`.
        searches: supported kinds of search, the preferred one first.
        fusion: language model that the search combines with this model.
        engine: program that computes the model in place of PyTorch; None for PyTorch.
        finds_n_best: whether `generate` takes `n_best`, for several answers to one source.
        max_length: most tokens of an answer; None for a task without such a limit.
        min_length: fewest tokens of an answer; None for a task without such a limit.
        has_open_length: whether `max_length` was left open and is chosen from the training split.
        on_scored: function that is called with the share (0 to 1) of a batch scored so far, to show
            progress on long texts.
        is_candidate: whether the current validation decides if a checkpoint becomes the best one.
        is_resuming: whether a checkpoint is about to be loaded.
        start: run whose weights training starts from; None for random or pretrained ones.
        compile_mode: whether training steps are compiled: True, False or "auto".
        compiled_loss: the compiled loss, while training uses one; None otherwise.
    """

    monitor = "val/loss"
    higher_is_better = False
    headline = ""
    modality = "text"
    one_pass = False
    search: AnySearch | None = None
    validation_search: AnySearch | None = None
    searches: tuple[type, ...] = (Search,)
    fusion: Fusion | None = None
    engine: InferenceEngine | None = None
    finds_n_best = False
    max_length: int | None = None
    min_length: int | None = None
    has_open_length = False
    on_scored: Callable[[float], None] | None = None
    is_candidate = False
    is_resuming = False
    start: str | None = None
    compile_mode: Compile = False
    compiled_loss: CompiledLoss | None = None

    changeable: ClassVar[Sequence[str]] = (
        "optimizer",
        "schedule",
        "label_smoothing",
        "extra_metrics",
    )
    answering_class: ClassVar[type[Answering]] = Answering
    validation_class: ClassVar[type[Validation]] = Validation
    requirements_class: ClassVar[type[DataRequirements]] = DataRequirements
    report_class: ClassVar[type[TaskReport]] = TaskReport
    model_info_class: ClassVar[type[ModelInfo]] = ModelInfo

    def __init_subclass__(cls) -> None:
        """Accept the attribute `reads`, the old name of `modality`, and warn; refuse methods of
        earlier releases that nothing calls any more.

        Raises:
            TypeError: the class defines such a method; the message says what to override.
        """
        super().__init_subclass__()
        for old in sorted(TASK_METHODS.keys() & vars(cls).keys()):
            raise TypeError(
                f"{cls.__name__}.{old} is not called any more: override {TASK_METHODS[old]}"
            )
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
        optimizer: OptimizerCallable = ADAMW,
        schedule: Schedule = COSINE,
        label_smoothing: float = LABEL_SMOOTHING,
        extra_metrics: list[Metric | torchmetrics.Metric] | None = None,
        adapter: Adapter | None = None,
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
                " lslm_lightning.text.hugging_face.HuggingFaceTokenizer with the same path"
            )
        if adapter is not None and backbone is not None:
            adapt(backbone, adapter)
        self.backbone = backbone
        self.adapter = adapter
        self.tokenizer = tokenizer
        self.optimizer_of = optimizer_builder(optimizer)
        self.schedule = schedule
        self.label_smoothing = label_smoothing
        self.extra_metrics = as_metrics(extra_metrics or [])
        self.answering = self.answering_class(self)
        self.validation = self.validation_class(self)
        self.requirements = self.requirements_class(self)
        self.report = self.report_class(self)
        self.model_info = self.model_info_class(self)
        self.training_state = TrainingState(self)
        self.window = TokenWindow()
        self.validation_loss = MeanNats()

    # What every task defines

    @abstractmethod
    def loss(self, batch: Any, label_smoothing: float = LABEL_SMOOTHING) -> Tensor:
        """Return the total loss in nats over the batch's `n_token` target tokens, a scalar. The
        batch is a `Batch` of the task's own data, whose other fields only the task knows.
        """

    @abstractmethod
    def answer(self, examples: Sequence[Example]) -> list[Prediction]:
        """Return one prediction for each example, in order."""

    @classmethod
    @abstractmethod
    def metrics(cls, language: str) -> list[Metric]:
        """Return the metrics that score answers in a language; `headline` names one of them."""

    # Training

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute as any module does. The name of the hook that runs, which Lightning sets
        some sixty times a step, is no parameter and is not asked whether it is one.
        """
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def setup(self, stage: str) -> None:
        """Pass settings of the model to the data module. Load the weights that training starts
        from, unless it resumes and has them in the checkpoint, and freeze an adapter's base.
        """
        data = getattr(self.trainer, "datamodule", None)  # none with bare DataLoaders
        if isinstance(data, TaskData):
            self.requirements.bind(data)
        if stage == "fit":
            freeze_base(self)
        if stage == "fit" and not self.is_resuming:
            load_start(self)

    def configure_model(self) -> None:
        """Shard the weights over the processes if the Trainer's strategy is a `ShardedStrategy`."""
        if isinstance(self.trainer.strategy, ShardedStrategy):
            assert self.device_mesh is not None
            apply_fsdp(self, self.device_mesh, self.trainer.precision)

    def configure_optimizers(self) -> OptimizerLRScheduler:
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
        """Number of optimizer steps of the whole run: the smaller of the limits by
        `trainer.max_steps` and `trainer.max_epochs`; 1 until it is known.
        """
        max_steps = self.trainer.max_steps
        max_epochs = self.trainer.max_epochs
        stream = data_of(self.trainer).train_stream
        if stream is None or max_epochs is None or max_epochs < 0:
            return max(1, max_steps)
        n_step = max_epochs * math.ceil(stream.epoch_length / self.trainer.accumulate_grad_batches)
        return max(1, min(n_step, max_steps) if max_steps > 0 else n_step)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed the random generator from the seed of the run and the number of the micro-batch,
        counted over all ranks. Validations and interruptions therefore do not change the training.
        """
        number = data_of(self.trainer).current_position() + data_share(self.trainer)[0]
        seed = micro_batch_seed(int(os.environ.get("PL_GLOBAL_SEED", "0")), number)
        if self.device.type == "cpu":
            # torch.manual_seed notes the whole call stack for each kind of device that is absent
            torch.default_generator.manual_seed(seed)
        else:
            torch.manual_seed(seed)

    def training_loss(self, batch: Batch) -> Tensor:
        """Return the loss to train by, which is compiled if `compiled_loss` is set."""
        if self.compiled_loss is None:
            return self.loss(batch, self.label_smoothing)
        return self.compiled_loss(self, batch, self.label_smoothing)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        data_of(self.trainer).trained_on(batch)
        nats = self.training_loss(batch)
        self.window.n_token += batch.n_token
        if self.trainer.world_size > 1:
            # the ranks look together, at the end of the window
            self.window.nats = self.window.nats + nats.detach()
        elif nats.device.type == "cpu":
            # on a GPU a look makes each step wait; Reporter and save_atomically look there
            check_finite(float(nats.detach()), self.global_step)
        return nats / LOSS_DIVISOR

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Convert gradients of summed losses to gradients of the mean loss per target token of the
        accumulation window, and clip them. Fused optimizers under autocast are supported too:
        Lightning refuses them, which is necessary only if a gradient scaler is active.
        """
        trainer = self.trainer
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        gradients = [local(p.grad) for p in parameters if p.grad is not None]
        if not gradients:
            return
        scale = self.window.scale(
            gradients, trainer.accumulate_grad_batches, trainer.world_size, self.global_step
        )
        scaled = getattr(trainer.precision_plugin, "scaler", None) is not None
        if gradient_clip_val and not scaled and gradient_clip_algorithm in (None, "norm"):
            clip_by_norm(parameters, gradient_clip_val, scale)
            return
        torch._foreach_mul_(gradients, scale)
        if gradient_clip_val and not scaled:
            for gradient in gradients:
                gradient.clamp_(-gradient_clip_val, gradient_clip_val)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def on_save_checkpoint(self, checkpoint: StateDict) -> None:
        self.training_state.save(checkpoint)

    def on_load_checkpoint(self, checkpoint: StateDict) -> None:
        path = Path(str(self.trainer.ckpt_path))
        if "state_dict" in checkpoint:  # not if a `ShardedStrategy` has loaded the weights
            weights = fitting_weights(self, checkpoint, path, self.tokenizer)
            checkpoint["state_dict"] = weights
        load_files(self, checkpoint, path)
        self.training_state.load(checkpoint)

    # Validation and test: exact sums over the split; answers are scored by a callback

    def configure_callbacks(self) -> list[Callback]:
        """Return the callbacks that compile the step, score answers and log the training curve, of
        those that the Trainer does not have already.
        """
        own = (
            Compilation(),
            EvaluationCallback(),
            Reporter(shown=False, tells_resumption=False),
        )
        return [each for each in own if not callbacks_of(self.trainer, type(each))]

    def on_validation_epoch_start(self) -> None:
        self.validation.start(self.trainer)
        unshard(self)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        if batch.n_token:
            self.validation_loss.update(self.loss(batch), batch.n_token)

    def on_validation_epoch_end(self) -> None:
        totals = self.validation.totals()
        self.log("val/loss", self.validation_loss)
        self.log_dict(self.validation.values(*totals, data_of(self.trainer)))
        reshard(self)

    # weights are whole while a test or a prediction runs
    on_test_epoch_start = unshard
    on_predict_epoch_start = unshard
    on_test_epoch_end = reshard
    on_predict_epoch_end = reshard

    def test_step(  # type: ignore[override]  # Lightning passes any output on to callbacks
        self, batch: EvaluationBatch, batch_idx: int
    ) -> list[Prediction]:
        with weights_cast_once(self.device.type):
            return self.answer(batch.examples) if batch.examples else []

    predict_step = test_step
