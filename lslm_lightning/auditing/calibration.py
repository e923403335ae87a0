"""Calibration: whether a model is right as often as its probabilities say."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from lslm_lightning.auditing.finding import AuditFigure, AuditFinding, AuditTable
from lslm_lightning.auditing.part import AuditPart, Progress
from lslm_lightning.auditing.robustness import drawn
from lslm_lightning.auditing.subject import AuditSubject
from lslm_lightning.training.causal import CausalTask
from lslm_lightning.types import JsonObject

N_BIN = 15  # of equal width, as in Guo et al. 2017
N_RESAMPLE = 1_000
SEED = 12345
BATCH = 16
LARGE = 5.0  # percentage points of the error from which a person should look at it
LIMITS = (
    "The next token alone is judged: a text may be likely and wrong.",
    "The error is above 0 by chance even for a calibrated model, the more so with few tokens.",
    "Texts of another kind may find the model less calibrated.",
)


class TokenCalibration(NamedTuple):
    """Sums by text and bin of confidence, each (N, `N_BIN`): number of tokens, sum of the
    probabilities of the most likely tokens, and number of those that were right.
    """

    n: np.ndarray
    confidence: np.ndarray
    correct: np.ndarray

    def error(self, weights: np.ndarray | None = None) -> np.ndarray:
        """Return the expected calibration error in percent: the mean distance of confidence and
        accuracy, weighted by the number of tokens of each bin.

        Args:
            weights: (R, N) how often each text counts; by default once, and R is 1.
        """
        n, confidence, correct = self._sums(weights)
        return 100 * np.abs(confidence - correct).sum(1) / n.sum(1)

    def gap(self, weights: np.ndarray | None = None) -> np.ndarray:
        """Return the mean confidence minus the accuracy, in percentage points."""
        n, confidence, correct = self._sums(weights)
        return 100 * (confidence - correct).sum(1) / n.sum(1)

    def _sums(self, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the weighted sums over texts, each (R, `N_BIN`)."""
        chosen = np.ones((1, len(self.n))) if weights is None else weights
        return chosen @ self.n, chosen @ self.confidence, chosen @ self.correct


class CalibrationPart(AuditPart):
    """Expected calibration error of the next token on test texts, with a table of reliability.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks". Intervals are from a
    bootstrap of texts, whose tokens are not independent.

    Args:
        seed: seed by which texts are drawn.
    """

    name = "calibration"
    title = "Calibration"

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def settings(self) -> JsonObject:
        return {"bins": N_BIN}

    def reason_not(self, subject: AuditSubject) -> str | None:
        if subject.data is None:
            return subject.without_data
        if not subject.test_examples:
            return "The corpus has no test split here."
        if not isinstance(subject.task, CausalTask) or subject.mode != "log_prob":
            return "This model gives no probabilities of next tokens that could be compared."
        return None

    def measure(self, subject: AuditSubject, progress: Progress) -> AuditFinding:
        task = subject.task
        assert isinstance(task, CausalTask)
        examples = drawn(subject.test_examples, self.seed, "log_prob")
        found = calibration(task, task.rows(examples), progress)
        draws = np.random.default_rng(SEED)
        n = len(examples)
        weights = draws.multinomial(n, np.full(n, 1 / n), N_RESAMPLE).astype(np.float64)
        error, gap = float(found.error()[0]), float(found.gap()[0])
        errors = np.percentile(found.error(weights), [2.5, 97.5])
        gaps = np.percentile(found.gap(weights), [2.5, 97.5])
        is_sure = gaps[0] > 0 or gaps[1] < 0
        if is_sure:
            way = "over-confident" if gap > 0 else "under-confident"
            said = f"The model is {way}: by {abs(gap):.1f} points on average."
        else:
            said = "On average the model is as often right as its probabilities say."
        return AuditFinding(
            self.name,
            self.title,
            "look" if error > LARGE else "ok",
            (f"The expected calibration error of the next token is {error:.1f} %.", said),
            LIMITS,
            (
                AuditFigure("error", "expected calibration error", error, "%", *map(float, errors)),
                AuditFigure(
                    "gap", "confidence minus accuracy", gap, "percentage points", *map(float, gaps)
                ),
            ),
            (),
            (_table(found),),
        )


def calibration(
    task: CausalTask, rows: Sequence[Sequence[int]], progress: Progress = lambda _: None
) -> TokenCalibration:
    """Return confidence and accuracy of the most likely next token, at each token that the model's
    context reaches from the start of its text.

    Args:
        rows: ids of each text, `</s>` first.
    """
    rows = [row[: task.context + 1] for row in rows]
    sums = np.zeros((3, len(rows), N_BIN))
    device = next(task.parameters()).device
    order = sorted(range(len(rows)), key=lambda i: -len(rows[i]))
    for at in range(0, len(order), BATCH):
        chunk = order[at : at + BATCH]
        width = max(len(rows[i]) for i in chunk)
        padded = [[*rows[i], *[task.tokenizer.pad_id] * (width - len(rows[i]))] for i in chunk]
        ids = torch.tensor(padded, device=device)  # (B, T + 1)
        with torch.inference_mode():
            probabilities = task.logits(ids[:, :-1]).double().softmax(-1)  # (B, T, V)
            top, guess = (each.cpu().numpy() for each in probabilities.max(-1))
        truth = ids[:, 1:].cpu().numpy()
        for i, confidence, is_right in zip(chunk, top, guess == truth, strict=True):
            n = len(rows[i]) - 1
            bins = np.minimum((confidence[:n] * N_BIN).astype(int), N_BIN - 1)
            for total, values in zip(sums, (None, confidence[:n], is_right[:n]), strict=True):
                total[i] = np.bincount(bins, values, N_BIN)
        progress((at + len(chunk)) / len(order))
    return TokenCalibration(*sums)


def _table(found: TokenCalibration) -> AuditTable:
    """Return the table of reliability: a row for each bin with tokens."""
    n, confidence, correct = (each.sum(0) for each in found)
    return AuditTable(
        "Reliability",
        ("confidence from", "tokens", "mean confidence", "share of right tokens"),
        tuple(
            (100 * i / N_BIN, int(n[i]), 100 * confidence[i] / n[i], 100 * correct[i] / n[i])
            for i in range(N_BIN)
            if n[i]
        ),
    )
