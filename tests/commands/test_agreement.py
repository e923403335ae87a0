"""Processes, seeds and variants train in the precision that one of them has measured."""

import threading
from types import SimpleNamespace

import pytest
import yaml
from torch.distributed import TCPStore

from lslm_lightning.commands.plan import precisions
from lslm_lightning.experiments.variant_runs import VariantRuns
from lslm_lightning.planning.devices import DEVICES
from lslm_lightning.planning.estimate import Plan
from lslm_lightning.training.distributed import launch as processes
from lslm_lightning.training.distributed.launch import agree_on_precision, check_agreement
from lslm_lightning.training.precision import AUTO, DECIDED, HALF, SINGLE

LAUNCHERS = (
    "WORLD_SIZE",
    "SLURM_NTASKS",
    "SLURM_JOB_NAME",
    "TORCHELASTIC_RUN_ID",
    "TORCHELASTIC_RESTART_COUNT",
    DECIDED,
)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No launcher has started this process, and nothing was decided; what a test decides is
    forgotten.
    """
    for name in LAUNCHERS:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return monkeypatch


def test_what_one_process_measures_those_that_it_starts_take_over(alone):
    assert agree_on_precision(0, lambda: HALF) == HALF
    assert agree_on_precision(1, lambda: pytest.fail("measured again")) == HALF


def test_an_environment_that_says_nonsense_is_refused(alone):
    alone.setenv(DECIDED, "fast")
    with pytest.raises(ValueError, match=f"{DECIDED}=fast must be {SINGLE} or {HALF}"):
        agree_on_precision(0, lambda: HALF)


def test_ranks_of_torchrun_ask_the_first(alone):
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    alone.setattr(processes.TorchElasticEnvironment, "detect", staticmethod(lambda: True))
    alone.setattr(
        processes, "_store", lambda attempt: TCPStore("127.0.0.1", store.port, is_master=False)
    )
    found = []
    ranks = [SINGLE, HALF, HALF]
    asked = threading.Thread(target=lambda: found.append(agree_on_precision(1, lambda: ranks[1])))
    asked.start()  # waits for the first
    found.append(agree_on_precision(0, lambda: ranks[0]))
    asked.join()
    assert found == [SINGLE, SINGLE]


@pytest.mark.parametrize(
    ("variables", "n_node", "is_refused"),
    [
        ({}, 1, False),
        ({"WORLD_SIZE": "1"}, 1, False),
        ({"WORLD_SIZE": "2"}, 1, True),
        ({"WORLD_SIZE": "2", DECIDED: HALF}, 1, False),
        ({}, 2, True),
        ({"SLURM_NTASKS": "4", "SLURM_JOB_NAME": "job"}, 1, True),
        ({"SLURM_NTASKS": "4", "SLURM_JOB_NAME": "job", DECIDED: SINGLE}, 1, False),
        ({"SLURM_NTASKS": "1", "SLURM_JOB_NAME": "job"}, 1, False),
        ({"WORLD_SIZE": "4", "TORCHELASTIC_RUN_ID": "x"}, 2, False),
    ],
)
def test_processes_that_cannot_agree_are_refused(alone, variables, n_node, is_refused):
    for name, value in variables.items():
        alone.setenv(name, value)
    alone.setattr(
        processes.TorchElasticEnvironment,
        "detect",
        staticmethod(lambda: "TORCHELASTIC_RUN_ID" in variables),
    )
    alone.setattr(
        processes.SLURMEnvironment, "detect", staticmethod(lambda: "SLURM_NTASKS" in variables)
    )
    if not is_refused:
        return check_agreement(n_node)
    with pytest.raises(
        ValueError, match=f"trainer.precision={AUTO} .* set trainer.precision to {HALF} or {SINGLE}"
    ):
        check_agreement(n_node)


@pytest.mark.parametrize(
    ("given", "begun", "decided"),
    [
        ([AUTO, AUTO], {}, None),
        ([AUTO, AUTO], {0: HALF}, HALF),
        ([AUTO, AUTO], {0: SINGLE, 1: SINGLE}, SINGLE),
        ([AUTO, AUTO], {1: HALF}, HALF),
        (["64-true", AUTO], {0: "64-true"}, None),
        ([None, AUTO], {0: SINGLE}, None),
    ],
)
def test_variants_train_as_the_first_that_was_begun(tmp_path, given, begun, decided):
    network = "tasks.language_modeling.task.LanguageModelingTask"
    configs = {
        str(i): {"trainer": {"precision": p}, "model": {"class_path": network}}
        for i, p in enumerate(given)
    }
    for i, precision in begun.items():
        (tmp_path / str(i)).mkdir()
        (tmp_path / str(i) / "config.yaml").write_text(
            yaml.safe_dump({"trainer": {"precision": precision}, "model": {"class_path": network}})
        )

    def directories(variant):
        return [path for path in [tmp_path / variant] if path.exists()]

    runs = SimpleNamespace(configs=configs, directories=directories)
    assert VariantRuns.decided_precision(runs) == decided


def test_counting_decides_for_no_network(tmp_path):
    ngram = {"class_path": "tasks.language_modeling.ngram.NgramTask"}
    (tmp_path / "config.yaml").write_text(
        yaml.safe_dump({"trainer": {"precision": SINGLE}, "model": ngram})
    )
    configs = {"n": {"trainer": {"precision": AUTO}, "model": ngram}}
    runs = SimpleNamespace(configs=configs, directories=lambda variant: [tmp_path])
    assert VariantRuns.decided_precision(runs) is None


def test_a_plan_says_what_each_device_computes_in():
    devices = [DEVICES["t4"], DEVICES["h100"]]
    decided = Plan(None, None, None, 1, AUTO, None)
    assert precisions(decided, devices) == "32-true on T4, bf16-mixed on H100 SXM"
    assert precisions(decided, devices[1:]) == HALF
    assert decided.decided_for(devices[1]).n_byte < decided.decided_for(devices[0]).n_byte
    assert precisions(Plan(None, None, None, 1, SINGLE, None), devices) == SINGLE
