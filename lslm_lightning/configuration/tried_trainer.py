"""Translation of Trainer settings for Lightning, and a Trainer that only checks them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from jsonargparse import Namespace
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ProgressBar, Timer

from lslm_lightning.configuration.lightning_cli_internals import callbacks_of, set_callbacks
from lslm_lightning.types import JsonObject, Settings


def plain_settings(trainer: Namespace) -> JsonObject:
    """Return Trainer settings for a Trainer on one CPU that serves only to check them.

    Settings of objects and devices are left out; the others are translated for Lightning.
    """
    left_out = (
        "accelerator",
        "strategy",
        "devices",
        "num_nodes",
        "logger",
        "callbacks",
        "plugins",
        "profiler",
        "precision",
    )
    settings = translated(
        {
            name: trainer[name]
            for name in vars(trainer)
            if name not in left_out and not name.startswith("__")
        }
    )
    return settings | {
        "accelerator": "cpu",
        "devices": 1,
        "logger": False,
        "enable_model_summary": False,
    }


def tried_trainer(trainer: Namespace) -> Trainer:
    """Build a Trainer that runs nothing, so that Lightning checks its settings, and return it.

    Args:
        trainer: Trainer settings.

    Raises:
        ValueError: Lightning refuses the settings, or `max_time` leaves no time to train.
    """
    silent: JsonObject = {
        "enable_progress_bar": False,
        "enable_checkpointing": True,
        "default_root_dir": None,
    }
    with one_line_refusals():
        tried = Trainer(**plain_settings(trainer) | silent)
    check_time_left(tried, f"trainer.max_time={trainer.max_time}")
    return tried


def check_given_callbacks(tried: Trainer, callbacks: Sequence[Callback]) -> None:
    """Refuse callbacks that Lightning refuses, and timers without time.

    Args:
        tried: Trainer from `tried_trainer`, which gets the callbacks.

    Raises:
        ValueError: callbacks exclude each other, or a timer leaves no time to train.
    """
    with one_line_refusals():
        has_bar = any(isinstance(callback, ProgressBar) for callback in callbacks)
        set_callbacks(tried, callbacks, has_bar)
    check_time_left(tried, "trainer.callbacks: Timer")


@contextmanager
def one_line_refusals() -> Iterator[None]:
    """Raise what Lightning refuses inside the body as ValueError with a message of one line."""
    try:
        yield
    except (MisconfigurationException, ValueError, TypeError, RuntimeError) as error:
        raise ValueError(f"trainer: {' '.join(str(error).split())}") from None


def check_time_left(trainer: Trainer, setting: str) -> None:
    """Raise ValueError if a timer of a Trainer leaves no time.

    Args:
        setting: text that names the setting, for the message.
    """
    for timer in callbacks_of(trainer, Timer):
        if (left := timer.time_remaining()) is not None and left <= 0:
            raise ValueError(
                f"{setting} leaves no time to train; set a longer one, or leave it out"
            )


def translated(settings: Settings) -> JsonObject:
    """Return Trainer settings converted to the form that Lightning expects.

    A `val_check_interval` given as a share refers to one epoch. `overfit_batches` becomes limits of
    the training and validation batches: Lightning itself would replace the data loaders.
    `min_steps` no longer implies at least one whole epoch.
    """
    found = dict(settings)
    if found.get("min_steps") is not None and found.get("min_epochs") is None:
        found["min_epochs"] = 0
    if isinstance(found["val_check_interval"], float) and found["check_val_every_n_epoch"] is None:
        found["check_val_every_n_epoch"] = 1
    if overfit := found["overfit_batches"]:
        # of a share, the data are that share already
        number = overfit if isinstance(overfit, int) else 1.0
        found |= {
            "overfit_batches": 0.0,
            "limit_train_batches": number,
            "limit_val_batches": overfit,
        }
    return found
