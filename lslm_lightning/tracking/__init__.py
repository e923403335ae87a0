"""What one run stores in MLflow, and how it gets there. `Tracker` needs lightning, and so torch: it
is imported when first named.
"""

from lslm_lightning.tracking.store import Store, TrackingError

__all__ = ["Store", "Tracker", "TrackingError"]


def __getattr__(name: str) -> object:
    if name == "Tracker":
        from lslm_lightning.tracking.tracker import Tracker

        return Tracker
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
