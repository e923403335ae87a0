"""Imports of an engine. The process from which engines are forked imports this module, so that an
engine that has ended is soon replaced.
"""

import gc
from importlib import import_module

MODULES = (
    "lslm_lightning.runs.loading",
    "lslm_lightning.runs.parser",
    "lslm_lightning.serving.engine_process",
    "lslm_lightning.serving.stepwise_model",
    "lslm_lightning.serving.whole_model",
    "lslm_lightning.text.tokenizer_files",
    "lslm_lightning.training.task",
)

gc.disable()
try:
    for name in MODULES:
        import_module(name)
finally:
    gc.freeze()  # engines share what no search for garbage looks at
    gc.enable()
