"""The harness of the benchmarks: nothing is measured twice, nothing is lost, and a threshold means
what it says.
"""

import json
import math
import random
from pathlib import Path

import pytest
import sacrebleu

from tests.benchmarks import __main__ as harness
from tests.benchmarks.benchmark import Benchmark, Check, table
from tests.benchmarks.record import Record
from tests.evaluation.test_alignment import sentences
from tests.support.misaligned import NOISES, Texts, disorders, simulate


class Bench:
    """A benchmark of two parts that counts its measurements; the second part breaks until it is
    repaired.
    """

    def __init__(self) -> None:
        self.measured: list[str] = []
        self.broken = True
        self.benchmark = Benchmark("a toy", 1, {"one": self.one, "two": self.two}, self.checks)

    def one(self, done, smoke):
        self.measured.append("one")
        return {"score": 2.0}

    def two(self, done, smoke):
        self.measured.append("two")
        if self.broken:
            raise KeyboardInterrupt
        return {"score": 2 * done["one"]["score"]}

    def checks(self, figures):
        return [Check("score", figures["two"]["score"], ">=", 4.0)]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bench:
    """Known to the harness as `nanogpt`, its results in an empty folder."""
    bench = Bench()
    monkeypatch.setattr(harness, "load", lambda name: bench.benchmark)
    monkeypatch.setattr(harness, "RESULTS", tmp_path / "results")
    return bench


def test_only_what_is_missing_is_measured(bench: Bench) -> None:
    with pytest.raises(KeyboardInterrupt):
        harness.main(["nanogpt"])
    bench.broken = False
    assert harness.main(["nanogpt"]) == harness.REACHED
    assert harness.main(["nanogpt"]) == harness.REACHED
    assert bench.measured == ["one", "two", "two"]


def test_again_measures_everything(bench: Bench) -> None:
    bench.broken = False
    harness.main(["nanogpt"])
    harness.main(["nanogpt", "--again"])
    assert bench.measured == ["one", "two"] * 2


def test_a_smoke_test_records_nothing_and_reads_no_record(bench: Bench) -> None:
    bench.broken = False
    harness.main(["nanogpt"])
    before = (harness.RESULTS / "nanogpt.json").read_text()
    assert harness.main(["nanogpt", "--smoke"]) == harness.REACHED
    assert bench.measured == ["one", "two"] * 2
    assert (harness.RESULTS / "nanogpt.json").read_text() == before


def test_a_figure_is_kept_with_its_circumstances(bench: Bench) -> None:
    bench.broken = False
    harness.main(["nanogpt"])
    part = json.loads((harness.RESULTS / "nanogpt.json").read_text())["two"]
    assert part["figures"] == {"score": 4.0}
    assert part["circumstances"].keys() == {
        "date",
        "commit",
        "torch",
        "device",
        "bfloat16",
        "threads",
        "load",
        "seconds",
    }


def test_a_part_that_fails_leaves_the_others_and_says_so(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    def fail(done, smoke):
        raise FileNotFoundError("no such config")

    monkeypatch.setitem(bench.benchmark.parts, "two", fail)
    assert harness.main(["nanogpt"]) == harness.FAILED
    assert "no such config" in capsys.readouterr().out
    assert Record(harness.RESULTS / "nanogpt.json").figures == {"one": {"score": 2.0}}


@pytest.mark.parametrize(
    ("value", "rule", "threshold", "reached"),
    [
        (38.2, ">=", 38.2, True),
        (15.3, ">", 15.3, False),
        (1.9, "<=", 1.9, True),
        (0.05, "<", 0.05, False),
        (math.nan, ">=", 0.0, False),
        (math.nan, "<", 1.0, False),
        (1.0, ">=", None, None),
    ],
)
def test_thresholds(value: float, rule: str, threshold: float | None, reached: bool | None) -> None:
    assert Check("", value, rule, threshold).reached is reached


def test_one_figure_below_its_threshold_fails_the_benchmark(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.broken = False
    monkeypatch.setitem(bench.benchmark.parts, "two", lambda done, smoke: {"score": 3.9})
    assert harness.main(["nanogpt"]) == harness.FAILED


@pytest.mark.parametrize(("n", "status"), [(0, harness.REACHED), (1, harness.FAILED)])
def test_outputs_of_a_right_run_that_are_said_to_be_misaligned_fail_the_benchmark(
    bench: Bench, n: int, status: int, monkeypatch, capsys
) -> None:
    bench.broken = False
    parts = bench.benchmark.parts | {"three": lambda done, smoke: {"misaligned": n}}
    monkeypatch.setattr(harness, "load", lambda name: Benchmark("a toy", 1, parts, bench.checks))
    assert harness.main(["nanogpt"]) == status
    assert "systems said to be misaligned" in capsys.readouterr().out


def test_table() -> None:
    lines = table(
        [Check("BLEU", 38.25, ">=", 38.2), Check("p", 0.2, "<", 0.05), Check("tokens/s", 12345.6)]
    ).splitlines()
    assert [line.split() for line in lines] == [
        ["figure", "threshold", "reached"],
        ["BLEU", "38.25", ">=", "38.2", "yes"],
        ["p", "0.2", "<", "0.05", "NO"],
        ["tokens/s", "12,346"],
    ]


def test_without_data_it_says_so_in_one_line(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.delenv("LSLM_DATA", raising=False)
    assert harness.main(["aeslc"]) == harness.UNMET
    assert (
        capsys.readouterr().err
        == "aeslc needs real corpora: set LSLM_DATA to the folder that holds them\n"
    )


def test_a_benchmark_of_files_that_are_not_here_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys
) -> None:
    monkeypatch.setenv("LSLM_DATA", str(tmp_path))
    assert harness.main(["squad_full"]) == harness.REACHED
    assert (
        capsys.readouterr().out
        == "squad_full is passed over: squad-2.0/train-v2.0.json is not in LSLM_DATA\n"
    )


def test_every_benchmark_is_listed(capsys) -> None:
    assert harness.main(["--list"]) == harness.REACHED
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        *harness.ORDER,
        *harness.GPU,
    ]


def test_perfect_outputs_in_any_wrong_order_are_told() -> None:
    references = sentences(100)
    for seed in range(3):
        wrong = disorders(references, random.Random(seed))
        assert [kind for kind, found in wrong.items() if not found.is_told(references)] == []


@pytest.mark.slow
@pytest.mark.parametrize("noise", NOISES)
def test_simulated_systems_are_as_good_as_asked_for(noise: str) -> None:
    every = sentences(300)
    texts = Texts(every[:100], every[100:], " ")
    outputs = simulate(NOISES[noise], texts, 40, "seed")
    assert 40 <= sacrebleu.corpus_chrf(outputs, [texts.references]).score < 42
    assert outputs == simulate(NOISES[noise], texts, 40, "seed")
