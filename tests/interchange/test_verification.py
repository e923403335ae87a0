"""Comparison of a model of another library with ours."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lslm_lightning.interchange.verification import BUILT_IN, OtherModel, compare, our_model
from tests.interchange.models import CAUSAL, build_task


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_logits_that_are_no_numbers_are_refused(value: float) -> None:
    task = build_task(CAUSAL)
    same = our_model(task)
    assert compare(task, same, BUILT_IN).worst == 0

    def damaged(source: Tensor, target: Tensor) -> Tensor:
        logits = same.logits(source, target).clone()
        logits[0, -1, -1] = value  # at the last position alone
        return logits

    other: OtherModel = replace(same, logits=damaged)
    with pytest.raises(ValueError, match="its logits are infinite or NaN"):
        compare(task, other, BUILT_IN)


def test_damaged_weights_of_the_run_are_refused() -> None:
    task = build_task(CAUSAL)
    with torch.no_grad():
        task.embedding.weight[0] = float("nan")
    with pytest.raises(ValueError, match="the run are infinite or NaN"):
        compare(task, our_model(task), BUILT_IN)
