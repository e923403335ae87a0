"""Every config parses, says its own command, and builds its model."""

import re
from pathlib import Path

import pytest
import yaml

from lslm_lightning.__main__ import main
from lslm_lightning.experiments.variants import read_sweep
from lslm_lightning.runs.loading import build
from lslm_lightning.text.recipes import Bytes

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
EVERY = sorted(path.relative_to(ROOT) for path in (ROOT / "configs").glob("*/*.yaml"))
EXAMS = [path for path in EVERY if path.parent.name == "evaluate"]
TRAINERS = [path for path in EVERY if path.parent.name == "trainer"]
SWEEPS = [path for path in EVERY if "variants" in yaml.safe_load((ROOT / path).read_text("utf-8"))]
CONFIGS = [path for path in EVERY if path not in EXAMS + TRAINERS + SWEEPS]
REQUIRED = [
    "configs/language_modeling/tinyshakespeare_nanogpt_cpu.yaml",
    "configs/language_modeling/chinese_poetry_cpu.yaml",
    "configs/language_modeling/docstrings_demo.yaml",
    "configs/language_modeling/gpt2_finetune.yaml",
    "configs/translation/marian_finetune.yaml",
    "configs/translation/multi30k_en_de_cpu.yaml",
    "configs/translation/multi30k_en_de_gpu.yaml",
    "configs/translation/tatoeba_en_zh_cpu.yaml",
    "configs/translation/cldr_demo.yaml",
    "configs/summarization/aeslc_cpu.yaml",
    "configs/summarization/docstrings_cpu.yaml",
    "configs/summarization/docstrings_demo.yaml",
]


def test_names_others_rely_on():
    assert set(REQUIRED) <= {str(path) for path in CONFIGS}


@pytest.mark.parametrize("path", CONFIGS, ids=str)
def test_a_config_parses_and_opens_with_its_command(path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    first = path.read_text("utf-8").splitlines()[0]
    command = re.fullmatch(r"# lslm (\w+) --config (\S+)", first)
    assert command, f"{path} must open with the command that runs it"
    assert Path(command[2]) == path
    arguments = [command[1], "--config", str(path), "--print_config"]
    assert main(arguments) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["model"]["class_path"].startswith("tasks.")
    backbone = printed["model"]["init_args"].get("backbone", {"class_path": ""})
    # built from what the hub has
    if backbone["class_path"].startswith("lslm_lightning.pretrained."):
        assert (
            printed["data"]["init_args"]["tokenizer"]["init_args"]["path"]
            == backbone["init_args"]["path"]
        )
        return
    task = build(printed["model"], Bytes().train())
    assert task.one_pass or task.backbone.d_model >= 64
    assert task.one_pass or printed["job"]["minutes"] or printed["trainer"]["max_steps"] > 0


@pytest.mark.parametrize("path", EXAMS, ids=str)
def test_a_config_of_an_evaluation_parses_and_opens_with_its_command(path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert path.read_text("utf-8").splitlines()[0] == f"# lslm evaluate --config {path}"
    assert main(["evaluate", "--config", str(path), "--print_config"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert len(printed["systems"]) > 1
    assert printed["task"].startswith(f"tasks.{printed['data']['class_path'].split('.')[1]}.")


@pytest.mark.parametrize("path", SWEEPS, ids=str)
def test_every_variant_of_a_sweep_parses(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert path.read_text("utf-8").splitlines()[0] == f"# lslm sweep --config {path}"
    sweep = read_sweep(path)
    for variant in sweep.variants.values():
        files = {tmp_path / "base.yaml": sweep.base, tmp_path / "variant.yaml": variant.settings}
        for file, settings in files.items():
            file.write_text(yaml.safe_dump(dict(settings)), "utf-8")
        arguments = [
            "run",
            *(f"--config={file}" for file, settings in files.items() if settings),
            *variant.arguments,
            "--print_config",
        ]
        assert main(arguments) == 0, variant.name
        printed = yaml.safe_load(capsys.readouterr().out)
        assert printed["model"]["class_path"].split(".")[1] == path.parent.name
        assert build(printed["model"], Bytes().train())
        assert printed["job"]["minutes"] or printed["trainer"]["max_steps"] > 0


def test_every_task_has_a_config_of_an_evaluation():
    tasks = {
        yaml.safe_load((ROOT / path).read_text("utf-8"))["task"].split(".")[1] for path in EXAMS
    }
    assert tasks == {path.parent.name for path in CONFIGS}


@pytest.mark.parametrize("path", TRAINERS, ids=str)
def test_a_config_of_the_trainer_goes_with_any_other(path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    command = re.fullmatch(
        r"# lslm run --config (\S+) --config (\S+)", path.read_text("utf-8").splitlines()[0]
    )
    assert command, f"{path} must open with a command that uses it"
    assert Path(command[2]) == path
    for other in (command[1], "configs/language_modeling/docstrings_demo.yaml"):
        arguments = ["run", "--config", other, "--config", str(path), "--print_config"]
        assert main(arguments) == 0
        assert yaml.safe_load(capsys.readouterr().out)["trainer"]["strategy"]


def test_the_three_ways_to_spread_a_training():
    assert {path.stem for path in TRAINERS} == {"ddp", "fsdp", "fsdp_tp"}
