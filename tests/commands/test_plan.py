"""`lslm plan`: a training on paper."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from lslm_lightning.planning.devices import DEVICES
from lslm_lightning.planning.estimate import estimates, planned
from tests.commands.conftest import refused

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def plan():
    """Plan of a language model that is large enough for the strategies to differ."""
    sizes = {"d_model": 1024, "d_feedforward": 4096, "n_head": 8, "n_decoder_layer": 8}
    words = [
        "--config",
        str(ROOT / "configs/language_modeling/docstrings_demo.yaml"),
        "--data.batch_size=8",
        "--trainer.max_steps=1000",
    ]
    return planned(
        [*words, *(f"--model.backbone.{name}={value}" for name, value in sizes.items())],
        vocab_size=32_000,
    )


def by_strategy(plan, n=8, n_node=1, device=DEVICES["h100"]):
    return {found.strategy: found for found in estimates(plan, device, n, n_node)}


@pytest.mark.slow
def test_a_part_of_the_states_lies_on_each_device(plan):
    found = by_strategy(plan)
    assert list(found) == ["one device", "ddp", "fsdp", "fsdp_tp"]
    n_parameter = plan.footprint(usual=True).n_parameter
    weights, _, optimizer, _ = found["one device"].memory
    assert weights == 4 * n_parameter
    assert optimizer == pytest.approx(8 * n_parameter, rel=1e-3)
    assert found["ddp"].memory[0] == weights
    assert found["fsdp"].memory[0] == pytest.approx(weights / 8)
    assert found["fsdp"].memory[2] == pytest.approx(optimizer / 8, rel=1e-3)
    assert found["fsdp_tp"].memory[3] < found["fsdp"].memory[3], (
        "layers split in two have smaller insides"
    )
    assert found["fsdp"].total < found["one device"].total < found["ddp"].total


@pytest.mark.slow
def test_more_and_better_devices_are_faster_but_not_for_nothing(plan):
    found = by_strategy(plan)
    far = by_strategy(plan, n_node=2)
    one = found["one device"].tokens_per_second
    for strategy in ("ddp", "fsdp"):
        assert 4 * one < found[strategy].tokens_per_second < 12 * one
        assert far[strategy].tokens_per_second <= 2 * found[strategy].tokens_per_second
    slow = replace(DEVICES["h100"], link=1.0)
    assert (
        by_strategy(plan, device=slow)["ddp"].tokens_per_second
        < 0.5 * found["ddp"].tokens_per_second
    )
    assert by_strategy(plan, device=DEVICES["t4"])["one device"].tokens_per_second < one / 10


@pytest.mark.slow
def test_it_prints_a_line_for_each_strategy_and_trains_nothing(lslm, translation, project):
    outcome = lslm(
        "plan", "--config", translation, "--device", "cpu,h20", "--devices", 4, "--price", 2
    )
    assert outcome.status == 0, outcome.err
    lines = [
        line.split() for line in outcome.out.splitlines() if line.startswith("  ") and line.strip()
    ]
    assert [line[0] for line in lines] == ["one", "one", "ddp", "fsdp", "fsdp_tp"]
    n_parameter = int(re.match(r"([\d,]+) parameters", outcome.out)[1].replace(",", ""))
    assert n_parameter > 1000
    assert not (project / "runs").exists()


@pytest.mark.slow
def test_recurrent_networks_are_planned_without_tensor_parallelism():
    """Translation, with a bidirectional encoder and attention; a language model over contiguous
    rows.
    """
    lstm = [
        "--model.backbone=lslm_lightning.models.recurrent.LSTM",
        "--model.backbone.d_model=256",
        "--model.backbone.n_decoder_layer=1",
    ]
    pairs = [
        "--config",
        str(ROOT / "configs/translation/cldr_demo.yaml"),
        *lstm,
        "--model.backbone.n_encoder_layer=1",
        "--trainer.max_steps=1000",
        "--model.max_source_length=4",
        "--model.max_length=4",
    ]
    rows = [
        *lstm,
        "--model.backbone.n_encoder_layer=0",
        "--model.context=4",
        "--data.contiguous=true",
    ]
    for given in (
        pairs,
        ["--config", str(ROOT / "configs/language_modeling/docstrings_demo.yaml"), *rows],
    ):
        plan = planned(given, vocab_size=8000)
        assert list(by_strategy(plan)) == ["one device", "ddp", "fsdp"]
        found = plan.footprint(usual=True)
        assert 0.5 < found.flops / (found.n_token * 6 * found.n_parameter) < 1.5, (
            "the rule of thumb"
        )


@pytest.mark.slow
def test_a_model_that_does_not_fit_is_said(lslm):
    huge = ("--model.backbone.d_model=32768", "--model.backbone.n_head=16")
    config = "configs/language_modeling/docstrings_demo.yaml"
    outcome = lslm(
        "plan",
        "--config",
        ROOT / config,
        "--vocab-size",
        50_000,
        "--device",
        "l4",
        "--tokens",
        "1e9",
        *huge,
    )
    assert outcome.status == 0, outcome.err
    assert "too much" in outcome.out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--device", "h1000"], 1, "--device=h1000 is not known; there are cpu, t4"),
        (["--devices", "0"], 1, "--devices=0 must be more than 0"),
        (["--price", "-1"], 1, "--price=-1.0 must be more than 0"),
        (["--model.backbone.n_head", "7"], 1, "n_head=7 must divide d_model=16"),
        (["--model.backbone.d_modle", "7"], 2, "d_modle"),
        (["--data.corpus", "nowhere"], 1, "nowhere"),
        (["--data.target_language", "german"], 1, "lslm: target_language: language='german' must"),
    ],
)
def test_what_cannot_be_planned_is_one_line(words, status, said, lslm, translation):
    refused(lslm("plan", "--config", translation, *words), status, said)


@pytest.mark.slow
def test_a_config_that_is_not_there(lslm):
    refused(lslm("plan", "--config", "nowhere.yaml"), 2, "config nowhere.yaml does not exist")


@pytest.mark.parametrize(
    ("limit", "n_batch"), [("limit_train_batches=2", 6), ("overfit_batches=1", 3)]
)
def test_a_limit_of_batches_counts_in_the_length(limit, n_batch, translation):
    words = [
        "--config",
        str(translation),
        "--trainer.max_steps=-1",
        "--trainer.max_epochs=3",
        f"--trainer.{limit}",
    ]
    assert planned(words, None).n_batch == n_batch
