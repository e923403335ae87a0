"""Recording of runs in MLflow.

`Tracker` needs lightning, and therefore torch, so it is imported on first use.
"""

from typing import TYPE_CHECKING

from lslm_lightning.tracking.store import Store, TrackingError

if TYPE_CHECKING:
    from lslm_lightning.tracking.tracker import Tracker

__all__ = ["Store", "Tracker", "TrackingError"]


def __getattr__(name: str) -> object:
    if name == "Tracker":
        from lslm_lightning.tracking.tracker import Tracker

        return Tracker
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
