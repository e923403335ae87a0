"""Settings of the `job` block, and the Trainer of the training commands."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal, TypedDict

from lightning.pytorch import LightningDataModule, LightningModule

from lslm_lightning.configuration.lightning_cli_internals import PrecisionInput, callback_of
from lslm_lightning.task_package import NAMES
from lslm_lightning.training.callbacks.checkpoints import Checkpoints
from lslm_lightning.training.lightning_internals import TaskTrainer
from lslm_lightning.training.task import Task
from lslm_lightning.types import IntendedUse

TRAINER_DEFAULTS = {
    "max_epochs": -1,
    "logger": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
    "use_distributed_sampler": False,
    "check_val_every_n_epoch": None,
    "val_check_interval": 500,
    "gradient_clip_val": 1.0,
    # under it autocast would cast every weight anew at every step of a search
    "inference_mode": False,
}
ONE_PASS = {  # of a task that is `one_pass`
    "accelerator": "cpu",
    "strategy": "auto",
    "max_epochs": 1,
    "max_steps": -1,
    "val_check_interval": 1.0,
    "check_val_every_n_epoch": 1,
    "gradient_clip_val": None,
    "accumulate_grad_batches": 1,
}


def task_name(kind: type) -> str:
    """Return the name of a task class's task.

    For a class of the module `tasks.translation`, or a subclass of one, it is "translation". For
    other classes it is the name of their top-level module.
    """
    for base in kind.__mro__:
        parts = base.__module__.split(".")
        if parts[0] in NAMES and len(parts) > 1:
            return parts[1]
    return kind.__module__.split(".")[0]


@dataclass
class Job:
    """Settings of a run apart from model, data and Trainer: where it is stored and how long it
    trains.

    Args:
        name: name of the run; by default the name of its config file.
        root: folder of all runs; a run is stored in root/task/name-id.
        minutes: train this long, validation included. The speed is measured before and during
            training to choose trainer.max_steps, which config.yaml records. A given
            trainer.max_steps takes precedence.
        average: average the weights of this many validated checkpoints after training; the mean
            becomes best.ckpt if it validates better.
        average_of: average the last of these checkpoints, or the best.
        keep_last: keep this many of the last checkpoints, so that an older one is left if the
            newest is damaged.
        keep_best: keep this many of the best checkpoints by the task's metric on the validation
            split.
        save_every_steps: save a checkpoint after this many steps, besides after each validation.
        save_every_minutes: save a checkpoint when this many minutes have passed since the last one;
            null for never.
        seeds: train with this many seeds one after the other, as child runs of one parent (lslm run
            only).
        start: start from the weights of this run, of the same model and tokenizer: a directory, a
            pattern or models:/NAME@ALIAS. Default: random weights, or the pretrained ones of the
            backbone.
        registered_model: register the best checkpoint in MLflow under this name, as a new version
            that MLflow can load and serve; the alias `best` is given to the version with the best
            score on the validation split. `lslm test` registers that of a finished run. Default: no
            registration, and no second upload of the checkpoint.
        intended_use: what the model is intended for: research, commercial, publication (of its
            weights), or a list of these. Model card and audit hold it against the licence of the
            data. Default: not stated.
        parent: MLflow run id of the parent run.
        tags: additional tags for MLflow.
    """

    name: str | None = None
    root: str = "runs"
    minutes: float | None = None
    average: int = 0
    average_of: Literal["last", "best"] = "last"
    keep_last: int = 2
    keep_best: int = 1
    save_every_steps: int | None = None
    save_every_minutes: float | None = 10.0
    seeds: int = 1
    start: str | None = None
    registered_model: str | None = None
    intended_use: IntendedUse | list[IntendedUse] | None = None
    parent: str | None = None
    tags: dict[str, str] = field(default_factory=dict)

    def kept(self) -> "KeptStates":
        """Return the keyword arguments for `Checkpoints` that these settings determine."""
        return {
            "average": self.average,
            "average_of": self.average_of,
            "every_minutes": self.save_every_minutes,
            "n_last": self.keep_last,
            "n_best": self.keep_best,
            "every_steps": self.save_every_steps,
        }


class KeptStates(TypedDict):
    """Keyword arguments of `Checkpoints`: which checkpoints are saved, kept and averaged."""

    average: int
    average_of: Literal["last", "best"]
    every_minutes: float | None
    n_last: int
    n_best: int
    every_steps: int | None


class JobTrainer(TaskTrainer):
    """Lightning's Trainer with the method `run`, and with numeric settings parsed as int before
    float.

    Only the parser accepts a `precision` of "auto": the command resolves it before it builds a
    Trainer.

    `typing` caches `Optional[Union[float, int]]` and `Optional[Union[int, float]]` as one type, in
    the order that was created first. With Lightning's annotations, the order depends on earlier
    imports, and a limit of 2 batches may become 2.0.

    Args:
        limit_train_batches: train on this many batches of an epoch, or on this share of them.
        limit_val_batches: validate on this many batches, or on this share of them.
        limit_test_batches: test on this many batches, or on this share of them.
        limit_predict_batches: predict this many batches, or this share of them.
        overfit_batches: train and validate on the same few batches, or on this share of them.
        val_check_interval: validate after this many batches, or after this share of an epoch.
        gradient_clip_val: scale gradients down to this norm; null for no clipping.
        precision: 32-true, bf16-mixed, bf16-true, or auto for the faster of the first two.
        accelerator: kind of device: cpu, gpu, mps, tpu, or auto for the best that there is.
        strategy: how processes share the work: auto, ddp, or a class; see configs/trainer.
        devices: number of devices of a machine, a list of their indices, -1 for all, or auto.
        num_nodes: number of machines.
        logger: loggers of Lightning besides the run's own records in metrics.jsonl and MLflow.
        callbacks: additional callbacks: a class path with init_args, or a list of these.
        fast_dev_run: only try this many batches of each split, without checkpoints and logs.
        max_epochs: stop after this many epochs; -1 for no limit.
        min_epochs: train for at least this many epochs, whatever callbacks decide.
        max_steps: stop after this many optimizer steps; -1 for no limit.
        min_steps: train for at least this many optimizer steps, whatever callbacks decide.
        max_time: stop after this time, as DD:HH:MM:SS or a mapping such as {hours: 1}.
        check_val_every_n_epoch: validate only after every this many epochs; null to count batches
            across epochs by val_check_interval.
        num_sanity_val_steps: validation batches to try before training; -1 for all.
        log_every_n_steps: log training metrics at every this many steps; null for 50.
        enable_checkpointing: save checkpoints; a run always does.
        enable_progress_bar: show a line of progress; null for true.
        enable_model_summary: print a table of the model's layers before training.
        accumulate_grad_batches: number of batches whose gradients make one optimizer step.
        gradient_clip_algorithm: what gradient_clip_val limits: norm, or value for each element.
        deterministic: use deterministic algorithms of PyTorch only; warn to be warned of others.
        benchmark: let cuDNN try several algorithms and choose the fastest.
        inference_mode: evaluate under torch.inference_mode instead of torch.no_grad.
        use_distributed_sampler: replace samplers by distributed ones; the project's data share
            themselves out among processes already.
        profiler: measure where time goes: simple, advanced, pytorch, or a class.
        detect_anomaly: find the operation whose gradient is not finite; slow.
        barebones: turn off everything but the loop, to measure Lightning's overhead.
        plugins: plugins of Lightning, such as a cluster environment or a precision plugin.
        sync_batchnorm: compute the statistics of batch normalization over all processes.
        reload_dataloaders_every_n_epochs: make the data loaders anew after this many epochs; 0 for
            never.
        default_root_dir: folder of Lightning's files; runs are stored in job.root instead.
        enable_autolog_hparams: let additional loggers record the hyperparameters.
        model_registry: name in Lightning's model registry, which runs do not use.
    """

    def __init__(
        self,
        *,
        limit_train_batches: int | float | None = None,
        limit_val_batches: int | float | None = None,
        limit_test_batches: int | float | None = None,
        limit_predict_batches: int | float | None = None,
        overfit_batches: int | float = 0.0,
        val_check_interval: int | float | str | timedelta | dict[str, int] | None = None,
        gradient_clip_val: int | float | None = None,
        precision: PrecisionInput | Literal["auto"] | None = None,
        **kwargs: object,  # those of Lightning's Trainer, which the parser finds by this name
    ) -> None:
        super().__init__(
            limit_train_batches=limit_train_batches,
            limit_val_batches=limit_val_batches,
            limit_test_batches=limit_test_batches,
            limit_predict_batches=limit_predict_batches,
            overfit_batches=overfit_batches,
            val_check_interval=val_check_interval,
            gradient_clip_val=gradient_clip_val,
            precision=precision,  # type: ignore[arg-type]  # "auto" is decided before
            **kwargs,  # type: ignore[arg-type]  # passed on as they are
        )

    def run(
        self,
        model: LightningModule,
        datamodule: LightningDataModule | None = None,
        ckpt_path: str | None = None,
    ) -> None:
        """Train, then test the best checkpoint, in one run.

        Args:
            ckpt_path: checkpoint to continue training from; None to start anew.
        """
        self.fit(model, datamodule=datamodule, ckpt_path=ckpt_path)
        checkpoints = callback_of(self, Checkpoints)
        assert isinstance(model, Task)
        checkpoints.finalize(self, model)
        self.test(
            model,
            datamodule=datamodule,
            ckpt_path=str(checkpoints.best),
            verbose=False,
            weights_only=True,
        )
