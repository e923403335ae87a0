"""Both READMEs say what is so, in the space of a page, and show what the code of this tree makes;
what they once held is still true on the pages where it is now.
"""

import json
import re
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs.generate.architecture import architecture_file
from docs.readme.regions import FINGERPRINTS, IMAGES, fingerprints, region
from docs.readme.results import results
from tests.benchmarks.__main__ import load
from tests.benchmarks.record import RESULTS, Record
from tests.support.demo_configs import write_demo_configs
from tests.support.documents import DOCUMENTS, MISTAKES, READMES, ROOT, blocks, shape, text_of
from tests.test_imports import EVERYTHING, LAYERS

LANGUAGES = ("en", "zh")
N_WORD = 1200  # of the English README, code and tables included
N_HAN = 1500  # Chinese characters of the Chinese one
N_BYTE = 150_000  # of a picture
STALE = "run `make readme`: what it made is older than"


# The READMEs


def test_both_languages_have_the_same_sections_and_pictures() -> None:
    english, chinese = (
        [re.sub(r"\.(en|zh)\.png$", "", part) for part in shape(name)] for name in READMES
    )
    assert english == chinese


def test_a_readme_is_a_page() -> None:
    assert len(text_of("README.md").split()) <= N_WORD
    assert len(re.findall(r"[一-鿿]", text_of("README.zh-CN.md"))) <= N_HAN


@pytest.mark.parametrize("name", READMES)
def test_links_lead_somewhere(name: str) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", text_of(name))
    assert len(links) > 5
    for link in links:
        assert link.startswith("https://") or (ROOT / link).exists(), link


@pytest.mark.parametrize(("name", "language"), zip(READMES, LANGUAGES, strict=True))
def test_results_are_those_that_were_recorded(name: str, language: str) -> None:
    assert region(text_of(name), "results") == results(language)


def test_both_transcripts_have_the_same_numbers() -> None:
    english, chinese = (
        re.findall(r"(?<![-\w])\d+(?:[,.]\d+)*", region(text_of(name), "transcript"))
        for name in READMES
    )
    assert len(english) > 10
    assert sorted(english) == sorted(chinese)


def test_what_make_readme_made_is_not_older_than_the_code_that_makes_it() -> None:
    recorded = json.loads(FINGERPRINTS.read_text("utf-8"))
    found = fingerprints()
    changed = [name for name in recorded | found if recorded.get(name) != found.get(name)]
    assert not changed, f"{STALE} {', '.join(changed)}"


@pytest.mark.slow
def test_architecture_is_drawn_from_the_imports() -> None:
    drawn = (IMAGES / "architecture.svg").read_text("utf-8")
    assert drawn == architecture_file(), f"{STALE} the imports"


def test_pictures_are_small() -> None:
    pictures = list(IMAGES.glob("*.png"))
    assert len(pictures) == 4
    assert max(picture.stat().st_size for picture in pictures) < N_BYTE


# Pages


@pytest.mark.slow
def test_python_runs(
    project: Path, pairs: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LSLM_CACHE", str(project / "cache"))
    write_demo_configs(project, pairs)
    shutil.copy(empty_store, project)
    use, scoring = blocks("docs/en/reference/python.md", "python")
    names: dict[str, Any] = {}
    exec(use.replace("500", "2").replace("800", "4"), names)
    assert names["run"].history.index.max() == 4
    assert names["results"].failures == {}
    exec(scoring, names)


@pytest.mark.parametrize(
    "name", [name for name in DOCUMENTS if not name.endswith(Path(MISTAKES).name)]
)
def test_paths_exist(name: str) -> None:
    paths = re.findall(
        r"(?<![\w./])(?:lslm_lightning|tasks|configs|tests)/[\w./<>*-]*", text_of(name)
    )
    for path in paths:
        if "<" not in path:
            assert list(ROOT.glob(path.rstrip("./"))), path


@pytest.mark.parametrize("language", LANGUAGES)
def test_folders_may_import_what_the_page_on_the_architecture_says(language: str) -> None:
    rows = re.findall(
        r"^\| `lslm_lightning/(\w+)(?:/|\.py)?` \| .* \| (.*) \|$",
        text_of(f"docs/{language}/architecture.md"),
        re.MULTILINE,
    )
    folders = {path.parent.name for path in (ROOT / "lslm_lightning").glob("*/*.py")}
    assert {layer for layer, _ in rows} == folders - {"localization"} | {"optim"}
    for layer, allowed in rows:
        named = set(re.findall(r"[a-z]+", allowed)) & LAYERS.keys()
        if re.match("all|全部|以上", allowed):
            assert LAYERS[layer] == EVERYTHING or not named & LAYERS[layer], layer
        else:
            assert named == LAYERS[layer], layer


@pytest.mark.parametrize("language", LANGUAGES)
def test_parts_exist(language: str) -> None:
    rows = re.findall(
        r"^\| `[\w.]+` \| `((?:lslm_lightning|torch)[\w.]*)` \| (.*) \|$",
        text_of(f"docs/{language}/reference/models.md"),
        re.MULTILINE,
    )
    assert len(rows) == 10
    for module, classes in rows:
        for part in re.findall(r"`([A-Z]\w+)`", classes):
            assert hasattr(import_module(module), part), f"{module}.{part}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_corpora_exist(language: str) -> None:
    from lslm_lightning.corpora import builtin
    from lslm_lightning.corpora.catalogue import PACKAGED

    known = {*builtin.CORPORA, *yaml.safe_load(PACKAGED.read_text("utf-8"))}
    text = text_of(f"docs/{language}/reference/corpora.md")
    rows = re.findall(r"^\| .*?(?:built in|内置|an entry of|里的条目).*\| (`.*) \|$", text, re.M)
    named = [corpus for row in rows[:2] for corpus in re.findall(r"`([\w-]+)`", row)]
    assert len(named) > 5
    assert set(named) <= known


def measured(language: str) -> list[tuple[str | None, list[str]]]:
    """The rows of the table of figures: the benchmark (that of the row before, where none is
    named), and the numbers, without remarks.
    """
    rows = []
    benchmark = None
    for command, figures in re.findall(
        r"^\| (`make [^`]*`)? ?\| .* \| (.*) \|$",
        text_of(f"docs/{language}/benchmarks.md"),
        re.MULTILINE,
    ):
        if command:
            benchmark = next(iter(re.findall(r"ONLY=(\w+)", command)), None)
        rows.append(
            (benchmark, re.findall(r"\d[\d,]*(?:\.\d+)?", re.sub(r"[(（].*?[)）]", "", figures)))
        )
    return rows


def test_both_languages_give_the_same_figures() -> None:
    english, chinese = map(measured, LANGUAGES)
    assert len(english) > 8
    assert english == chinese


def test_figures_are_those_that_were_recorded() -> None:
    for benchmark, figures in measured("en"):
        if benchmark and figures:
            record = Record(RESULTS / f"{benchmark}.json")
            values = [check.value for check in load(benchmark).checks(record.figures)]
            for figure in figures:
                unit = 10.0 ** -len(figure.partition(".")[2])
                assert any(
                    abs(float(figure.replace(",", "")) - value) <= 0.501 * unit for value in values
                ), (benchmark, figure, values)
