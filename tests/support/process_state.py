"""State of a process that belongs to whoever calls a library in it."""

import faulthandler
import logging
import os
import pickle
import random
import signal
import sys
import threading
import warnings

import mlflow
import numpy as np
import torch

CATCHABLE = [number for number in signal.valid_signals() if number not in (9, 19)]
LOGGERS = ("", "lightning", "lightning.pytorch", "lightning.fabric", "mlflow", "alembic", "torch")
IGNORED = ("PYTEST_CURRENT_TEST",)


def process_state() -> dict[str, object]:
    """Return what a call must leave as it was, by name, as values that compare."""
    return {
        "environment": {k: v for k, v in os.environ.items() if k not in IGNORED},
        "working directory": os.getcwd(),
        "arguments": list(sys.argv),
        "streams": [sys.stdin, sys.stdout, sys.stderr],
        "import path": list(sys.path),
        "hooks": [sys.excepthook, threading.excepthook, sys.displayhook, sys.unraisablehook],
        "signals": [signal.getsignal(number) for number in CATCHABLE],
        "alarm": signal.getitimer(signal.ITIMER_REAL),
        "fault handler": faulthandler.is_enabled(),
        "filters of warnings": list(warnings.filters),
        "show of warnings": warnings.showwarning,
        "levels of loggers": {name: logging.getLogger(name).level for name in LOGGERS},
        "handlers of loggers": {name: list(logging.getLogger(name).handlers) for name in LOGGERS},
        "pickle": [pickle.load, pickle.loads, pickle.Unpickler],
        "store of MLflow": mlflow.get_tracking_uri(),
        "active run of MLflow": mlflow.active_run(),
        "random": random.getstate(),
        "random of numpy": [np.asarray(part).tolist() for part in np.random.get_state()],
        "random of torch": torch.get_rng_state().tolist(),
        "threads of torch": torch.get_num_threads(),
        "gradients": torch.is_grad_enabled(),
        "default dtype": torch.get_default_dtype(),
        "determinism": torch.are_deterministic_algorithms_enabled(),
    }


def changes(before: dict[str, object], after: dict[str, object]) -> dict[str, object]:
    """Return what differs, with its values before and after, by name."""
    return {name: (before[name], after[name]) for name in before if before[name] != after[name]}
