"""Architecture and hyperparameters of a run in a few lines."""

from pathlib import Path

import pytest
import yaml

from lslm_lightning.reports import Report, model_section, render_html, render_markdown
from lslm_lightning.reports.hyperparameters import LONGEST, hyperparameters

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*/*.yaml"))
CONFIG = yaml.safe_load("""
model:
  class_path: tasks.translation.task.TranslationTask
  init_args:
    backbone:
      class_path: lslm_lightning.models.transformer.Transformer
      init_args:
        d_model: 128
        n_kv_head: null
        dropout: 0.1
        norm: {class_path: torch.nn.LayerNorm, init_args: {eps: 1.0e-05}}
        activation_checkpointing: false
    head: lslm_lightning.models.heads.TiedHead
    optimizer:
      class_path: torch.optim.AdamW
      init_args: {lr: 0.003, betas: [0.9, 0.98], fused: true}
    schedule: null
    search: {class_path: lslm_lightning.decoding.Beam, init_args: {beam_size: 5}}
    label_smoothing: 0.1
data:
  class_path: tasks.translation.data.TranslationData
  init_args: {max_tokens: 1024, corpus: cldr}
trainer:
  max_steps: 60
  max_epochs: -1
  precision: bf16-mixed
  accumulate_grad_batches: 1
  strategy: auto
""")


def test_what_matters_is_told_and_what_is_off_is_not():
    assert hyperparameters(CONFIG) == {
        "Architecture": "Transformer: d_model 128, dropout 0.1, norm LayerNorm",
        "Optimizer": "AdamW: lr 0.003, betas (0.9, 0.98)",
        "Search": "Beam: beam_size 5",
        "Task settings": "head TiedHead, label_smoothing 0.1",
        "Training": "steps 60, precision bf16-mixed, max_tokens 1,024",
    }


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"model": None},
        {"model": {"class_path": "a.B"}},
        {"trainer": {}, "data": {"init_args": None}},
    ],
)
def test_a_config_that_says_little_has_few_lines(config):
    assert hyperparameters(config) == {}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_config_has_few_and_short_lines(path):
    config = yaml.safe_load(path.read_text("utf-8")) or {}
    lines = hyperparameters(config)
    assert len(lines) <= 7
    assert all(len(line) < 400 for line in lines.values())
    if "backbone" in ((config.get("model") or {}).get("init_args") or {}):
        assert lines["Architecture"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("torch.nn.GELU", "GELU"),
        ("v1.2", "v1.2"),
        ("2.10", "2.10"),
        ("corpus.txt", "corpus.txt"),
        ("数据.v2.txt", "数据.v2.txt"),
        ("org/model-1.5b", "org/model-1.5b"),
    ],
)
def test_only_classes_are_shortened(value, shown):
    backbone = {"class_path": "mine.net", "init_args": {"x": value}}
    assert (
        hyperparameters({"model": {"init_args": {"backbone": backbone}}})["Architecture"]
        == f"net: x {shown}"
    )


def test_of_many_settings_some_are_counted():
    backbone = {"class_path": "a.Net", "init_args": {f"x{i}": i + 1 for i in range(LONGEST + 3)}}
    line = hyperparameters({"model": {"init_args": {"backbone": backbone}}})["Architecture"]
    assert line.endswith(f"x{LONGEST - 1} {LONGEST}, and 3 more")


def test_the_page_has_them_as_text():
    report = Report("n", [model_section({"Architecture": "<b>Net: d_model 8"}, 1234)])
    assert model_section({}, None) is None
    for page in (render_html(report), render_markdown(report)):
        assert "Net: d\\_model 8" in page or "Net: d_model 8" in page
        assert "1,234" in page
        assert "<b>Net" not in page
