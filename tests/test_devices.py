"""Devices on which a trained model is used."""

import pytest
import torch

from lslm_lightning.devices import usable_device


def test_a_device_is_one_of_this_machine() -> None:
    assert usable_device("cpu") == "cpu"
    assert usable_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "", "cpu:x"])
def test_another_device_is_refused_by_name(device: str) -> None:
    with pytest.raises(ValueError, match=f"device={device} cannot be used here") as error:
        usable_device(device)
    assert "\n" not in str(error.value)
