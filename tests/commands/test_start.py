"""Training that starts from the weights of a run."""

from pathlib import Path

import pytest
import yaml

from lslm_lightning.runs import load_run
from tests.commands.compared_runs import config_of
from tests.commands.conftest import refused
from tests.commands.test_adapters import LORA, adapted, base, same
from tests.commands.test_resume import only

__all__ = ["base"]
pytestmark = pytest.mark.slow
QUICK = ("--trainer.max_steps=2", "--trainer.val_check_interval=2", "--job.name=next")
STILL = ("--model.optimizer=torch.optim.SGD", "--model.optimizer.lr=0")


def report_of(run: Path) -> str:
    return (run / "report" / "report.md").read_text("utf-8")


def test_training_starts_from_the_weights_of_a_run(base, lslm, translation, project):
    path = config_of("windows", translation)
    outcome = lslm("run", "--config", path, *QUICK, *STILL, f"--job.start={base}")
    assert outcome.status == 0, outcome.err
    same(load_run(only("next-*")).task.state_dict(), load_run(base).task.state_dict())
    start = only("next-*") / "config.yaml"
    assert yaml.safe_load(start.read_text())["job"]["start"] == str(base.resolve())
    shown = str(base.resolve().relative_to(project))
    assert f"- Weights to start from: `{shown}`" in report_of(only("next-*"))
    base.rename(project / "elsewhere")
    more = ("--trainer.max_steps=4", "--model.optimizer.lr=0.1")
    outcome = lslm("resume", only("next-*"), *more)
    assert outcome.status == 0, outcome.err
    assert shown in report_of(only("next-*"))
    outcome = lslm("resume", only("next-*"), f"--job.start={project}")
    refused(outcome, 1, "job.start=", "own weights")


@pytest.mark.parametrize("command", ["run", "plan"])
@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--model.backbone.d_model=32"], "does not fit the model"),
        (["--model.backbone.n_head=4"], "self_attention.n_head is 2"),
        (
            ["--model.backbone.feed_forward=lslm_lightning.models.feed_forward.ReLU"],
            "feed_forward is GELU, and that of this model ReLU",
        ),
        (["--data.tokenizer=lslm_lightning.text.recipes.Bytes"], "another tokenizer"),
        (["--job.start=nowhere"], "nowhere cannot be started from"),
    ],
)
def test_a_run_that_does_not_fit_is_refused(command, options, told, base, lslm, translation):
    path = config_of("windows", translation)
    outcome = lslm(command, "--config", path, *QUICK, f"--job.start={base}", *options)
    refused(outcome, 1, told)


def test_a_training_that_starts_from_a_run_is_planned(base, lslm, translation):
    path = config_of("windows", translation)
    outcome = lslm("plan", "--config", path, *QUICK, f"--job.start={base}")
    assert outcome.status == 0, outcome.err


def test_an_adapter_has_a_base_instead(base, lslm, translation):
    path = adapted(config_of("windows", translation), LORA, base=str(base))
    outcome = lslm("run", "--config", path, *QUICK, f"--job.start={base}")
    refused(outcome, 1, "name the run as model.adapter.base")
