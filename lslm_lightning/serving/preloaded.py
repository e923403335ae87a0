"""Imports of an engine. The process from which engines are forked imports this module, so that an
engine that has ended is soon replaced.
"""

import lslm_lightning.runs.loading
import lslm_lightning.runs.parser
import lslm_lightning.serving.engine_process
import lslm_lightning.serving.stepwise_model
import lslm_lightning.serving.whole_model
import lslm_lightning.text.tokenizer_files
import lslm_lightning.training.task  # noqa: F401
