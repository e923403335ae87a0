"""Search for garbage in a process that imports much before it works."""

import gc

DEFAULT = gc.get_threshold()
IMPORTING = (2_000_000, 1, 1)  # as of `gc.set_threshold`: until the first search
RARELY = (100_000, 1, 1)  # from the first search on


def collect_rarely() -> None:
    """Let Python search for garbage rarely from here on.

    Imports of PyTorch, Lightning and MLflow make more than a million objects of which hardly any is
    garbage; to look at them again and again takes a seventh of the processor time of a training
    until its first step, even if it is done after every 100,000 new objects only. The first search
    therefore comes after more objects than imports make, and later searches leave those out that
    existed by then.
    """
    gc.set_threshold(*IMPORTING)
    gc.callbacks.append(_after_search)


def collect_as_usual() -> None:
    """Let Python search for garbage as often as by default, if `collect_rarely` was called.

    Garbage of a training may hold memory of a GPU. What exists by now, above all modules, is left
    out.
    """
    if gc.get_threshold() in (IMPORTING, RARELY):
        _leave_out_all(DEFAULT)


def _after_search(phase: str, info: dict[str, int]) -> None:
    """End the time of imports after the first search; as of `gc.callbacks`."""
    if phase == "stop":
        _leave_out_all(RARELY)


def _leave_out_all(threshold: tuple[int, int, int]) -> None:
    """Leave all objects that exist out of later searches, which `threshold` decides on."""
    if _after_search in gc.callbacks:
        gc.callbacks.remove(_after_search)
    gc.freeze()
    gc.set_threshold(*threshold)
