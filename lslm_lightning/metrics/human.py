"""Human ratings as a metric beside automatic ones."""

import hashlib
from collections import defaultdict
from pathlib import Path

import numpy as np

from lslm_lightning.contracts import Example, Metric, Prediction
from lslm_lightning.text.json_texts import parse_json

FORMAT = 1


def digest_of_output(text: str) -> str:
    """Return the digest of an output, by which a rating is found again."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


class HumanRatings(Metric):
    """Mean of the ratings that annotators gave, from the file that `lslm human score` writes.

    A rating belongs to an output, not to a system: an output that nobody rated does not count, so
    that a system that was changed keeps the ratings of the outputs that stayed the same. Scores and
    shares of pairs won are from 0 to 100; of penalties less is better.

    Args:
        path: ratings.json.
    """

    name = "human"
    unit = ""

    def __init__(self, path: str) -> None:
        self.method, self.digest, self.ratings = _read(Path(path))
        self.higher_is_better = self.method != "mqm"

    @property
    def signature(self) -> str:
        return f"human:{self.method}|ratings:{self.digest[:12]}"

    def statistics(self, example: Example, prediction: Prediction) -> np.ndarray:
        """Return the mean of the ratings of the output and a count of 1; two zeros if it has none,
        so that outputs with more ratings count no more.
        """
        if prediction.output is None:
            return np.full(2, np.nan)
        found = self.ratings.get((example.id, digest_of_output(prediction.output)), [])
        return np.array([np.mean(found), 1.0]) if found else np.zeros(2)

    def score(self, total: np.ndarray) -> float:
        return float(total[0] / total[1]) if total[1] else float("nan")

    def scores(self, totals: np.ndarray) -> np.ndarray:
        """Return the means (R,) of resampled sums; nan where no rating was drawn."""
        with np.errstate(invalid="ignore", divide="ignore"):
            means: np.ndarray = totals[:, 0] / totals[:, 1]
        return means


def _read(path: Path) -> tuple[str, str, dict[tuple[str, str], list[float]]]:
    """Return the method and the digest of a file of ratings, and its ratings by the id of the
    example and the digest of the output.

    Raises:
        ValueError: it cannot be read or is no such file.
    """
    try:
        record = parse_json(path.read_text("utf-8"))
        if record["format"] > FORMAT:
            raise ValueError(f"its format {record['format']} is of a newer release")
        ratings: dict[tuple[str, str], list[float]] = defaultdict(list)
        for each in record["ratings"]:
            ratings[each["example"], each["output"]].append(float(each["standard"]))
        return str(record["method"]), str(record["digest"]), ratings
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is no file of human ratings ({type(error).__name__}: {error}); lslm human "
            "score writes one"
        ) from None
