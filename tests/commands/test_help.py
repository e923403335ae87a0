"""Help and misspelt names come before torch is imported, and say what the parser would."""

import ast
import json
import re
import subprocess
import sys
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest
from jsonargparse import ArgumentParser

from lslm_lightning.__main__ import COMMANDS
from lslm_lightning.commands.arguments import Parser as ArgumentsParser
from lslm_lightning.commands.training import tell_loading
from lslm_lightning.configuration import help as settings_help
from lslm_lightning.configuration.cli import DEFAULT_SEED, ConfigParser
from lslm_lightning.configuration.config_files import TOP
from lslm_lightning.configuration.errors import _names_of
from lslm_lightning.configuration.given_settings import FIXED, check_given
from lslm_lightning.configuration.help import HelpSection, help_of
from lslm_lightning.configuration.job import TRAINER_DEFAULTS, Job, JobTrainer
from lslm_lightning.configuration.signatures import settings_of
from lslm_lightning.configuration.source_tree import first_missing
from lslm_lightning.exit_status import SettingsError
from lslm_lightning.experiments.evaluation_spec import KEYS
from lslm_lightning.experiments.invocation import PARENT
from lslm_lightning.experiments.variants import check_settings
from lslm_lightning.runs.trust import import_named
from lslm_lightning.text.yaml_files import parse_yaml, read_yaml
from lslm_lightning.training.token_gradients import NotFiniteError, check_finite
from tests.commands.conftest import Outcome, write_translation

ROOT = Path(__file__).parents[2]
MODULES = (
    "lightning.pytorch.callbacks",
    "lightning.pytorch.loggers",
    "lightning.pytorch.profilers",
    "lightning.pytorch.strategies",
    "lslm_lightning.decoding",
    "lslm_lightning.models.positions",
    "lslm_lightning.optim",
    "lslm_lightning.text.recipes",
    "torch.nn",
    "torch.optim",
    "torch.optim.lr_scheduler",
)
SLOW = ("torch", "lightning", "mlflow", "transformers", "scipy")
SCRIPT = """
import contextlib, io, json, sys
from pathlib import Path
from lslm_lightning.__main__ import main
from lslm_lightning.runs.own_runs import register_run

register_run(Path("runs/toy/a-1/config.yaml"))
found = []
for words in json.load(sys.stdin):
    out, err, before = io.StringIO(), io.StringIO(), set(sys.modules)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(words)
    imported = [name for name in SLOW if name in sys.modules.keys() - before]
    found.append([status, out.getvalue(), err.getvalue(), imported])
print(json.dumps(found))
"""
HELPS = [[name, "--help"] for name in COMMANDS]
HELPS += [["data", name, "--help"] for name in ("list", "fetch", "check", "prepare")]
CLASSES = {
    "Transformer": ["lslm_lightning.models.transformer.Transformer", "n_head", "default 4"],
    "torch.optim.SGD": ["torch.optim.SGD", "momentum", "default 0"],
    "lslm_lightning.decoding.Beam": ["beam_size", "default 5"],
    "SpanData": [
        "tasks.question_answering.extractive.data.SpanData",
        "overlap_features",
        "corpus",
        "required",
    ],
    "lightning.pytorch.callbacks.EarlyStopping": ["monitor", "patience", "default 3"],
    "own_parts.Small": ["own_parts.Small", "n_block", "default 2", "d_model"],
}
OWN = '''
from lslm_lightning.models.transformer import Transformer


class Small(Transformer):
    """Of a user.

    Args:
        n_block: how many.
    """

    def __init__(self, n_block: int = 2, **settings):
        super().__init__(n_encoder_layer=n_block, **settings)


class Any(Transformer):
    def __init__(self, **settings):
        settings.setdefault("d_model", settings.pop("width", 8))
        super().__init__(**settings)
'''
RUN = ["run", "--config", "tiny.yaml"]
OWN_BACKBONE = [*RUN, "--model.backbone", "own_parts.Small"]
MISSPELT = [  # words, exit status, what the one line has
    (["rnu", "--config", "tiny.yaml"], 2, ["'rnu' is no command", "'run'"]),
    (["run", "--config", "tinny.yaml"], 2, ["config tinny.yaml does not exist", "mean tiny.yaml?"]),
    (["fit", "-c", "parst/more.yaml"], 2, ["parst/more.yaml", "did you mean parts/more.yaml?"]),
    (["test", "--config=parts/mor.yaml"], 2, ["parts/mor.yaml", "mean parts/more.yaml?"]),
    ([*RUN, "--confgi", "x"], 2, ["confgi is not known", "mean config?"]),
    ([*RUN, "--seed", "1"], 2, ["seed is not known", "seeds"]),
    ([*RUN, "--trainer.max_stepz=5"], 2, ["trainer.max_stepz ", "mean trainer.max_steps?"]),
    ([*RUN, "--job.minuts", "5"], 2, ["job.minuts ", "mean job.minutes?"]),
    ([*RUN, "--modle.max_length", "5"], 2, ["modle.max_length ", "mean model.max_length?"]),
    ([*RUN, "--model.init_args.max_lenght", "5"], 2, ["model.max_lenght ", "model.max_length?"]),
    ([*RUN, "--model.backbone.n_haed", "5"], 2, ["model.backbone.n_haed ", "backbone.n_head?"]),
    ([*RUN, "--data.corpsu", "5"], 2, ["data.corpsu ", "mean data.corpus?"]),
    ([*OWN_BACKBONE, "--model.backbone.n_blok=3"], 2, ["n_blok ", "model.backbone.n_block?"]),
    ([*OWN_BACKBONE, "--model.backbone.d_modl=3"], 2, ["d_modl ", "model.backbone.d_model?"]),
    (
        [*RUN, "--model", "{class_path: tasks.translation.task.TranslationTsk}"],
        2,
        ["TranslationTask?"],
    ),
    ([*RUN, "--config", "parts/wrong.yaml"], 2, ["parts/wrong.yaml: ", "model.label_smoothing?"]),
    ([*RUN, "--model.search.beam_sise=3"], 2, ["mean model.search.beam_size?"]),  # of the default
    ([*RUN, "--model.optimizer.lrr=3"], 2, ["mean model.optimizer.lr?"]),
    ([*RUN, "--model.optimizer", "torch.optim.AdmaW"], 2, ["mean torch.optim.AdamW?"]),
    ([*RUN, "--model.backbone.norm=torch.nn.LayrNorm"], 2, ["mean torch.nn.LayerNorm?"]),
    (["run"], 2, ["data, model must be given"]),
    (["run", "--config"], 2, ["--config needs the name of a file"]),
    (["test", "--config", "tiny.yaml"], 1, ["lslm test needs --ckpt_path"]),
    (["data", "chek", "cldr"], 2, ["did you mean check?"]),
    (["data", "fetch", "multi30"], 1, ["did you mean 'multi30k'?"]),
    ([*RUN, "--data.corpus", "pairz"], 1, ["corpus 'pairz'", "mean 'pairs'?"]),
    ([*RUN, "--data.corpus", "cdlr"], 1, ["corpus 'cdlr'", "did you mean 'cldr'?"]),
    ([*RUN, "--data.corpus", "./pairs/trian.en"], 1, ["mean 'pairs/train.en'?"]),
    ([*RUN, "--ckpt_path", "runs/toy/a-1/checkpoints/bets.ckpt"], 1, ["checkpoints/best.ckpt?"]),
    (["resume", "runs/toy/a-2"], 1, ["no run 'runs/toy/a-2'", "did you mean runs/toy/a-1?"]),
    (["resume", "runs/toy/a-1", "--trainer.max_stesp", "9"], 2, ["mean trainer.max_steps?"]),
    (["generate", "runs/tyo/a-1", "x"], 1, ["mean runs/toy/a-1?"]),
    (["generate", "runs/toy/a-1/checkpoints/las.ckpt", "x"], 1, ["checkpoints/last.ckpt?"]),
    (["generate", "runs/toy/a-1", "x", "--fusion", "runs/toy/a-"], 2, ["mean runs/toy/a-1?"]),
    (["consolidate", "runs/toy/a"], 1, ["mean runs/toy/a-1?"]),
    (["compare", "runs/toy/a-1", "runs/toy/b-1"], 1, ["mean runs/toy/a-1?"]),
    (["plan", "--config", "tinyy.yaml"], 2, ["mean tiny.yaml?"]),
    (["plan", "--config", "tiny.yaml", "--model.backbone.d_modle", "8"], 2, ["d_model?"]),
    (["verify-resume", "--config", "tiny.yml"], 2, ["mean tiny.yaml?"]),
    (["evaluate", "--config", "parts/evaluat.yaml"], 2, ["mean parts/evaluate.yaml?"]),
    (["evaluate", "--config", "parts/evaluate.yaml", "--data.corpus", "pairr"], 1, ["'pairs'?"]),
    (["evaluate", "--config", "parts/evaluate.yaml", "--splt", "val"], 2, ["mean split?"]),
    (["sweep", "--config", "parts/swep.yaml"], 2, ["mean parts/sweep.yaml?"]),
    (
        ["sweep", "--config", "parts/sweep.yaml"],
        2,
        ["variant wide: ", "model.backbone.d_model?"],
    ),
    (
        ["sweep", "--config", "parts/evaluate.yaml"],
        2,
        ["parts/evaluate.yaml is no config of a sweep"],
    ),
    (["sweep", "--config", "parts/sweep.yaml", "--only", "wid"], 2, ["--only wid", "are wide"]),
    (
        ["sweep", "--config", "parts/sweep.yaml", "--name", "a/b"],
        2,
        ["--name='a/b'", "try 'a_b'"],
    ),
    (["run", "--help", "own_parts.Smal"], 2, ["own_parts has no Smal", "own_parts.Small?"]),
    (["run", "--help", "torch.optim.AdmaW"], 2, ["did you mean torch.optim.AdamW?"]),
    (["run", "--help", "../own_parts.py"], 2, ["no such class", "package.module.Class"]),
    (
        ["run", "--help", "Transfomer"],
        2,
        ["no such class", "lslm_lightning.models.transformer.Transformer"],
    ),
]
RIGHT = [  # given to the parser as they are
    [*RUN, "--seeds", "3", "--model.backbone.d_model=8", "--print_config=comments", "--trust"],
    [*RUN, "--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val/loss"],
    [*RUN, "--model.optimizer", "AdamW", "--model.optimizer.lr=1e-4", "--job.tags.group", "a"],
    [*RUN, "--model.backbone", "own_parts.Any", "--model.backbone.width", "8"],
    [*RUN, "--model.backbone", "own_parts.Any", "--model.backbone.whatever", "8"],
    [*RUN, "--model.backbone.dict_kwargs.x=1", "--data.columns.en", "english"],
    [*RUN, "--model.backbone", "lslm_lightning.models.recurrent.LSTM", "--model.search=null"],
    [
        *RUN,
        "--trainer",
        "{max_steps: 3}",
        "--data.columns",
        "{en: a, zh: b}",
        "--job.name",
        "tasks.x",
    ],
]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Outcome, list[str]]]:
    """Outcomes of commands in one process that begins with nothing imported, and what it
    imported.
    """
    folder = tmp_path_factory.mktemp("project")
    pairs = folder / "pairs"
    pairs.mkdir()
    (pairs / "train.en").write_text("a\n")
    (pairs / "train.zh").write_text("b\n")
    write_translation(folder / "tiny.yaml", Path("pairs"))
    (folder / "own_parts.py").write_text(OWN)
    (folder / "parts").mkdir()
    data = {
        "class_path": "tasks.translation.data.TranslationData",
        "init_args": {"corpus": "pairs"},
    }
    transformer = {"class_path": "lslm_lightning.models.transformer.Transformer"}
    model = {
        "class_path": "tasks.translation.task.TranslationTask",
        "init_args": {"backbone": transformer},
    }
    wide = {"model.backbone.d_modl": 8}
    contents = {
        "more": {"trainer": {"max_steps": 2}},
        "wrong": {"model": {"init_args": {"label_smoothin": 0.1}}},
        "evaluate": {"task": "tasks.translation.task.TranslationTask", "data": data, "systems": {}},
        "sweep": {"base": {"model": model, "data": data}, "variants": {"wide": wide}},
    }
    for name, content in contents.items():
        (folder / f"parts/{name}.yaml").write_text(json.dumps(content))
    checkpoints = folder / "runs/toy/a-1/checkpoints"
    checkpoints.mkdir(parents=True)
    for name in ("best.ckpt", "last.ckpt"):
        (checkpoints / name).touch()
    config = checkpoints.parent / "config.yaml"
    config.write_text(f"# lslm run\n{(folder / 'tiny.yaml').read_text()}")
    commands = [
        *HELPS,
        *(["run", "--help", name] for name in CLASSES),
        *(words for words, _, _ in MISSPELT),
    ]
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"SLOW = {SLOW}\n{SCRIPT}"],
        input=json.dumps(commands),
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    return {
        json.dumps(words): (Outcome(*each[:3]), each[3])
        for words, each in zip(commands, found, strict=True)
    }


@pytest.mark.slow
@pytest.mark.parametrize("words", HELPS, ids=" ".join)
def test_help_is_one_screen_with_examples_and_imports_nothing_slow(answers, words):
    outcome, imported = answers[json.dumps(words)]
    lines = outcome.out.splitlines()
    assert (outcome.status, outcome.err, imported) == (0, "", [])
    assert len(lines) <= 60
    assert any(line.startswith(f"  lslm {' '.join(words[:-1])}") for line in lines), "no example"
    if COMMANDS[words[0]][0] == "training":
        assert max(map(len, lines)) <= 80


@pytest.mark.slow
def test_settings_that_a_loss_without_value_advises_are_in_the_help(answers):
    with pytest.raises(NotFiniteError) as raised:
        check_finite(float("nan"), 3)
    advised = re.findall(r"(?:model|trainer)\.[\w.]+", str(raised.value))
    assert len(advised) == 2
    shown = answers[json.dumps(["run", "--help"])][0].out
    for name in advised:
        assert f"--{name}" in shown or re.search(rf"^  {name.partition('.')[2]} ", shown, re.M), (
            name
        )


@pytest.mark.parametrize("name", CLASSES)
def test_help_on_a_class_imports_nothing_slow(answers, name):
    outcome, imported = answers[json.dumps(["run", "--help", name])]
    assert (outcome.status, imported) == (0, [])
    for words in CLASSES[name]:
        assert words in outcome.out


@pytest.mark.parametrize(
    ("words", "status", "said"),
    MISSPELT,
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
)
def test_a_misspelt_name_is_told_before_anything_slow_is_imported(answers, words, status, said):
    outcome, imported = answers[json.dumps(words)]
    assert (outcome.status, imported) == (status, []), outcome
    [line] = outcome.err.splitlines()
    assert line.startswith(("lslm: ", f"lslm {words[0]}: "))
    for each in said:
        assert each in line


@pytest.mark.parametrize("words", RIGHT, ids=" ".join)
def test_right_settings_are_let_pass(project, monkeypatch, words):
    (project / "own_parts.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(project))
    write_translation(project / "tiny.yaml", Path("pairs"))
    check_given(words)


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    sorted(ROOT.glob("configs/*/*.yaml")),
    ids=lambda path: f"{path.parent.name}/{path.stem}",
)
def test_configs_are_let_pass(path):
    content = read_yaml(path)
    if "variants" in content:
        check_settings(str(path), [])
    else:
        known = KEYS if "systems" in content else TOP
        check_given(["run", "--config", str(path)], known)


def class_paths() -> set[str]:
    """Return every class that the configs of the project name, and some of torch and Lightning."""
    texts = [path.read_text("utf-8") for path in ROOT.glob("configs/*/*.yaml")]
    named = {path for text in texts for path in re.findall(r"class_path: ([\w.]+)", text)}
    sections = {
        section.path for section in vars(settings_help).values() if isinstance(section, HelpSection)
    }
    callbacks = {
        f"lightning.pytorch.callbacks.{name}"
        for name in ("EarlyStopping", "Timer", "LearningRateMonitor")
    }
    return (
        named | sections | callbacks | {"torch.optim.SGD", "torch.nn.RMSNorm", "torch.nn.LayerNorm"}
    )


def classes_of(module: str) -> list[str]:
    """Return the import paths of the public classes of a module, without those that Lightning
    buried.
    """
    found = vars(import_module(module)).items()
    kinds = {name: value for name, value in found if isinstance(value, type) and name[0] != "_"}
    return [
        f"{module}.{name}" for name, kind in kinds.items() if "_graveyard" not in kind.__module__
    ]


@pytest.mark.parametrize("module", MODULES)
def test_no_class_that_exists_is_called_missing(module):
    for path in classes_of(module):
        assert first_missing(path) is None, path
        assert first_missing(f"{path}Of") is None or path.startswith(
            f"{first_missing(f'{path}Of')[0]}."
        )


@pytest.mark.slow
@pytest.mark.parametrize("module", MODULES)
def test_no_setting_that_the_parser_knows_is_called_unknown(module):
    n_told = 0
    for path in classes_of(module):
        try:
            names = {name.partition(".")[0] for name in _names_of(path)}
        except Exception:  # of a class that no config can name
            continue
        settings = settings_of(path)
        assert settings is None or names <= {setting.name for setting in settings}, path
        n_told += settings is not None
    assert n_told >= 3


@pytest.mark.parametrize("path", sorted(class_paths()))
def test_the_source_tells_the_settings_that_the_parser_finds(path):
    settings = settings_of(path)
    parser = ArgumentParser()
    parser.add_class_arguments(import_named(path), fail_untyped=False)
    actions = {
        action.dest: action for action in parser._actions if not action.dest.endswith("help")
    }
    assert settings is not None
    assert {setting.name for setting in settings} == {name.partition(".")[0] for name in actions}
    for setting in settings:
        if isinstance(setting.default, ast.Constant):
            assert actions[setting.name].default == setting.default.value, setting.name


def test_defaults_in_the_help_are_those_of_the_command(project):
    parser = ConfigParser()
    parser.add_lightning_class_args(JobTrainer, "trainer")
    parser.add_class_arguments(Job, "job")
    parser.set_defaults({f"trainer.{name}": value for name, value in TRAINER_DEFAULTS.items()})
    defaults = parser.get_defaults()
    for command in ("run", "fit", "validate", "test", "predict"):
        rows = re.findall(r"^  (\w+) +(\S+)  ", help_of(command), re.MULTILINE)
        for block in ("trainer", "job"):
            known = vars(defaults[block])
            shown = {name: value for name, value in rows if name in known}
            assert len(shown) >= 3
            for name, value in shown.items():
                assert parse_yaml(value) == known[name], name
        assert f"(default {DEFAULT_SEED})" in help_of(command)


def test_every_setting_of_a_job_is_in_the_help():
    names = set(re.findall(r"^  (\w+) ", help_of("run"), re.MULTILINE))
    assert {field.name for field in fields(Job)} - names == {"parent"}  # which `--seeds` sets


def test_all_that_the_command_line_of_lightning_gives_is_still_there(lslm):
    whole = lslm("run", "--help", "all")
    assert whole.status == 0
    for name in (
        "--trainer.enable_autolog_hparams",
        "--job.keep_best",
        "--model.help",
        "--print_config",
    ):
        assert name in whole.out
    trainer = lslm("run", "--trainer.help")
    assert trainer.status == 0
    for setting in (
        *(each.name for each in settings_of(FIXED["trainer"])),
        "max_epochs",
        "plugins",
    ):
        assert re.search(rf"^  {setting} +\S", trainer.out, re.MULTILINE)
    for words in (
        ["--model.help", "tasks.translation.task.TranslationTask"],
        ["--data.help=tasks.translation.data.TranslationData"],
        ["--trainer.callbacks.help", "lightning.pytorch.callbacks.EarlyStopping"],
    ):
        outcome = lslm("run", *words)
        assert outcome.status == 0
        assert re.search("^  (label_smoothing|max_tokens|patience) ", outcome.out, re.MULTILINE)
    assert "tasks.translation.task.TranslationTask" in lslm("run", "--model.help").out


def test_a_configuration_is_printed_with_what_its_settings_mean(lslm, translation):
    outcome = lslm("run", "--config", translation, "--print_config=comments")
    assert outcome.status == 0, outcome.err
    lines = outcome.out.splitlines()
    place = next(i for i, line in enumerate(lines) if line.strip().startswith("label_smoothing:"))
    comment = " ".join(line.strip("# ") for line in lines[place - 3 : place])
    assert "spread over the vocabulary" in comment
    assert parse_yaml(outcome.out)["model"]["init_args"]["max_length"] == 20


@pytest.mark.parametrize("width", [60, 80, 120])
def test_descriptions_are_as_wide_as_the_terminal(monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    prose = "All of this is prose, and it goes on. " * 4
    row = f"  {'name':<12}{'what it means, at length. ' * 6}"
    example = f"  lslm run --config {'long/' * 40}mine.yaml"
    parser = ArgumentsParser(
        "lslm x", description=f"{prose}\n\n{example}\n\nAbout:\n{row}\n{' ' * 16}and more\n"
    )
    lines = parser.format_help().splitlines()
    assert example in lines
    assert max(len(line) for line in lines if line != example) <= min(width, 100)
    assert "".join(prose.split()) in "".join("".join(lines).split())
    beside = lines[lines.index("About:") + 1 :]
    assert beside[0].startswith("  name        what")
    assert beside[1].startswith(f"{' ' * 14}")
    assert beside[1][14] != " "


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, True),
        ({"RANK": "0"}, True),
        ({"LOCAL_RANK": "1"}, False),
        ({"RANK": "3", "LOCAL_RANK": "0"}, False),
        ({PARENT: "7"}, False),
    ],
)
def test_one_process_says_that_libraries_are_loaded(environment, said, monkeypatch, capsys):
    for name in ("RANK", "LOCAL_RANK", PARENT):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    tell_loading()
    assert not capsys.readouterr().out, "torch is here already"
    monkeypatch.delitem(sys.modules, "torch")
    tell_loading()
    assert bool(capsys.readouterr().out) == said


@pytest.mark.parametrize("known", [TOP, KEYS])
@pytest.mark.parametrize("content", ["", "a text", "[1, 2]", "zzzz: 1"])
def test_a_config_that_is_none_is_told_what_this_command_reads(known, content, tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(content)
    with pytest.raises(SettingsError) as told:
        check_given(["--config", str(path)], known)
    message = told.value.message
    assert ", ".join(known) in message
    assert "NoneType" not in message
