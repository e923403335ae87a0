"""Private names of Lightning and jsonargparse that the parser depends on exist."""

from importlib.metadata import version

import pytest

from lslm_lightning.configuration.lightning_cli_internals import (
    PRIVATE,
    SEEN,
    chosen_devices,
)


@pytest.mark.parametrize("kind", PRIVATE, ids=lambda kind: kind.__name__)
def test_private_names_exist(kind: type) -> None:
    for name in PRIVATE[kind]:
        assert hasattr(kind, name) or name in kind.__init__.__code__.co_names, (
            f"{kind.__name__}.{name}, last seen in {SEEN}, now {', '.join(map(version, SEEN))}"
        )


def test_one_process_of_a_cpu_is_one_device() -> None:
    found = chosen_devices("cpu", 1, 1)
    assert (found.device.type, found.n_device) == ("cpu", 1)
    assert chosen_devices("cpu", 3, 1).n_device == 3
    assert chosen_devices("cpu", 2, 2, "ddp").n_device == 2
