"""Runs of other users: what their configs may build with `lslm resume`, and what the user's own
may.
"""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from lslm_lightning.runs.trust import check_trust, only_trusted
from lslm_lightning.text.recipes import Characters
from tests.commands.conftest import refused

pytestmark = pytest.mark.slow

EVIL = "evil_callbacks"
HAPPENED: list[str] = []


def watch(event: str, arguments: tuple) -> None:
    if event == "import" and arguments[0] in (EVIL, "mine"):
        HAPPENED.append(arguments[0])
    if event in ("os.system", "subprocess.Popen") and "touch" in str(arguments):
        HAPPENED.append(event)


@pytest.fixture(scope="module", autouse=True)
def audited() -> None:
    sys.addaudithook(watch)


@pytest.fixture
def stranger(translation: Path, project: Path):
    """`change` -> directory of a run that another user has sent, with settings that `change`
    makes.
    """
    (project / f"{EVIL}.py").write_text(
        "from lightning.pytorch import Callback\nclass Evil(Callback): pass\n"
    )

    def make(change) -> Path:
        config = yaml.safe_load(translation.read_text())
        change(config)
        run = project / "stranger/translation/sent"
        run.mkdir(parents=True)
        text = config if isinstance(config, str) else yaml.safe_dump(config)
        (run / "config.yaml").write_text(f"# lslm fit --config x.yaml\n{text}")
        (run / "mlflow.json").write_text("{}")
        Characters().train(["a b"]).save(run / "tokenizer.json")
        HAPPENED.clear()
        return run

    return make


def callback(path: str, **settings: object):
    return lambda config: config["trainer"].update(
        callbacks=[{"class_path": path, "init_args": settings}]
    )


def trainer(**settings: object):
    return lambda config: config["trainer"].update(settings)


LIGHTNING = "lightning.pytorch"
CALLBACKS = f"{LIGHTNING}.callbacks"
MONITOR = {"monitor": "val/loss"}
ATTACKS = {
    "a module beside it": callback(f"{EVIL}.Evil"),
    "the same in one word": trainer(callbacks=f"{EVIL}.Evil"),
    "the same in JSON with a tab": trainer(callbacks=f'[{{\t"class_path": "{EVIL}.Evil"}}]'),
    "the same, appended": lambda config: config["trainer"].update(
        {"callbacks+": {"class_path": f"{EVIL}.Evil"}}
    ),
    "the same in an error": callback(
        f"{CALLBACKS}.EarlyStopping",
        **MONITOR,
        **{f"class_path='{EVIL}.Evil'": f"class_path '{EVIL}.Evil'"},
    ),
    "a checkpoint elsewhere": callback(f"{CALLBACKS}.ModelCheckpoint", dirpath="elsewhere"),
    "a function": callback(f"{CALLBACKS}.LambdaCallback", on_fit_start="os.system"),
    "a callback of our own that writes": callback(
        "lslm_lightning.training.callbacks.checkpoints.Checkpoints", folder="elsewhere"
    ),
    "a file of our own that runs": callback(
        "lslm_lightning.experiments.child_process.run_to_its_end", command=["touch", "elsewhere"]
    ),
    "a listed class with a class inside": callback(
        f"{CALLBACKS}.EarlyStopping", monitor={"class_path": f"{EVIL}.Evil"}
    ),
    "a listed class with dict_kwargs": lambda config: config["trainer"].update(
        callbacks=[
            {
                "class_path": f"{CALLBACKS}.RichProgressBar",
                "dict_kwargs": {"console_kwargs": {"file": "elsewhere"}},
            }
        ]
    ),
    "a hook": trainer(
        strategy={
            "class_path": f"{LIGHTNING}.strategies.DDPStrategy",
            "init_args": {"ddp_comm_hook": "os.system"},
        }
    ),
    "a strategy": trainer(
        strategy={
            "class_path": f"{LIGHTNING}.strategies.FSDPStrategy",
            "init_args": {"auto_wrap_policy": "os.system"},
        }
    ),
    "a logger": trainer(
        logger={
            "class_path": f"{LIGHTNING}.loggers.CSVLogger",
            "init_args": {"save_dir": "elsewhere"},
        }
    ),
    "a profiler": trainer(
        profiler={
            "class_path": f"{LIGHTNING}.profilers.SimpleProfiler",
            "init_args": {"dirpath": "elsewhere"},
        }
    ),
    "a plugin": trainer(plugins=[{"class_path": f"{LIGHTNING}.plugins.io.AsyncCheckpointIO"}]),
    "a file of settings": trainer(callbacks="stranger/callbacks.yaml"),
    "a file of data": lambda config: config.update(data="stranger/data.yaml"),
    "an optimizer": lambda config: config["model"]["init_args"].update(
        optimizer={"class_path": f"{EVIL}.Evil"}
    ),
    "a dotted key": lambda config: config["model"]["init_args"].update(
        {"optimizer.class_path": f"{EVIL}.Evil"}
    ),
    "data": lambda config: config["data"].update(class_path=f"{EVIL}.Evil"),
    "columns": lambda config: config["data"]["init_args"].update(
        columns={"source": {"class_path": f"{EVIL}.Evil"}}
    ),
    "code of a repository": lambda config: config["model"]["init_args"].update(
        backbone={
            "class_path": "lslm_lightning.pretrained.encoder_decoder.PretrainedEncoderDecoder",
            "init_args": {
                "path": "x",
                "tokenizer_digest": "y",
                "config": {"model_type": "t5", "auto_map": {"AutoModel": f"{EVIL}.Evil"}},
            },
        }
    ),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_strangers_run_builds_nothing_that_runs_or_writes(
    name: str, lslm, stranger, project: Path
) -> None:
    run = stranger(ATTACKS[name])
    for file in ("callbacks", "data"):
        (project / f"stranger/{file}.yaml").write_text(f"class_path: {EVIL}.Evil\n")
    outcome = lslm("resume", run, "--no-checkpoint")
    lines = [line for line in outcome.err.splitlines() if line.startswith("lslm: ")]
    assert outcome.status in (1, 2), outcome
    assert len(lines) == 1, outcome.err
    assert "Traceback" not in outcome.err
    assert not HAPPENED
    assert not (project / "elsewhere").exists()
    assert str(project) not in sys.path


def test_an_option_is_found_however_it_is_spelled(
    lslm, stranger, translation: Path, project: Path
) -> None:
    run = stranger(callback(f"{EVIL}.Evil"))
    config = run / "config.yaml"
    link = project / "mine.yaml"
    link.symlink_to(config)
    for words in (
        [f"-c{config}"],
        [f"-c={config}"],
        ["--conf", config],
        [f"--conf={config}"],
        ["--config", link],
    ):
        for command in (["fit"], ["plan", f"--config={translation}"]):
            outcome = lslm(*command, *words)
            assert outcome.status in (1, 2), outcome
            assert not HAPPENED, words


def test_a_strangers_run_writes_through_no_link(lslm, stranger, project: Path) -> None:
    run = stranger(lambda config: None)
    (project / "precious").mkdir()
    (run / "report").symlink_to(project / "precious")
    refused(lslm("resume", run, "--no-checkpoint"), 1, "report is a link to", "--trust")
    assert not list((project / "precious").iterdir())
    (run / "checkpoints").mkdir()
    (run / "checkpoints/best.ckpt").write_bytes(b"x")
    refused(lslm("consolidate", run), 1, "report is a link to", "--output FILE")


@pytest.mark.parametrize(
    ("line", "words"),
    [(b"# lslm run --x='", "line 1 is no command line"), (b"# \xff", "is not UTF-8")],
)
def test_a_first_line_that_cannot_be_read_is_named(lslm, stranger, line: bytes, words: str) -> None:
    config = stranger(lambda config: None) / "config.yaml"
    config.write_bytes(line + b"\n" + config.read_bytes())
    refused(lslm("resume", config.parent), 1, "config.yaml", words)


TRAINER_CLASSES = {
    "early stopping": callback(f"{CALLBACKS}.EarlyStopping", **MONITOR, patience=3, mode="min"),
    "by the module of its class": callback(f"{CALLBACKS}.early_stopping.EarlyStopping", **MONITOR),
    "a monitor": callback(f"{CALLBACKS}.LearningRateMonitor", logging_interval="step"),
    "a bar": callback(f"{CALLBACKS}.TQDMProgressBar", refresh_rate=10),
    "what is left at its default": callback(f"{CALLBACKS}.RichProgressBar", theme=None, leave=True),
    "a timer": callback(f"{CALLBACKS}.Timer", duration={"hours": 1}),
    "a strategy": trainer(
        strategy={"class_path": "lslm_lightning.training.distributed.fsdp.ShardedStrategy"}
    ),
    "ddp": trainer(
        strategy={
            "class_path": f"{LIGHTNING}.strategies.DDPStrategy",
            "init_args": {"static_graph": True},
        }
    ),
    "a torchmetric": callback("torchmetrics.text.WordErrorRate"),
}


@pytest.mark.parametrize("name", TRAINER_CLASSES)
def test_harmless_classes_need_no_flag(name: str, translation: Path) -> None:
    config = yaml.safe_load(translation.read_text())
    TRAINER_CLASSES[name](config)
    with only_trusted(training=True):
        check_trust(config)
    with pytest.raises(ValueError, match="--trust"):
        check_trust(config)  # of a model that only answers


MINE = """
from pathlib import Path
from lightning.pytorch import Callback

class Stop(Callback):
    def on_train_batch_start(self, trainer, *args):
        Path("steps").open("a").write(f"{trainer.global_step} ")
        if trainer.global_step == 2 and not Path("stopped").exists():
            Path("stopped").touch()
            raise KeyboardInterrupt
"""


def test_the_users_own_run_needs_no_flag_until_its_config_is_changed(
    lslm, translation: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "mine.py").write_text(MINE)
    installed = [path for path in sys.path if path not in ("", os.getcwd())]

    def command(*words: object):
        sys.modules.pop("mine", None)
        monkeypatch.setattr(sys, "path", list(installed))
        HAPPENED.clear()
        return lslm(*words)

    command("fit", "--config", translation, "--trainer.callbacks+=mine.Stop")
    [run] = Path("runs/translation").iterdir()
    copy = Path(shutil.copytree(run, project / "copy"))
    config = copy / "config.yaml"
    config.write_text(config.read_text().replace("max_steps: 4", "max_steps: 5"))
    refused(command("resume", copy), 1, "mine.Stop", "--trust")
    assert not HAPPENED
    outcome = command("resume", run)
    assert outcome.status == 0, outcome.err
    assert Path("steps").read_text().split() == ["0", "1", "2", "2", "3"]
    outcome = command("resume", copy, "--trust")
    assert outcome.status == 0, outcome.err
    assert json.loads((copy / "mlflow.json").read_text())["status"] == "FINISHED"
    sys.modules.pop("mine")
