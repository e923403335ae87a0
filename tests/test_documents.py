"""The code in all documents is right: commands parse, Python compiles, files and targets exist, and
both languages have the same.
"""

import ast
import re
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from lslm_lightning.__main__ import COMMANDS
from lslm_lightning.completion import parser_of
from lslm_lightning.experiments.variants import read_sweep
from lslm_lightning.extras import MissingPackageError
from tests.support.documents import (
    DOCUMENTS,
    PAIRS,
    ROOT,
    blocks,
    commands,
    saved_files,
    text_of,
)

TRAINING = ("run", "fit", "validate", "test", "predict")
CONFIGS_OF_RUNS = {  # of the page that makes each run
    "$RUN/config.yaml": "mine.yaml",
    "runs/translation/back/config.yaml": "portable.yaml",
}
LINES = [
    pytest.param(name, words, id=" ".join(words))
    for words, name in {
        tuple(words): name for name in reversed(DOCUMENTS) for words in commands(name)
    }.items()
]


def lines_of(*names: str) -> list:
    return [line for line in LINES if line.values[1][0] in names]


def test_there_are_commands_to_check() -> None:
    assert len(LINES) > 15
    assert {line.values[1][0] for line in LINES} <= {*COMMANDS, "--help"}


@pytest.mark.parametrize("language", ["sh", "yaml", "python"])
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair[0])
def test_both_languages_have_the_same_code(pair: tuple[str, str], language: str) -> None:
    english, chinese = (blocks(name, language) for name in pair)
    assert english == chinese


def made_by_the_reader(document: str) -> dict[str, str]:
    """Files that a document, or the first one that does, tells to save."""
    first = {}
    for name in reversed(DOCUMENTS):
        first |= saved_files(name)
    return first | saved_files(document)


def config_of(document: str, words: tuple[str, ...], folder: Path) -> list[str]:
    """The words of a line with configs that exist; those that the reader makes are written."""
    made = made_by_the_reader(document)
    found = list(words)
    for i, word in enumerate(words):
        if i and words[i - 1] == "--config":
            name = CONFIGS_OF_RUNS.get(word, word)
            if name in made:
                path = folder / name
                path.write_text(made[name], "utf-8")
            else:
                path = ROOT / name
                assert path.is_file(), f"{document}: {name} is not in the repository"
            found[i] = str(path)
    return found


def save_modules(document: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Save the Python files of a document in a folder, from which they can be imported."""
    for name, text in made_by_the_reader(document).items():
        if name.endswith(".py"):
            (folder / name).write_text(text, "utf-8")
            monkeypatch.delitem(sys.modules, name.removesuffix(".py"), raising=False)
    monkeypatch.syspath_prepend(folder)


@pytest.mark.slow
@pytest.mark.parametrize(("document", "words"), lines_of(*TRAINING))
def test_training_lines_parse(
    document: str,
    words: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    from lslm_lightning.experiments.starting import start as main

    save_modules(document, tmp_path, monkeypatch)
    if "--help" in words or any(word.endswith(".help") for word in words):
        from lslm_lightning.__main__ import main as lslm

        assert lslm(list(words)) == 0
        return
    given = [
        word
        for word in config_of(document, words, tmp_path)
        if not word.startswith("--print_config")
    ]
    with pytest.raises(SystemExit) as ending:
        main([*given, "--print_config"])
    printed = capsys.readouterr()
    assert ending.value.code == 0, printed.err
    assert "class_path" in yaml.safe_load(printed.out)["model"]


@pytest.mark.parametrize(("document", "words"), lines_of("evaluate"))
def test_evaluate_lines_parse(
    document: str,
    words: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    from lslm_lightning.commands.evaluate import main

    save_modules(document, tmp_path, monkeypatch)
    with pytest.raises(SystemExit) as ending:
        main([*config_of(document, words, tmp_path), "--print_config"])
    assert ending.value.code == 0, capsys.readouterr().err


OTHERS = COMMANDS.keys() - {*TRAINING, "evaluate"}
WITH_SETTINGS = ("plan", "resume", "sweep", "verify-resume")  # any key of a config is an option


@pytest.mark.parametrize(("document", "words"), lines_of(*OTHERS))
def test_other_lines_parse(document: str, words: tuple[str, ...]) -> None:
    parser = parser_of(COMMANDS[words[0]][0], words[0])
    if "--help" in words:
        return
    known, settings = parser.parse_known_args(list(words[1:]))
    assert not settings or words[0] in WITH_SETTINGS, settings
    if words[0] == "compare":
        assert known.experiment or len(known.runs) > 1
    if words[0] == "sweep" and known.config not in made_by_the_reader(document):
        variants = read_sweep(ROOT / known.config).variants
        assert set((known.only or next(iter(variants))).split(",")) <= variants.keys()


@pytest.mark.slow
@pytest.mark.parametrize(("document", "words"), lines_of("data"))
def test_data_lines_name_what_exists(document: str, words: tuple[str, ...]) -> None:
    from lslm_lightning.corpora import builtin
    from lslm_lightning.corpora.catalogue import read_catalogue

    if words[1] in ("fetch", "check") and "/" not in words[2]:
        made = made_by_the_reader(document)
        catalogues = [text for name, text in made.items() if Path(name).name == "corpora.yaml"]
        of_reader = {name for text in catalogues for name in yaml.safe_load(text)}
        known = {*builtin.CORPORA, *read_catalogue(ROOT / "configs/corpora.yaml"), *of_reader}
        assert words[2] in known


@pytest.mark.parametrize("name", DOCUMENTS)
def test_make_targets_exist(name: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", text_of("Makefile"), re.MULTILINE))
    shell = "\n".join(blocks(name, "sh"))
    named = re.findall(r"^make (?:[A-Z]+=\S+ )*([a-z-]+)", shell, re.MULTILINE)
    named += re.findall(r"`make (?:[A-Z]+=\S+ )*([a-z-]+)", text_of(name))
    assert set(named) <= targets
    for benchmark in re.findall(r"ONLY=(\w+)", text_of(name)):
        assert (ROOT / f"tests/benchmarks/{benchmark}.py").is_file()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_yaml_is_well_formed(name: str) -> None:
    for block in blocks(name, "yaml"):
        assert yaml.safe_load(block) is not None


def names_in(module: str) -> set[str]:
    """Names that a module offers; those that its source defines, if a package for it is missing."""
    try:
        found = import_module(module)
    except MissingPackageError:
        source = Path(find_spec(module).origin).read_text("utf-8")
        return {getattr(node, "name", "") for node in ast.parse(source).body}
    return {*dir(found), *found.__dict__}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_python_compiles_and_imports_what_exists(name: str) -> None:
    for block in blocks(name, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
                ("lslm_lightning", "tasks")
            ):
                assert {alias.name for alias in node.names} <= names_in(node.module)
