"""Tests of a gate of which one failure is enough share the level."""

import pytest

from lslm_lightning.experiments.gate_file import gate_spec

SHARE = "- {contains: a, at_least: baseline, margin: 1}\n"


@pytest.mark.parametrize(("n_metric", "n_share"), [(1, 0), (2, 0), (0, 2), (2, 1)])
def test_regression_tests_share_the_level(tmp_path, n_metric, n_share):
    file = tmp_path / "gate.yaml"
    file.write_text(f"outputs:\n{SHARE * n_share}- {{json: true}}\n")
    metrics = [(f"metric-{i}", 1.0) for i in range(n_metric)]
    spec = gate_spec(metrics, "regression", 0.06, file)
    assert spec.level_of("regression") * (n_metric + n_share) == pytest.approx(0.06)
    assert gate_spec(metrics, None, 0.06, file).level_of("non-inferiority") == 0.06
