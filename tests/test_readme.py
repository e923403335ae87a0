"""Both READMEs say what is so: paths and links lead somewhere, classes exist, figures are the
recorded ones, and Python runs.
"""

import re
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.benchmarks.__main__ import load
from tests.benchmarks.record import RESULTS, Record
from tests.support.demo_configs import write_demo_configs
from tests.support.documents import READMES, ROOT, blocks, text_of


@pytest.mark.slow
def test_python_runs(
    project: Path, pairs: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LSLM_CACHE", str(project / "cache"))
    write_demo_configs(project, pairs)
    shutil.copy(empty_store, project)
    front_door = [text for text in blocks("README.md", "python") if "class " not in text]
    use, scoring = front_door
    names: dict[str, Any] = {}
    exec(use.replace("500", "2").replace("800", "4"), names)
    assert names["run"].history.index.max() == 4
    assert names["results"].failures == {}
    exec(scoring, names)


@pytest.mark.parametrize("name", READMES)
def test_links_lead_somewhere(name: str) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", text_of(name))
    assert len(links) > 5
    for link in links:
        assert link.startswith("https://") or (ROOT / link).exists(), link


@pytest.mark.parametrize("name", READMES)
def test_paths_exist(name: str) -> None:
    paths = re.findall(
        r"(?<![\w./])(?:lslm_lightning|tasks|configs|tests)/[\w./<>*-]*", text_of(name)
    )
    assert len(paths) > 20
    for path in paths:
        if "<" not in path:
            assert list(ROOT.glob(path.rstrip("./"))), path


@pytest.mark.parametrize("name", READMES)
def test_parts_exist(name: str) -> None:
    rows = re.findall(
        r"^\| `[\w.]+` \| `((?:lslm_lightning|torch)[\w.]*)` \| (.*) \|$",
        text_of(name),
        re.MULTILINE,
    )
    assert len(rows) == 9
    for module, classes in rows:
        for part in re.findall(r"`([A-Z]\w+)`", classes):
            assert hasattr(import_module(module), part), f"{module}.{part}"


@pytest.mark.parametrize("name", READMES)
def test_corpora_exist(name: str) -> None:
    from lslm_lightning.corpora import builtin
    from lslm_lightning.corpora.catalogue import PACKAGED

    known = {*builtin.CORPORA, *yaml.safe_load(PACKAGED.read_text("utf-8"))}
    rows = re.findall(
        r"^\| .*?(?:built in|corpora.yaml`\]|内置).*\| (`.*) \|$", text_of(name), re.MULTILINE
    )
    named = [corpus for row in rows[:2] for corpus in re.findall(r"`([\w-]+)`", row)]
    assert len(named) > 5
    assert set(named) <= known


def measured(name: str) -> list[tuple[str | None, list[str]]]:
    """The rows of the table of figures: the benchmark (that of the row before, where none is
    named), and the numbers, without remarks.
    """
    rows = []
    benchmark = None
    for command, figures in re.findall(
        r"^\| (`make [^`]*`)? ?\| .* \| (.*) \|$", text_of(name), re.MULTILINE
    ):
        if command:
            benchmark = next(iter(re.findall(r"ONLY=(\w+)", command)), None)
        rows.append(
            (benchmark, re.findall(r"\d[\d,]*(?:\.\d+)?", re.sub(r"[(（].*?[)）]", "", figures)))
        )
    return rows


def test_both_languages_give_the_same_figures() -> None:
    english, chinese = map(measured, READMES)
    assert len(english) > 8
    assert english == chinese


def test_figures_are_those_that_were_recorded() -> None:
    for benchmark, figures in measured("README.md"):
        if benchmark and figures:
            record = Record(RESULTS / f"{benchmark}.json")
            values = [check.value for check in load(benchmark).checks(record.figures)]
            for figure in figures:
                unit = 10.0 ** -len(figure.partition(".")[2])
                assert any(
                    abs(float(figure.replace(",", "")) - value) <= 0.501 * unit for value in values
                ), (benchmark, figure, values)
