"""Files of foreign weights that ask for more than they hold, or for something else."""

from pathlib import Path

import pytest
import torch
import transformers

from lslm_lightning.interchange.foreign_weights import read_pickled
from lslm_lightning.interchange.hugging_face import imported_model
from lslm_lightning.interchange.weights import constant


def test_a_tensor_that_repeats_its_bytes_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "pytorch_model.bin"
    torch.save({"one": torch.ones(3, 4).T, "same": torch.ones(12)[:4]}, file)
    assert {name: w.numel() for name, w in read_pickled(file).items()} == {"one": 12, "same": 4}
    torch.save({"bomb": torch.ones(1).expand(10**6, 10**6)}, file)
    assert file.stat().st_size < 10_000
    with pytest.raises(ValueError, match=r"'bomb' has 4,000,000,000,000 bytes, of which 4 are"):
        read_pickled(file)


def test_a_table_of_another_shape_is_refused_before_ours_is_computed() -> None:
    row = constant("table", (10**9, 4), lambda: pytest.fail("was computed"), 1e-6)
    with pytest.raises(ValueError, match=r"its weight table is \(2, 4\) and must be"):
        row.inward([torch.zeros(2, 4)])


@pytest.mark.parametrize("value", [1e-3, float("nan")])
def test_a_table_with_other_values_is_refused(value: float) -> None:
    row = constant("table", (2, 4), lambda: torch.zeros(2, 4), 1e-6)
    assert row.inward([torch.zeros(2, 4)]) == []
    with pytest.raises(ValueError, match="another table"):
        row.inward([torch.full((2, 4), value)])


def test_weights_that_do_not_fit_their_config_are_refused() -> None:
    config = transformers.GPT2Config(vocab_size=8, n_embd=4, n_head=2, n_layer=1)
    weights = {"transformer.wte.weight": torch.zeros(9, 4)}
    with pytest.raises(ValueError, match=r"do not fit its config\.json .*wte\.weight"):
        imported_model(config, weights, None, None, torch.float32, None)  # type: ignore[arg-type]
