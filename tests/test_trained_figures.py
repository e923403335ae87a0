"""Laws of the records of trained models, which figures of the site are drawn from."""

import json
from pathlib import Path

import numpy as np
import pytest

from docs.generate.trained_figures import FIELDS, FOLDER, FORMAT, TRAINED, read_record


def test_recorded_attention_is_attention() -> None:
    record = {name: np.array(each) for name, each in read_record("attention").items()}
    exponentials = np.exp(record["scores"])
    weights = exponentials / exponentials.sum(1, keepdims=True)
    assert np.abs(weights - record["weights"]).max() < 2e-3  # scores up to 25, of four decimals
    assert np.abs(record["weights"] @ record["values"] - record["outputs"]).max() < 1e-3
    assert (record["source"][::-1] == record["target"]).all()


def test_recorded_curves_fall_below_where_they_began() -> None:
    record = read_record("curves")
    assert record["curves"].keys() == record["parameters"].keys()
    for points in record["curves"].values():
        steps, losses = zip(*points, strict=True)
        assert sorted(steps) == list(steps)
        assert losses[-1] <= losses[0]


@pytest.mark.parametrize("name", FIELDS)
def test_a_record_of_another_format_is_refused(name: str, tmp_path: Path) -> None:
    record = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    file = tmp_path / f"{name}.json"
    for wrong in (record | {"format": FORMAT - 1}, {"format": FORMAT}):
        file.write_text(json.dumps(wrong), "utf-8")
        with pytest.raises(ValueError, match=f"docs.record {name}"):
            read_record(name, tmp_path)
    file.unlink()
    with pytest.raises(ValueError, match=f"docs.record {name}"):
        read_record(name, tmp_path)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_figures_are_in_the_language_of_the_page(
    language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LSLM_LANG", language)
    drawn = "".join(draw() for draw in TRAINED.values())
    assert ("训练" in drawn) == (language == "zh")
    assert ("training" in drawn) == (language == "en")
