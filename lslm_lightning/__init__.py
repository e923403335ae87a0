"""Language models, their tasks and their evaluation on PyTorch Lightning.

>>> from lslm_lightning import train
>>> run = train("configs/translation/cldr_demo.yaml", {"trainer.max_steps": 500})
>>> run.scores["bleu"].value, run.report
"""

import os

from lslm_lightning.allocation import keep_freed_memory
from lslm_lightning.task_package import add_alias

TYPE_CHECKING = False  # type checkers take it for that of `typing`, whose import is slow
if TYPE_CHECKING:
    from lslm_lightning.auditing.settings import AuditSettings
    from lslm_lightning.evaluation.texts import score_texts as score
    from lslm_lightning.experiments.auditing import audit
    from lslm_lightning.experiments.comparing import compare
    from lslm_lightning.experiments.evaluating import evaluate
    from lslm_lightning.experiments.gating import gate
    from lslm_lightning.experiments.generation import SearchSettings, generate
    from lslm_lightning.experiments.resuming import resume
    from lslm_lightning.experiments.starting import train
    from lslm_lightning.experiments.sweep import sweep
    from lslm_lightning.interchange.exporting import export_model
    from lslm_lightning.interchange.importing import import_model
    from lslm_lightning.runs.loading import load_run

# oneDNN compiles a kernel for every shape it meets and keeps 1024 of them. Linear maps meet few
# (`models.linear`), but attention to more than 64 keys, convolutions and recurrent layers meet one
# with each batch: compiling them again and again took an eighth of a training step in bf16. With
# AMX a kernel takes 0.15 MB.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "4096")

# Between two operations libgomp's threads spin for 1 to 14 ms, by processor. Where other processes
# want the same cores, each waits for threads that are not running, and a step takes ten times as
# long. libgomp's own limit where it knows of more threads than cores, 1000 turns, is shorter than
# the time between two operations: small models trained a quarter more slowly with it. 10,000 turns
# (0.1 to 0.5 ms) lose neither: 24, 24 and 18 thousand tokens/s with 300,000, 10,000 and 1000 turns
# on two idle cores, and 6.3 and 6.5 thousand with the latter two beside two busy processes.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")

keep_freed_memory()

__version__ = "0.1.0"

add_alias()

__all__ = [
    "AuditSettings",
    "SearchSettings",
    "__version__",
    "audit",
    "compare",
    "evaluate",
    "export_model",
    "gate",
    "generate",
    "import_model",
    "load_run",
    "resume",
    "score",
    "sweep",
    "train",
]

LAZY_IMPORTS = {  # module and attribute of each name that is imported when it is first used
    "AuditSettings": ("lslm_lightning.auditing.settings", "AuditSettings"),
    "audit": ("lslm_lightning.experiments.auditing", "audit"),
    "compare": ("lslm_lightning.experiments.comparing", "compare"),
    "evaluate": ("lslm_lightning.experiments.evaluating", "evaluate"),
    "export_model": ("lslm_lightning.interchange.exporting", "export_model"),
    "gate": ("lslm_lightning.experiments.gating", "gate"),
    "SearchSettings": ("lslm_lightning.experiments.generation", "SearchSettings"),
    "generate": ("lslm_lightning.experiments.generation", "generate"),
    "import_model": ("lslm_lightning.interchange.importing", "import_model"),
    "load_run": ("lslm_lightning.runs.loading", "load_run"),
    "resume": ("lslm_lightning.experiments.resuming", "resume"),
    "score": ("lslm_lightning.evaluation.texts", "score_texts"),
    "sweep": ("lslm_lightning.experiments.sweep", "sweep"),
    "train": ("lslm_lightning.experiments.starting", "train"),
}


def __getattr__(name: str) -> object:
    """Import a public name on first use, so that `import lslm_lightning` is fast."""
    if name not in LAZY_IMPORTS:
        raise AttributeError(
            f"module {__name__!r} has no attribute {name!r}: it offers {', '.join(__all__)}"
        )
    from importlib import import_module

    module, attribute = LAZY_IMPORTS[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    """Return the public names of the package."""
    return __all__
