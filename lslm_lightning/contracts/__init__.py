"""Types on which evaluation is built; the package to read first.

An *example* is one question of an evaluation set. A *system* answers it with a *prediction*. A
*metric* turns examples and predictions into additive statistics, and their sum into a number. A
*score* is this number together with its unit, signature and confidence interval.
"""

from lslm_lightning.contracts.answers import Answers, pair_answers
from lslm_lightning.contracts.example import (
    Alternative,
    Example,
    Prediction,
    Token,
    by_text,
    passages_of,
)
from lslm_lightning.contracts.metric import (
    LABELS,
    Metric,
    Score,
    join_signature,
    metric_key,
    metric_label,
    signature_parts,
)
from lslm_lightning.contracts.system import (
    CannotError,
    Generator,
    Mode,
    OutputsError,
    Purpose,
    Scorer,
    System,
)

__all__ = [
    "LABELS",
    "Alternative",
    "Answers",
    "CannotError",
    "Example",
    "Generator",
    "Metric",
    "Mode",
    "OutputsError",
    "Prediction",
    "Purpose",
    "Score",
    "Scorer",
    "System",
    "Token",
    "by_text",
    "join_signature",
    "metric_key",
    "metric_label",
    "pair_answers",
    "passages_of",
    "signature_parts",
]
