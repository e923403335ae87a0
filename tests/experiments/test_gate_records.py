"""JUnit XML of a gate, whatever the texts of its checks are."""

import sys
from pathlib import Path

import pytest

from lslm_lightning.experiments.gate_checks import GateCheck
from lslm_lightning.experiments.gate_records import write_junit
from lslm_lightning.experiments.gating import GateResults
from tests.support.junit import check_junit

FORBIDDEN = {*range(0x20), *range(0xD800, 0xE000), 0xFFFE, 0xFFFF} - {0x9, 0xA, 0xD}  # of XML 1.0


def written(path: Path, checks: list[GateCheck], seconds: float = 1.5):
    results = GateResults("new", "old", "translation", 10, 0.05, checks)
    write_junit(path / "gate.xml", results, seconds, "2026-01-02T03:04:05")
    [suite] = check_junit(path / "gate.xml")
    return suite


def assertion(name: str, passed: bool = True, reason: str = "") -> GateCheck:
    said = "passed" if passed else "failed"
    return GateCheck(name, passed, 90.0, None, 99.0, None, "", said, "", [("test-1", reason)])


@pytest.mark.parametrize(
    "names",
    [
        ["contains: a", "contains: a"],
        ["contains: a", "contains: b", "contains: a", "contains: a"],
        ["contains: a", "contains: a (2)", "contains: a"],
        ["contains: a  b", "contains: a\tb", "contains: a b"],
        ["contains: \x00", "contains: \x01"],
    ],
)
def test_cases_have_names_of_their_own(tmp_path: Path, names: list[str]) -> None:
    cases = written(tmp_path, [assertion(name) for name in names]).findall("testcase")
    assert len(cases) == len(names)
    assert cases[0].get("name") == names[0].replace("\x00", "\ufffd"), "the first keeps its name"


def test_all_characters_can_be_written(tmp_path: Path) -> None:
    """Those that XML 1.0 cannot hold are replaced, all others come back."""
    every = "".join(map(chr, range(sys.maxunicode + 1)))
    markup = ']]> <b a="\'&amp;">'
    checks = [assertion("names\x07", False, markup + every), assertion(f"matches: {markup}")]
    suite = written(tmp_path, checks)
    text = suite.find("testcase/failure").text
    expected = "".join("\ufffd" if ord(c) in FORBIDDEN else c for c in markup + every)
    assert text.partition("test-1: ")[2] == expected.replace("\r", "\n")
    assert [case.get("name") for case in suite.findall("testcase")] == [
        "names\ufffd",
        f"matches: {markup}",
    ]


@pytest.mark.parametrize("seconds", [0.0, 1e-7, 59.9, 1e7])
@pytest.mark.parametrize("n_failed", [0, 1, 3])
def test_counts_and_times_follow_the_schema(tmp_path: Path, seconds: float, n_failed: int) -> None:
    checks = [assertion(f"check {i}", i >= n_failed, "reason") for i in range(3)]
    suite = written(tmp_path, checks, seconds)
    assert suite.get("failures") == str(n_failed)
