"""Search for garbage in a process that imports much before it works."""

import gc

DEFAULT = gc.get_threshold()
RARELY = (100_000, 1, 1)  # as of `gc.set_threshold`


def collect_rarely() -> None:
    """Let Python search for garbage rarely from here on.

    Imports of PyTorch, Lightning and MLflow make some 650,000 objects of which hardly any is
    garbage; to look at them over and over takes a fifth of the processor time of these imports.
    """
    gc.set_threshold(*RARELY)


def collect_as_usual() -> None:
    """Let Python search for garbage as often as by default, if `collect_rarely` was called.

    Garbage of a training may hold memory of a GPU. What exists by now, above all modules, is left
    out.
    """
    if gc.get_threshold() == RARELY:
        gc.freeze()
        gc.set_threshold(*DEFAULT)
