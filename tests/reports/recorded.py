"""Results that hold scores and nothing else, for reports in tests."""

from lslm_lightning.evaluation.results import Results
from lslm_lightning.evaluation.scoring import Scores


def recorded(systems, headline="", pairs=(), findings=()):
    scores = {name: Scores(list(own), [], {}) for name, own in systems.items()}
    return Results(headline, {}, scores, list(pairs), [], list(findings), [])
