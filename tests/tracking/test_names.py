"""What MLflow is given, it takes: judged by MLflow's own validation."""

from argparse import Namespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name, _validate_param_name

from lslm_lightning.tracking.names import flatten, mlflow_name, short


@given(st.text(min_size=1, max_size=40))
def test_every_text_becomes_a_name_that_mlflow_takes(text: str) -> None:
    _validate_metric_name(mlflow_name(text))
    _validate_param_name(mlflow_name(text))


@pytest.mark.parametrize(
    "name",
    [
        "val/bleu",
        "lr-AdamW/pg1",
        "model.init_args.d_model",
        "system/gpu_0_utilization_percentage",
        "困惑度",
    ],
)
def test_good_names_stay(name: str) -> None:
    assert mlflow_name(name) == name


def test_long_values_become_their_hash_and_others_stay() -> None:
    assert short("x" * 6000) == "x" * 6000
    assert short("x" * 6001).startswith("sha256:")
    assert short("x" * 6001) != short("x" * 6002)


def test_a_configuration_becomes_dotted_names() -> None:
    model = Namespace(n=1, norm={"class_path": "a.B"})
    config = {
        "model": model,
        "betas": [0.9, 0.95],
        "callbacks": [{"class_path": "c.D"}],
        "none": None,
        "e": {},
    }
    assert dict(flatten(config)) == {
        "model.n": 1,
        "model.norm.class_path": "a.B",
        "betas": [0.9, 0.95],
        "callbacks.0.class_path": "c.D",
        "none": None,
        "e": {},
    }
