"""`lslm generate`: which search answers, line by line, with chance that goes on."""

import io
import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import pytest

from lslm_lightning import runs
from lslm_lightning.__main__ import main
from lslm_lightning.commands.generate import arguments as parser
from lslm_lightning.commands.generate import lines
from lslm_lightning.contracts import Prediction
from lslm_lightning.decoding import Beam, Greedy, Sampling, Search
from lslm_lightning.experiments.generation import chosen_search
from lslm_lightning.runs import FoundRun, RunDirectory
from lslm_lightning.training.answering import Answering
from tests.commands.written_runs import write_translator
from tests.support.waiting import PATIENCE


def chosen(own: Search, *arguments: str) -> Search:
    return chosen_search(own, parser().parse_args(["RUN", "text", *arguments]), (Search,))


@pytest.mark.parametrize(
    ("own", "arguments", "expected"),
    [
        (Beam(3, 0.6, True, 2), "", Beam(3, 0.6, True, 2)),
        (Beam(3, 0.6, True, 2), "--length-penalty 2", Beam(3, 2.0, True, 2)),
        (Beam(3, 0.6, True, 2), "--no-repeat-ngram 0", Beam(3, 0.6, True, 0)),
        (Beam(3, 0.6, True, 2), "--search beam --beam-size 7", Beam(7, 0.6, True, 2)),
        (Beam(3, 0.6, True, 2), "--search greedy", Greedy()),
        (Beam(3, 0.6, True, 2), "--search greedy --no-repeat-ngram 3", Greedy(3)),
        (Beam(3, 0.6, True, 2), "--search sampling --top-k 4", Sampling(top_k=4, seed=None)),
        (Greedy(), "--no-repeat-ngram 4", Greedy(4)),
        (Sampling(0.8, top_p=0.95, seed=3), "", Sampling(0.8, top_p=0.95, seed=None)),
        (Sampling(0.8, top_p=0.95), "--temperature 1", Sampling(1.0, top_p=0.95, seed=None)),
        (Sampling(0.8, top_p=0.95), "--search beam", Beam()),
    ],
)
def test_the_runs_search_changes_by_what_is_given_alone(own, arguments, expected):
    assert chosen(own, *arguments.split()) == expected


@pytest.mark.parametrize(
    ("own", "arguments", "words"),
    [
        (Greedy(), "--beam-size 3", "--beam-size .* Greedy"),
        (Beam(), "--temperature 0.5", "--temperature .* Beam"),
        (Beam(), "--search greedy --beam-size 3", "--beam-size .* --search greedy"),
        (Sampling(), "--length-penalty 1 --top-k 3", "--length-penalty .* Sampling"),
        (Beam(), "--beam-size 0", "beam_size=0"),
    ],
)
def test_options_of_another_search_are_refused(own, arguments, words):
    with pytest.raises(ValueError, match=words):
        chosen(own, *arguments.split())


def test_a_search_of_ones_own_stays_unless_it_has_no_such_setting():
    own = SimpleNamespace()
    assert chosen(own) is own
    with pytest.raises(ValueError, match="SimpleNamespace"):
        chosen(own, "--beam-size", "3")


def test_help_shows_the_defaults_there_are():
    told = " ".join(parser().format_help().split())
    for search, names in (
        (Beam, ("beam_size", "length_penalty")),
        (Sampling, ("temperature",)),
        (Greedy, ("no_repeat_ngram",)),
    ):
        default = {field.name: field.default for field in fields(search)}
        for name in names:
            assert re.search(
                rf"--{name.replace('_', '-')} \w [^()]*\(default {default[name]}\b", told
            ), name


class Echo:
    """A task that answers with the text, where it stood in its batch, and a number by chance."""

    search = Sampling()
    searches = (Search,)
    max_length = 5
    min_length = 0
    backbone = SimpleNamespace(n_encoder_layer=1)

    def __init__(self):
        self.answering = Answering(self)

    def to(self, device):
        return self

    def generate(self, examples):
        import torch

        for i, example in enumerate(examples):
            chance = torch.rand(()).item() if self.search.seed is None else 0
            finish = "length" if example.source == "long" else "stop"
            yield Prediction(
                example.id, f"<{example.source}>\n{i} {chance:.6f}", finish_reason=finish
            )


@pytest.fixture
def answers(lslm, monkeypatch):
    """Lines of output to text that is piped in."""
    directory = RunDirectory(Path("RUN"))
    found = FoundRun(directory)
    monkeypatch.setattr("lslm_lightning.commands.named_run.find_run", lambda reference: found)
    config = {"model": {"class_path": "tasks.translation.task.TranslationTask"}}
    loaded = SimpleNamespace(task=Echo(), config=config, directory=directory)
    monkeypatch.setattr(runs, "load_run", lambda reference, trust: loaded)

    def ask(text: str, *arguments: object) -> list[str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        outcome = lslm("generate", "RUN", "-", *arguments)
        assert outcome.status == 0, outcome
        return outcome.out.splitlines()

    return ask


@pytest.mark.slow
def test_each_line_gives_a_line_empty_ones_too(answers):
    found = answers("one\n\ntwo\r\n\n", "--batch-size", 3)
    assert [line[:-9] for line in found] == ["<one> 0", "<> 1", "<two> 2", "<> 0"]


@pytest.mark.parametrize("inner", ["\r", "\x0b", "\x1c", "\x85", "\u2028"])
def test_only_line_feeds_end_the_lines_that_are_piped_in(inner, monkeypatch):
    text = f"\ufeffone{inner}two\r\n{inner}three{inner}\r\n\nfour"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert list(lines("-")) == [f"one{inner}two", f"{inner}three{inner}", "", "four"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            "one\ntwo\n".encode("utf-16"),
            "standard input: line 1: byte 0 .* the file is UTF-16; convert it",
        ),
        (
            b"one\nt\xe9\n",
            (
                r"standard input: line 2: byte 5 \(0xe9\) is not UTF-8, and its encoding cannot be "
                r"told"
            ),
        ),
        (b"one\nt\0\n", "standard input: line 2: byte 5 .* is NUL"),
    ],
)
def test_what_is_piped_in_must_be_text(data, message, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    with pytest.raises(ValueError, match=message):
        list(lines(None))


@pytest.mark.slow
def test_batches_draw_different_numbers_and_the_seed_repeats_them(answers):
    found = answers("a\n" * 4, "--batch-size", 2, "--seed", 7)
    assert len({line.split()[-1] for line in found}) == 4
    assert answers("a\n" * 4, "--batch-size", 2, "--seed", 7) == found
    assert answers("a\n" * 4, "--batch-size", 2, "--seed", 8) != found


@pytest.mark.slow
def test_answers_that_were_cut_are_counted(answers, lslm):
    assert len(answers("one\nlong\ntwo\nlong\n", "--batch-size", 3, "--max-length", 7)) == 4
    outcome = lslm("generate", "RUN", "long", "--max-length", 7)
    assert outcome.err == "1 of 1 answers were cut at max_length=7 tokens; raise --max-length\n"
    assert lslm("generate", "RUN", "one").err == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--beam-size", "3"], ["--beam-size", "Sampling"]),
        (["--top-p", "0"], ["top_p=0.0"]),
        (["--max-length", "0"], ["max_length=0"]),
        (["--min-length", "999"], ["min_length=999"]),
    ],
)
def test_wrong_options_are_one_line_and_status_2(answers, lslm, arguments, words):
    outcome = lslm("generate", "RUN", "text", *arguments)
    assert outcome.status == 2
    [line] = outcome.err.splitlines()
    assert all(word in line for word in ["lslm generate: ", *words]), line


@pytest.mark.slow
def test_a_real_run_answers_with_its_own_search_and_what_is_given(lslm, translation, only_run):
    assert lslm("run", "--config", translation).status == 0
    for options in (
        [],
        ["--search", "greedy"],
        ["--beam-size", "2"],
        ["--search", "sampling", "--top-k", "3"],
    ):
        outcome = lslm("generate", only_run(), "red cat", "--max-length", "5", *options)
        assert outcome.status == 0, outcome.err
        assert outcome.out.endswith("\n")
    assert lslm("generate", only_run(), "red cat", "--temperature", "0.5").status == 2


# Several answers to one text


@pytest.fixture(scope="module")
def translator(tmp_path_factory) -> Path:
    return write_translator(tmp_path_factory.mktemp("translation") / "run")


@pytest.mark.parametrize("search", [["--search", "beam"], ["--search", "sampling", "--seed", "3"]])
def test_n_best_are_printed_with_their_log_p(search, translator, monkeypatch, capfd):
    """A line each, the best first; of what is piped in behind the number of the line."""
    options = [*search, "--max-length", "6", "--n-best", "3"]
    assert main(["generate", str(translator), "ab c", *options]) == 0
    rows = [line.split("\t") for line in capfd.readouterr().out.splitlines()]
    assert [len(row) for row in rows] == [2, 2, 2]
    log_p = [float(row[0]) for row in rows]
    assert max(log_p) < 0
    if "sampling" in search:
        assert log_p == sorted(log_p, reverse=True)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"ab c\nd e\n")))
    assert main(["generate", str(translator), "-", *options, "--batch-size", "1"]) == 0
    piped = [line.split("\t") for line in capfd.readouterr().out.splitlines()]
    assert [row[0] for row in piped] == ["1", "1", "1", "2", "2", "2"]
    assert [row[1:] for row in piped[:3]] == rows


def test_one_best_is_the_answer_alone(translator, capfd):
    words = ["generate", str(translator), "ab c", "--search", "beam", "--max-length", "6"]
    assert main(words) == main([*words, "--n-best", "1"]) == 0
    first, second = capfd.readouterr().out.splitlines()
    assert first == second
    assert main([*words, "--n-best", "2"]) == 0
    assert capfd.readouterr().out.splitlines()[0].split("\t")[1] == first


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--search", "greedy", "--n-best", "2"], "n_best=2 must be 1 for Greedy"),
        (["--search", "beam", "--beam-size", "2", "--n-best", "3"], "at most beam_size=2"),
        (["--n-best", "0"], "n_best=0"),
    ],
)
def test_more_than_a_search_finds_is_refused(arguments, message, translator, capfd):
    assert main(["generate", str(translator), "ab", *arguments]) == 2
    [line] = capfd.readouterr().err.splitlines()
    assert line.startswith("lslm generate: ")
    assert message in line


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["generate", "RUN", "--beam-sise", "3"], "did you mean --beam-size?"),
        (
            ["generate", "RUN", "--beam-size", "many"],
            "--beam-size='many' must be a whole number in digits, such as 10",
        ),
        (["data", "fetch"], "required: NAME; lslm data fetch --help"),
        (["ui", "--prt", "1"], "did you mean --port?"),
        (["demo", "--rot", "x"], "did you mean --root?"),
    ],
)
def test_wrong_arguments_are_one_line(words, hint, capsys):
    assert main(words) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("lslm: ")
    assert line.endswith(hint)


@pytest.mark.slow
def test_a_folder_called_tasks_of_a_run_from_elsewhere_is_never_imported(project):
    """Neither is another module there that has the name of one of ours or of torch."""
    for name in ("tasks", "torch", "lslm_lightning"):
        (project / name).mkdir()
        (project / name / "__init__.py").write_text("print('taken over')\n")
    (project / "tasks" / "translation.py").write_text("print('taken over')\n")
    (project / "config.yaml").write_text(
        "model: {class_path: tasks.translation.task.TranslationTask, init_args: {}}\n"
    )
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [Path(sys.executable).with_name("lslm"), "generate", ".", "text"]
    outcome = subprocess.run(
        command,
        cwd=project,
        env=kept,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert outcome.returncode == 1
    assert outcome.stderr.startswith("lslm: ")
    assert "taken over" not in outcome.stdout + outcome.stderr
