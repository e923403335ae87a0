"""Both READMEs say what is so: commands parse, paths and links lead somewhere, classes exist, and
the two agree.
"""

import re
import shlex
import shutil
import sys
from argparse import ArgumentParser
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from lslm_lightning.__main__ import COMMANDS
from lslm_lightning.commands import prepare
from lslm_lightning.experiments.variants import read_sweep
from tests.benchmarks.__main__ import load
from tests.benchmarks.record import RESULTS, Record
from tests.support.demo_configs import write_demo_configs

ROOT = Path(__file__).parents[1]
READMES = ("README.md", "README.zh-CN.md")
TRAINING = ("run", "fit", "validate", "test", "predict")
MADE = ("mine.yaml", "$RUN/config.yaml")  # configs that the reader makes


def text_of(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def blocks(name: str, language: str) -> list[str]:
    """Code blocks without comments and trailing blanks."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", text_of(name), re.MULTILINE | re.DOTALL)
    return [re.sub(r"[ ]+(#.*)?$", "", block, flags=re.MULTILINE) for block in found]


def commands(name: str) -> list[list[str]]:
    """The words of every `lslm ...` line of the shell blocks; of a pipe the end, without what
    stands before the command.
    """
    lines = [line for block in blocks(name, "sh") for line in block.splitlines()]
    ends = [re.search(r"(?:^|[|] |=\S+ )(lslm .*)", line) for line in lines]
    return [shlex.split(re.sub(r"\$\([^)]*\)", "RUN", end[1]))[1:] for end in ends if end]


LINES = [
    pytest.param(words, id=" ".join(words))
    for words in {tuple(w): w for name in READMES for w in commands(name)}.values()
]


def test_there_are_commands_to_check() -> None:
    assert len(LINES) > 15
    assert {words[0] for name in READMES for words in commands(name)} <= {*COMMANDS, "--help"}


@pytest.mark.parametrize("language", ["sh", "yaml", "python"])
def test_both_languages_give_the_same_code(language: str) -> None:
    english, chinese = (blocks(name, language) for name in READMES)
    assert english
    assert english == chinese


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


def config_of(words: list[str], tmp_path: Path) -> str:
    """The config of a line, existing; the one that the reader makes is written first."""
    config = words[words.index("--config") + 1]
    if config not in MADE:
        assert (ROOT / config).is_file(), f"{config} is not in the repository"
        return str(ROOT / config)
    [experiment] = blocks("README.md", "yaml")
    made = tmp_path / "mine.yaml"
    made.write_text(experiment, "utf-8")
    return str(made)


@pytest.mark.slow
@pytest.mark.parametrize("words", [p for p in LINES if p.values[0][0] in TRAINING])
def test_training_lines_parse(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    from lslm_lightning.experiments.starting import start as main

    (tmp_path / "my_parts.py").write_text(
        next(block for block in blocks("README.md", "python") if "(Metric)" in block), "utf-8"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_parts", raising=False)  # of another test
    config = config_of(words, tmp_path)
    words = [
        config if word == words[words.index("--config") + 1] else word
        for word in words
        if word != "--print_config"
    ]
    with pytest.raises(SystemExit) as ending:
        main([*words, "--print_config"])
    printed = capsys.readouterr()
    assert ending.value.code == 0, printed.err
    assert "class_path" in yaml.safe_load(printed.out)["model"]


@pytest.mark.parametrize("words", [p for p in LINES if p.values[0][0] == "generate"])
def test_generate_lines_parse(words: list[str]) -> None:
    from lslm_lightning.commands.generate import arguments

    arguments().parse_args(words[1:])


@pytest.mark.parametrize("words", [p for p in LINES if p.values[0][0] == "log-prob"])
def test_log_prob_lines_parse(words: list[str]) -> None:
    from lslm_lightning.commands.log_prob import arguments

    assert arguments().parse_args(words[1:]).pairs == "-"


@pytest.mark.parametrize("words", [p for p in LINES if p.values[0][0] == "evaluate"])
def test_evaluate_lines_parse(words: list[str], capsys: pytest.CaptureFixture) -> None:
    from lslm_lightning.commands.evaluate import main

    words = [
        config_of(words, Path()) if word == words[words.index("--config") + 1] else word
        for word in words
    ]
    with pytest.raises(SystemExit) as ending:
        main([*words, "--print_config"])
    assert ending.value.code == 0, capsys.readouterr().err


@pytest.mark.parametrize("words", [p for p in LINES if p.values[0][0] == "compare"])
def test_compare_lines_parse(words: list[str]) -> None:
    from lslm_lightning.commands.compare import arguments

    found = arguments().parse_args(words[1:])
    assert found.experiment or len(found.runs) > 1


@pytest.mark.parametrize(
    "words", [p for p in LINES if p.values[0][0] in ("plan", "consolidate", "sweep")]
)
def test_other_lines_parse(words: list[str]) -> None:
    module = import_module(f"lslm_lightning.commands.{words[0]}")
    known, settings = module.arguments().parse_known_args(words[1:])
    assert known
    if words[0] == "sweep":
        variants = read_sweep(ROOT / known.config).variants
        assert set((known.only or next(iter(variants))).split(",")) <= variants.keys()
    else:
        assert not settings


@pytest.mark.slow
@pytest.mark.parametrize("words", [p for p in LINES if p.values[0][0] == "data"])
def test_data_lines_name_what_exists(words: list[str]) -> None:
    from lslm_lightning.corpora.catalogue import read_catalogue

    assert words[1] in ("list", "fetch", "check", "prepare")
    if words[1] == "prepare":
        parser = ArgumentParser()
        prepare.add_arguments(parser)
        assert parser.parse_args(words[2:]).output
        return
    assert set(words[2:]) <= read_catalogue(ROOT / "configs/corpora.yaml").keys()


@pytest.mark.parametrize("name", READMES)
def test_make_targets_exist(name: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make (?:[A-Z]+=\S+ )*([a-z-]+)", text_of(name), re.MULTILINE))
    assert {"demo", "test"} <= named <= targets
    for benchmark in re.findall(r"ONLY=(\w+)", text_of(name)):
        assert (ROOT / f"tests/benchmarks/{benchmark}.py").is_file()


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
