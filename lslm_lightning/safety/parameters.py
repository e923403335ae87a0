"""Limits on the number of parameters of a model that is built before its weights are loaded."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lslm_lightning.safety.limits import SETTING, is_chosen, max_unpacked

if TYPE_CHECKING:
    from torch.nn import Module, Parameter

# parameters, and tensors of them, that any model may have
SLACK = 10_000_000
SLACK_TENSORS = 1_000
PER_BYTE = 4  # parameters a byte of the weights: 16 times what float32 needs
PER_TENSOR = 8  # tensors a tensor of the weights, which may hold several of the model's
# bytes
FLOAT32 = 4
SMALLEST_LAYER = 1_024
ADVICE = f"if you trust it, set {SETTING} to a number of bytes that is enough"


class Bounds(NamedTuple):
    """Largest number of parameters, tensors and layers of a model; None for no limit."""

    n_parameter: int | None = None
    n_tensor: int | None = None
    n_layer: int | None = None


def bounds_for(n_byte: int, n_tensor: int) -> Bounds:
    """Return the limits for a model whose weights have `n_byte` bytes in `n_tensor` tensors. If
    `$LSLM_MAX_UNPACKED_BYTES` is set, it determines the limits instead.
    """
    if is_chosen():
        n_byte = max_unpacked(0)
        return Bounds(n_byte // FLOAT32, n_byte // SMALLEST_LAYER, n_byte // SMALLEST_LAYER)
    return Bounds(
        SLACK + PER_BYTE * n_byte, SLACK_TENSORS + PER_TENSOR * n_tensor, SLACK_TENSORS + n_tensor
    )


def bounds_of_folder(folder: Path) -> Bounds:
    """Return the limits for a model whose weights are the safetensors files of a folder. A damaged
    file counts as a file without tensors.
    """
    n_byte = n_tensor = 0
    for path in folder.glob("*.safetensors"):
        if path.is_file():
            n_byte += path.stat().st_size
            n_tensor += tensors_in(path)
    return bounds_for(n_byte, n_tensor)


def tensors_in(path: Path) -> int:
    """Return the number of tensors that the header of a safetensors file lists; 0 if the file is
    damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            return len(file.keys())
    except (SafetensorError, OSError):
        return 0


@contextmanager
def bounded_parameters(bounds: Bounds, name: str, counts_meta: bool = False) -> Iterator[None]:
    """Refuse to build modules inside this context that exceed `bounds`.

    Parameters are counted when a module registers them, before their memory is written to.

    Args:
        name: beginning of error messages, which names the config and the weights that do not fit.
        counts_meta: also count parameters on the meta device, which get memory later.

    Raises:
        ValueError: there are too many parameters, memory is short, or torch cannot create a tensor.
    """
    from torch.nn.modules.module import register_module_parameter_registration_hook

    # by module and name: one that replaces another counts once
    sizes: dict[tuple[int, str], int] = {}
    total = 0

    def count(module: "Module", name: str, parameter: "Parameter | None") -> None:
        nonlocal total
        if parameter is None or (parameter.device.type == "meta" and not counts_meta):
            return
        total += parameter.numel() - sizes.get((id(module), name), 0)
        sizes[id(module), name] = parameter.numel()
        if bounds.n_parameter is not None and total > bounds.n_parameter:
            raise TooManyError(f"a model of more than {bounds.n_parameter:,} parameters; {ADVICE}")
        if bounds.n_tensor is not None and len(sizes) > bounds.n_tensor:
            raise TooManyError(
                f"a model of more than {bounds.n_tensor:,} weights and biases; {ADVICE}"
            )

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    except (RuntimeError, MemoryError, OverflowError, TypeError) as error:  # TypeError: 10**30
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"{name}: {reason}") from None
    finally:
        handle.remove()


@contextmanager
def without_memory() -> Iterator[None]:
    """Build modules inside this context with parameters on the meta device, which take no memory;
    buffers are built as usual. The parameters must be assigned before use.
    """
    from torch.nn import Parameter
    from torch.nn.modules.module import register_module_parameter_registration_hook

    def emptied(module: "Module", name: str, parameter: "Parameter | None") -> "Parameter | None":
        if parameter is None:
            return None
        return Parameter(parameter.to("meta"), parameter.requires_grad)

    # torch registers what the hook returns
    handle = register_module_parameter_registration_hook(emptied)  # type: ignore[arg-type]
    try:
        yield
    finally:
        handle.remove()


class TooManyError(RuntimeError):
    """Error: a model has more parameters than fit its weights."""
