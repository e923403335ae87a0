"""Help, errors and progress in Chinese; data are the same in every language."""

import re
import sys
from pathlib import Path

import pytest

from lslm_lightning.__main__ import COMMANDS, main
from lslm_lightning.runs import find_run
from lslm_lightning.safety.terminal import GuardedStream
from tests.commands.written_runs import write_language_model

HELPS = [["--help"], *([name, "--help"] for name in COMMANDS if COMMANDS[name][0] != "training")]
HELPS += [["data", name, "--help"] for name in ("list", "fetch", "check", "prepare")]
HELPS += [["human", name, "--help"] for name in ("sheet", "score")]
EXAMPLE = re.compile(r"^ .*?\blslm .*?( {2,}|$)")  # a command, before what a help says about it
COMMAND = re.compile(r"\blslm [a-z-]+( (list|fetch|check|prepare|sheet|score))?")
ENGLISH = re.compile(r"\b[A-Za-z]?[a-z]+( [a-z]{2,}){2,}")  # three words
HAN = re.compile("[\u4e00-\u9fff]")


@pytest.fixture
def chinese(monkeypatch):
    monkeypatch.setenv("LSLM_LANG", "zh")
    monkeypatch.setenv("COLUMNS", "200")  # no sentence is broken within words


def english_lines(text: str) -> list[str]:
    """Lines with English in them that is no example, and lines of words without Chinese."""
    lines = [COMMAND.sub("", EXAMPLE.sub("", line)) for line in text.splitlines()]
    return [
        line
        for line in lines
        if ENGLISH.search(line) or (re.search("[a-z]{2,} [a-z]{2,}", line) and not HAN.search(line))
    ]


@pytest.mark.slow
@pytest.mark.parametrize("words", HELPS, ids=" ".join)
def test_no_english_is_left_in_help(words, lslm, chinese):
    outcome = lslm(*words)
    assert (outcome.status, outcome.err) == (0, "")
    assert HAN.search(outcome.out)
    assert english_lines(outcome.out) == []


def test_refusals_are_chinese_lines(lslm, translation, chinese):
    run = Path("runs/toy/a-1")
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints/best.ckpt").write_bytes(b"PK no checkpoint")
    (run / "config.yaml").write_text(f"# lslm run\n{translation.read_text()}")
    for words, status, said in (
        (["rnu"], 2, "'run'"),
        (["run", "--config", translation, "--model.backbone.n_haed=3"], 2, "n_head"),
        (["run", "--config", "no.yaml"], 2, "no.yaml"),
        (["run", "--config", translation, "--data.corpus=nowhere"], 1, "nowhere"),
        (["data", "chek", "cldr"], 2, "check"),
        (["plan"], 2, "--config"),
        (["compare", "runs/toy/a-1", "runs/toy/a-2"], 1, "runs/toy/a-2"),
        (["generate", "runs/toy/a-1", "x", "--temperature", "warm"], 2, "--temperature"),
        (["consolidate", "runs/toy/a-1"], 1, "best.ckpt"),
    ):
        outcome = lslm(*words)
        [line] = outcome.err.splitlines()
        assert outcome.status == status, line
        assert line.startswith("lslm: ")
        assert said in line
        assert HAN.search(line)
        assert english_lines(line) == []
    with pytest.raises(ValueError, match="there is no run"):
        find_run("runs/toy/a-2")


@pytest.mark.slow
def test_a_training_is_told_in_chinese_and_recorded_in_english(lslm, translation, chinese):
    outcome = lslm("fit", "--config", translation)
    assert outcome.status == 0, outcome.err
    assert english_lines(outcome.out + outcome.err) == []
    assert len(HAN.findall(outcome.out)) > 20
    [run] = Path("runs").glob("*/*/")
    for name in ("config.yaml", "metrics.jsonl", "mlflow.json"):
        assert not HAN.search((run / name).read_text())


@pytest.mark.parametrize(
    ("variables", "is_chinese"),
    [
        ({"LANG": "zh_CN.UTF-8"}, True),
        ({"LANG": "zh_CN.UTF-8", "LSLM_LANG": "en"}, False),
        ({"LANG": "de_DE.UTF-8", "LSLM_LANG": "zh_CN.UTF-8"}, True),
        ({"LANG": "de_DE.UTF-8"}, False),
    ],
)
def test_the_environment_chooses_the_language(variables, is_chinese, monkeypatch, capsys):
    for name in ("LSLM_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert main(["--help"]) == 0
    assert main(["nothing"]) == 2
    for text in capsys.readouterr():
        assert bool(HAN.search(text)) == is_chinese


@pytest.mark.parametrize("words", [["--help"], ["sync", "--help"], ["data", "list"]])
def test_an_unknown_language_is_refused_in_one_line(words, monkeypatch, capsys):
    monkeypatch.setenv("LSLM_LANG", "fr")
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    [line] = err.splitlines()
    assert line.startswith("lslm: `LSLM_LANG`='fr'")


def test_what_models_write_is_the_same_in_every_language(tmp_path, monkeypatch, capsys):
    run = write_language_model(tmp_path / "run")
    texts = tmp_path / "texts.jsonl"
    texts.write_text('{"text": "abc"}\n')
    printed = []
    for language in ("en", "zh"):
        monkeypatch.setenv("LSLM_LANG", language)
        assert main(["log-prob", str(run), str(texts)]) == 0
        assert main(["generate", str(run), "abc", "--max-length", "4"]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]


@pytest.mark.parametrize("command", ["generate", "log_prob"])
def test_an_answer_like_a_message_is_not_translated(command, chinese, capsys):
    exec(  # as that module would print it
        "print('not here', file=stream)",
        {
            "__name__": f"lslm_lightning.commands.{command}",
            "stream": GuardedStream(sys.stdout, is_data=True),
        },
    )
    assert capsys.readouterr().out == "not here\n"
