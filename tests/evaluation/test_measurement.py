"""Statistics and findings of several systems, by one process and by several."""

import os
import pickle
import random
import signal
from collections.abc import Iterator, Sequence
from dataclasses import asdict

import numpy as np
import pytest

from lslm_lightning.contracts import Example, Metric, Prediction
from lslm_lightning.evaluation.diagnostics import check_set
from lslm_lightning.evaluation.measurement import FEW, Measured, measure, measure_all, until_broken
from lslm_lightning.evaluation.results import Entry, compute_results
from lslm_lightning.metrics.bleu import Bleu, Chrf, Ter
from lslm_lightning.metrics.error_rate import WordErrorRate
from lslm_lightning.metrics.rouge import Rouge
from lslm_lightning.workers import run_parallel

N = FEW // 2
WORDS = {
    "de": ["der", "die", "das", "Haus", "Straße", "steht", "läuft", "nicht", "schnell", "rot"],
    "zh": "天地玄黄宇宙洪荒",
}
METRICS: list[Metric] = [Bleu("de"), Chrf(), Ter("de"), Rouge("L", "de"), WordErrorRate("de")]


class Unsendable(Bleu):
    """BLEU that holds a function of its own, which cannot be pickled."""

    def __init__(self) -> None:
        super().__init__("de")
        self.changed = lambda text: text


class OfThisProcess(Bleu):
    """BLEU that fails in any other process."""

    def __init__(self) -> None:
        super().__init__("de")
        self.process = os.getpid()

    def statistics(self, example: Example, prediction: Prediction) -> np.ndarray:
        assert os.getpid() == self.process
        return super().statistics(example, prediction)


def examples(language: str = "de") -> list[Example]:
    chance = random.Random(language)
    separator = " " if language == "de" else ""
    texts = (separator.join(chance.choices(WORDS[language], k=8)) for _ in range(N))
    return [Example(f"{i}", f"source {i}", (t,), language) for i, t in enumerate(texts)]


def answers(asked: Sequence[Example]) -> dict[str, list[Prediction]]:
    """Return outputs that are right for most lines, and the same outputs one line off."""
    outputs = [e.references[0] if i % 3 else "das" for i, e in enumerate(asked)]
    return {
        "right": [Prediction(e.id, output=text) for e, text in zip(asked, outputs, strict=True)],
        "one line off": [
            Prediction(e.id, output=text)
            for e, text in zip(asked, outputs[1:] + outputs[:1], strict=True)
        ],
    }


Found = tuple[dict[str, object], list[object]]
"""Statistics by metric, and findings, as lists to compare."""


def as_lists(each: Measured) -> Found:
    assert each.rows is not None
    rows = {name: row.tolist() for name, row in each.rows.items()}
    return rows, [asdict(finding) for finding in each.findings]


def measured(metrics: Sequence[Metric], n_worker: int) -> dict[str, Found]:
    asked = examples()
    given = answers(asked)
    of_set = check_set(asked, given, metrics)
    found = measure_all(given, asked, metrics, of_set, {"right": "max_length=9"}, n_worker)
    return {name: as_lists(each) for name, each in found.items()}


def test_two_processes_find_what_one_does() -> None:
    alone = measured(METRICS, 1)
    assert measured(METRICS, 2) == alone
    assert "misaligned outputs" in str(alone["one line off"])
    assert "misaligned outputs" not in str(alone["right"])


@pytest.mark.parametrize("metric", [Unsendable(), OfThisProcess()], ids=["unsendable", "sendable"])
def test_a_metric_that_fails_elsewhere_is_computed_here(metric: Metric) -> None:
    rows = {name: row["bleu"] for name, (row, _) in measured([Bleu("de")], 1).items()}
    assert {name: row["bleu"] for name, (row, _) in measured([metric], 2).items()} == rows


def test_a_metric_that_fails_ends_the_scores_of_its_system_alone() -> None:
    asked = examples()
    entries = [Entry(name, predictions) for name, predictions in answers(asked).items()]
    lost = [
        Prediction(p.id, output=p.output if i else None)
        for i, p in enumerate(entries[0].predictions)
    ]
    found = compute_results(
        asked, [Entry("lost", lost), *entries], [Bleu("de")], "bleu", n_resample=2, n_worker=2
    )
    assert found.entries["lost"].failed
    assert found.scores["lost"] is None
    assert found.scores["right"] is not None
    assert "lost" not in {finding.system for finding in found.findings}


def made(kind: str, language: str) -> Metric:
    match kind:
        case "bleu":
            return Bleu(language)
        case "chrf":
            return Chrf()
        case "ter":
            return Ter(language)
        case "rouge":
            return Rouge("Lsum", language)
        case _:
            return WordErrorRate(language)


def end_by_signal(n: int) -> Measured:
    if n:
        os.kill(os.getpid(), signal.SIGKILL)
    return Measured()


def test_the_end_of_a_process_ends_the_results_without_an_error() -> None:
    results: Iterator[Measured] = run_parallel(end_by_signal, [(0,), (0,), (1,), (1,)], 1)
    assert 1 <= len(list(until_broken(results))) <= 2


@pytest.mark.parametrize("language", ["de", "zh"])
@pytest.mark.parametrize("kind", ["bleu", "chrf", "ter", "rouge", "wer"])
def test_a_sent_metric_counts_as_its_original_and_carries_no_texts(
    kind: str, language: str
) -> None:
    metric = made(kind, language)
    size = len(pickle.dumps(metric))
    asked = examples(language)[:50]
    given = [Prediction(e.id, output=e.references[0][3:]) for e in asked]
    rows = metric.rows(asked, given)
    sent = pickle.dumps(metric)
    assert len(sent) <= size + 100
    copy: Metric = pickle.loads(sent)
    assert copy.signature == metric.signature
    assert copy.rows(asked, given).tolist() == rows.tolist()


def test_predictions_that_cannot_be_scored_have_no_statistics() -> None:
    asked = examples()
    given = answers(asked)
    of_set = check_set(asked, given, METRICS)
    assert measure("right", given["right"][1:], asked, METRICS, of_set).rows is None
