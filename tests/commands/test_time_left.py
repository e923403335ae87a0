"""Time left of a sweep, and of the baselines of a test."""

from types import SimpleNamespace

from lslm_lightning.contracts import Example
from lslm_lightning.experiments import run_evaluation, sweep
from lslm_lightning.systems.baselines import CopySource, UniformBytes
from lslm_lightning.training.display import Display
from lslm_lightning.training.work import Work
from tests.training.test_status_line import Clock


def test_the_time_left_of_a_sweep_is_that_of_the_missing_variants(monkeypatch):
    clock = Clock()
    told = {}
    monkeypatch.setattr(sweep, "Work", lambda what, total: Work(what, total, clock=clock))

    def train(name, number, parent, time_left):
        told[name] = f"{number}{time_left}"
        clock.seconds += 0 if name == "done" else 100
        return name != "broken"

    names = ["done", "a", "broken", "c"]
    runs = SimpleNamespace(finished=lambda variant: variant == "done")
    own = SimpleNamespace(runs=runs, train=train)
    assert sweep.Sweep.train_all(own, names, None) == ["broken"]
    assert told == {
        "done": "1 of 4",
        "a": "2 of 4",
        "broken": "3 of 4 (all: about 3:20 left)",
        "c": "4 of 4 (all: about 1:40 left)",
    }


def test_baselines_say_how_far_they_are(monkeypatch, capsys):
    clock = Clock()
    monkeypatch.setattr(
        run_evaluation, "score", lambda examples, answers, metrics, n_resample: answers
    )
    examples = [Example(str(i), "a source", ("a reference",)) for i in range(4)]

    class Slow(CopySource):
        def generate(self, examples):
            for prediction in super().generate(examples):
                clock.seconds += 20
                yield prediction

    task = SimpleNamespace(
        report=SimpleNamespace(baselines=lambda data: [Slow(), UniformBytes()]),
    )
    found = run_evaluation.baseline_scores(
        task, SimpleNamespace(examples=lambda split: examples), [], display=Display(clock=clock)
    )
    assert {name: len(answers) for name, answers in found.items()} == {
        "copy of the source": 4,
        "uniform bytes": 4,
    }
    assert capsys.readouterr().out.splitlines() == [
        "baseline copy of the source: 1/4 answers  0:20 elapsed  1:00 left",
        "baseline copy of the source: 2/4 answers  0:40 elapsed  0:40 left",
        "baseline copy of the source: 3/4 answers  1:00 elapsed  0:20 left",
    ]
