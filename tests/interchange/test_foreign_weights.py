"""Files of foreign weights that ask for more than they hold, or for something else."""

from pathlib import Path

import pytest
import torch

from lslm_lightning.interchange.foreign_model import TASKS, read_foreign
from lslm_lightning.interchange.foreign_weights import read_pickled, read_weights
from lslm_lightning.interchange.hugging_face import imported_model
from lslm_lightning.interchange.importing import built_task, in_float32, task_arguments
from lslm_lightning.interchange.verification import copy_to_compare
from lslm_lightning.interchange.weights import constant
from lslm_lightning.text.hugging_face import read_tokenizer
from tests.interchange.test_import import GPT2, LLAMA, their_folder


def test_tensors_that_repeat_their_bytes_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "pytorch_model.bin"
    torch.save({"one": torch.ones(3, 4).T, "same": torch.ones(12)[:4]}, file)
    assert {name: w.numel() for name, w in read_pickled(file).items()} == {"one": 12, "same": 4}
    torch.save({"bomb": torch.ones(1).expand(10**6, 10**6)}, file)
    assert file.stat().st_size < 10_000
    with pytest.raises(ValueError, match=r"'bomb' .* have 4,000,000,000,000 bytes, of which 4 are"):
        read_pickled(file)
    stored = torch.ones(1000)
    torch.save({f"part {i}": stored[i:] for i in range(900)}, file)
    with pytest.raises(ValueError, match=r"'part 1' .* have 7,996 bytes, of which 4,000 are"):
        read_pickled(file)


def test_a_tensor_of_two_names_is_read_once(tmp_path: Path) -> None:
    shared = torch.randn(5, 3)
    torch.save({"one": shared, "two": shared, "half": shared[1:]}, tmp_path / "fails.bin")
    with pytest.raises(ValueError, match="tensors that share its bytes"):
        read_pickled(tmp_path / "fails.bin")
    torch.save({"one": shared, "two": shared}, tmp_path / "pytorch_model.bin")
    weights, _ = read_weights(str(tmp_path))
    assert weights["one"].data_ptr() == weights["two"].data_ptr()
    assert torch.equal(weights["one"], shared.double())


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


def test_weights_of_another_shape_than_their_config_states_are_refused(tmp_path: Path) -> None:
    foreign = read_foreign(str(their_folder(tmp_path / "theirs", "gpt2", **GPT2)), None)
    foreign.weights["transformer.wte.weight"] = torch.zeros(9, 4)
    with pytest.raises(ValueError, match=r"wte\.weight is \(9, 4\), and its config\.json states"):
        imported_model(foreign, read_tokenizer(foreign.source))


@pytest.mark.parametrize(("model_type", "settings"), [("llama", LLAMA), ("gpt2", GPT2)])
def test_both_models_of_a_comparison_share_the_weights_that_were_read(
    model_type: str, settings: dict[str, object], tmp_path: Path
) -> None:
    foreign = read_foreign(str(their_folder(tmp_path / "theirs", model_type, **settings)), None)
    read = {weight.untyped_storage().data_ptr() for weight in foreign.weights.values()}
    spec = {"class_path": TASKS[foreign.task], "init_args": task_arguments(foreign)}
    built = built_task(foreign, spec)
    copied = {
        name
        for name, weight in copy_to_compare(built, torch.float64).named_parameters()
        if weight.untyped_storage().data_ptr() not in read
    }
    assert copied <= {"embedding.weight", "head.weight", "head.bias"}, "rows that were added"
    before = {name: weight.float() for name, weight in built.state_dict().items()}
    in_float32(built)
    for name, weight in built.state_dict().items():
        assert weight.is_contiguous()
        assert weight.untyped_storage().nbytes() == 4 * weight.numel()
        assert torch.equal(weight, before[name])
