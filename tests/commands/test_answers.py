"""Predictions of several systems, one of which is at fault: the fault is told, and the others keep
their scores.
"""

import json

import pytest

from lslm_lightning.contracts import Example, Prediction
from lslm_lightning.evaluation.results import compute_results
from lslm_lightning.experiments.predictions import PredictionCollector
from lslm_lightning.metrics.bleu import Bleu
from lslm_lightning.systems.checkpoint import Checkpoint
from lslm_lightning.systems.outputs import Outputs

EXAMPLES = [Example(str(i), f"source {i}", ("reference",)) for i in range(3)]
GOOD = "".join(json.dumps({"id": str(i), "output": f"answer {i}"}) + "\n" for i in range(3))
FAULTS = {
    "half": (
        GOOD.replace("answer 1", r"\ud83d"),
        r"half.jsonl: line 2: output has half a surrogate pair, \ud83d, at character 1",
    ),
    "twice": (GOOD + GOOD, "twice.jsonl: line 4: the id '0' is in line 1 already"),
    "short": (GOOD.partition("\n")[0], "short.jsonl has no output for 2 of 3 examples"),
    "wide": (
        GOOD.encode("utf-16"),
        "wide.jsonl: line 1: byte 0 (0xff) is no part of a text in UTF-8: the file is UTF-16",
    ),
    "latin": (
        b'{"id": "0", "output": "t\xe9"}\n',
        "latin.jsonl: line 1: byte 24 (0xe9) is not UTF-8",
    ),
}


@pytest.fixture
def answers(tmp_path):
    """Answers of outputs in files, by the names of systems."""

    def of(*names):
        systems = {}
        for name in names:
            content = FAULTS[name][0] if name in FAULTS else GOOD
            path = tmp_path / f"{name}.jsonl"
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
            systems[name] = Outputs(str(path))
        return PredictionCollector(
            systems, {name: name for name in names}, EXAMPLES, "generate", tmp_path / "predictions"
        )

    return of


def test_one_of_several_that_is_broken_takes_nothing_from_the_others(answers, capsys):
    found = answers("good", *FAULTS, "fine")
    found.prepare()
    entries = {entry.name: entry for entry in found.entries()}
    for name in ("good", "fine"):
        assert [p.output for p in entries[name].predictions] == ["answer 0", "answer 1", "answer 2"]
        assert not entries[name].reason
    told = capsys.readouterr().err
    for name, (_, reason) in FAULTS.items():
        assert entries[name].failed
        assert reason in entries[name].reason
        assert f"{name} is left out: " in told


def test_what_was_corrected_is_read_anew(answers, tmp_path):
    answers("good", "half").prepare()
    (tmp_path / "half.jsonl").write_text(GOOD)
    again = answers("good", "half")
    (tmp_path / "half.jsonl").write_text(GOOD)
    again.prepare()
    assert not any(entry.failed for entry in again.entries())


def test_recorded_answers_that_are_broken_are_told_too(answers, tmp_path):
    """Predictions recorded by earlier versions; they are set aside when the file is another."""
    found = answers("good", "fine")
    found.prepare()
    path = tmp_path / "predictions" / "fine.jsonl"
    path.write_text(GOOD.replace("answer 1", r"x\ud83d"))
    found.prepare()
    entries = {entry.name: entry for entry in found.entries()}
    assert entries["good"].predictions
    assert "fine.jsonl, line 2: it has half a surrogate pair" in entries["fine"].reason


@pytest.mark.parametrize("name", FAULTS)
def test_where_none_is_ready_nothing_is_reported(name, answers):
    with pytest.raises(ValueError, match=f"{name}.jsonl"):
        answers(name).prepare()


def test_a_system_that_is_not_there_is_told_before_any_work(answers, tmp_path, capsys):
    """Alone it is refused; among others it takes nothing from them."""
    found = answers("good", "fine")
    (tmp_path / "fine.jsonl").unlink()
    systems = found.systems | {"run": Checkpoint("nowhere")}
    found = PredictionCollector(
        systems, {name: name for name in systems}, EXAMPLES, "generate", tmp_path / "other"
    )
    found.prepare()
    told = capsys.readouterr().err
    assert "fine.jsonl: there is no such file" in told
    assert "run is left out: there is no run 'nowhere'" in told
    assert [entry.name for entry in found.entries() if not entry.reason] == ["good"]
    alone = PredictionCollector(
        {"run": Checkpoint("nowhere")}, {"run": "run"}, EXAMPLES, "generate", tmp_path / "alone"
    )
    with pytest.raises(ValueError, match="there is no run 'nowhere'"):
        alone.prepare()


class ShortSighted:
    """A system that reads a part of its sources; `n_cut` of them are longer."""

    name = "short-sighted"

    def __init__(self, n_cut):
        self.n_cut = n_cut

    def generate(self, examples):
        yield from (Prediction(e.id, e.source) for e in examples)

    def cut_sources(self, examples):
        return self.n_cut, "sources were read up to max_source_length=4 tokens"


def test_sources_that_were_not_read_to_their_end_are_told(tmp_path):
    systems = {"all": ShortSighted(0), "some": ShortSighted(2)}
    keys = {name: name for name in systems}
    found = PredictionCollector(systems, keys, EXAMPLES, "generate", tmp_path)
    for entries in (found.entries(), found.entries()):  # asked, and from disk
        results = compute_results(EXAMPLES, entries, [Bleu("en")], "bleu", n_resample=10)
        [told] = [finding for finding in results.findings if finding.check == "cut sources"]
        assert (told.where, told.words) == (
            "some",
            "2 of 3 sources were read up to max_source_length=4 tokens",
        )
