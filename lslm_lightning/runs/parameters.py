"""Parameters of a model that is built for a checkpoint: no more of them than the checkpoint can have."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.nn import Module, Parameter

SLACK = 10_000_000  # parameters that any checkpoint may have
PER_BYTE = 4  # parameters a byte of the checkpoint: 16 times what float32 needs


@contextmanager
def bounded_parameters(checkpoint: Path) -> Iterator[None]:
    """Refuse modules that are built inside with far more parameters than a checkpoint has bytes.

    They are counted as they are registered, before memory is written to.

    Raises:
        ValueError: there are too many, or no memory for a tensor, or torch cannot make it.
    """
    from torch.nn.modules.module import register_module_parameter_registration_hook

    files = checkpoint.rglob("*") if checkpoint.is_dir() else [checkpoint]
    n_byte = sum(file.stat().st_size for file in files if file.is_file())
    limit, sizes = SLACK + PER_BYTE * n_byte, {}

    def count(module: "Module", name: str, parameter: "Parameter | None") -> None:
        if parameter is None or parameter.device.type == "meta":
            return
        sizes[id(parameter)] = parameter.numel()
        if sum(sizes.values()) > limit:
            raise TooManyError(f"a model of more than {limit:,} parameters")

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    except (RuntimeError, MemoryError, OverflowError, TypeError) as error:  # TypeError: 10**30
        reason = " ".join(str(error).split())[:200]
        words = f"config.yaml does not fit {checkpoint}, which has {n_byte:,} bytes"
        raise ValueError(f"{words}: {reason}") from None
    finally:
        handle.remove()


class TooManyError(RuntimeError):
    """A model has more parameters than its checkpoint can have."""
