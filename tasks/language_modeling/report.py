"""What a report shows of a language model besides scores: where in the text it is good, and how it writes."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lslm_lightning.contracts import Prediction
from lslm_lightning.reports.blocks import Section, Text
from lslm_lightning.reports.figures import Curves, Series
from tasks.language_modeling.data import LanguageModelingData

if TYPE_CHECKING:
    from tasks.language_modeling.task import LanguageModelingTask

N_POINT = 200


def sections(task: "LanguageModelingTask", data: LanguageModelingData, predictions: Sequence[Prediction]) -> list[Section]:
    """Bits per byte along the test text, and a few continuations of nothing."""
    return [along_the_text(data, predictions), writing(task, data)]


def along_the_text(data: LanguageModelingData, predictions: Sequence[Prediction]) -> Section:
    """Bits per byte of consecutive parts of the test split."""
    nats = {p.id: p.nats for p in predictions}
    examples = data.examples("test")
    size = math.ceil(len(examples) / N_POINT)
    parts = [examples[i : i + size] for i in range(0, len(examples), size)]
    values = [sum(nats[e.id] for e in part) / math.log(2) / max(1, sum(len(e.references[0].encode()) for e in part)) for part in parts]
    share = [100 * i / len(parts) for i in range(len(parts))]
    return Section("Along the text", [Curves([Series("bits per byte", share, values)], "% of the test text", "bits per byte")])


def writing(task: "LanguageModelingTask", data: LanguageModelingData) -> Section:
    """Texts the model writes when nothing is given."""
    return Section("What it writes", [Text(text, data.language) for text in task.samples()])
