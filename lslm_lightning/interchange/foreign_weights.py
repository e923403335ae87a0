"""Weights of a model of `transformers`, read as tensors alone."""

import math
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lslm_lightning.interchange.verification import precision_for
from lslm_lightning.runs.states import read_plain
from lslm_lightning.runs.weights import check_tensors, one_line
from lslm_lightning.safety.paths import is_inside
from lslm_lightning.text.hugging_face import file_of
from lslm_lightning.text.json_texts import parse_json

if TYPE_CHECKING:
    from safetensors import safe_open

SAFE = "model.safetensors"
PICKLED = "pytorch_model.bin"
OTHERS = re.compile(
    r"^(head\.|lm_head\.|final_logits_bias$|cls\.|qa_outputs\.|classifier\.|discriminator_|"
    r"generator_)"
)


def read_weights(path: str) -> tuple[dict[str, Tensor], list[Path]]:
    """Return the weights of a model in the type in which it is compared (`precision_for`), and the
    files that they were read from.

    Weights in safetensors are preferred; they are read one at a time, so that memory holds them
    once. Of a file of pickles, tensors alone are read, by a reader that runs no code.

    Args:
        path: a folder, or a hub id.

    Raises:
        ValueError: there are no weights, a file is missing or damaged, or holds more than tensors.
    """
    if files := list(weight_files(path, SAFE)):
        shapes = [shape for file in files for shape in shapes_in(file)]
        dtype = precision_for(sum(map(math.prod, shapes)))
        return dict(pair for file in files for pair in read_safe(file, dtype)), files
    if files := list(weight_files(path, PICKLED)):
        weights = {name: weight for file in files for name, weight in read_pickled(file).items()}
        return converted(weights), files
    raise ValueError(
        f"{path} has no weights: neither {SAFE} nor {PICKLED}; save the model there with "
        "save_pretrained"
    )


def converted(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return weights in the type in which a model is compared; `weights` is empty afterwards.

    A tensor that is stored under several names is converted once.
    """
    dtype = precision_for(sum(weight.numel() for weight in weights.values()))
    done: dict[tuple[object, ...], Tensor] = {}
    found = {}
    for name in list(weights):
        weight = weights.pop(name)
        found[name] = done.setdefault(view_of(weight), weight.to(dtype))
    return found


def view_of(weight: Tensor) -> tuple[object, ...]:
    """Return what tells whether two tensors are the same part of the same storage."""
    storage = weight.untyped_storage().data_ptr()
    return storage, weight.storage_offset(), weight.shape, weight.stride(), weight.dtype


def weight_files(path: str, name: str) -> Iterator[Path]:
    """Yield the files with the weights of a model: one, or those that an index names.

    Args:
        name: name of the file if there is one.

    Raises:
        ValueError: the index is damaged, or a file that it names is missing.
    """
    if (file := file_of(path, name)) is not None:
        yield file
        return
    index = file_of(path, f"{name}.index.json")
    if index is None:
        return
    try:
        shards = sorted(set(parse_json(index.read_text("utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{index} is no index of weights ({type(error).__name__}); fetch it again"
        ) from None
    for shard in shards:
        if not isinstance(shard, str) or not is_inside(shard):
            raise ValueError(f"{index} names {shard!r}, which is not in its folder; fetch it again")
        if (file := file_of(path, shard)) is None:
            raise ValueError(f"{path} lacks {shard}, which {index.name} names; fetch it again")
        yield file


def read_safe(
    file: Path, dtype: torch.dtype, wanted: Collection[str] | None = None
) -> Iterator[tuple[str, Tensor]]:
    """Yield the names and the tensors of a safetensors file, converted to a type.

    The file is opened for each tensor: memory that maps it is given back before the next.

    Args:
        wanted: names to read, of which the file may lack some; None for all.

    Raises:
        ValueError: the file is damaged.
    """
    with opened(file) as whole:
        names = [name for name in whole.keys() if wanted is None or name in wanted]  # noqa: SIM118
    for name in names:
        with opened(file) as one:
            yield name, one.get_tensor(name).to(dtype)


def shapes_in(file: Path) -> list[list[int]]:
    """Return the shapes of the tensors of a safetensors file."""
    with opened(file) as whole:
        return [whole.get_slice(name).get_shape() for name in whole.keys()]  # noqa: SIM118


@contextmanager
def opened(file: Path) -> Iterator["safe_open"]:
    """Open a safetensors file.

    Raises:
        ValueError: the file is damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "pt") as found:
            yield found
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{file} is damaged or incomplete ({one_line(error)}); fetch it again"
        ) from None


def read_pickled(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a file that `torch.save` wrote.

    Raises:
        ValueError: the file is damaged, or holds more than tensors.
    """
    try:
        weights = read_plain(file, "cpu")
        check_tensors(weights)
        check_storage(weights)
    except Exception as error:
        reason = one_line(error)[:200]
        raise ValueError(
            f"{file} is not a file of tensors alone ({reason}); save the model once more with "
            "save_pretrained, which writes safetensors"
        ) from None
    return dict(weights)


def check_storage(weights: Mapping[str, Tensor]) -> None:
    """Check that no bytes of a file are read more than once, but under several names of one tensor:
    copies of tensors that share bytes may take any amount of memory.

    Raises:
        ValueError: the tensors of a storage have more bytes than it.
    """
    views = {view_of(weight): (name, weight) for name, weight in weights.items()}
    totals: Counter[object] = Counter()
    for (storage, *_), (name, weight) in views.items():
        totals[storage] += weight.numel() * weight.element_size()
        n_stored = weight.untyped_storage().nbytes()
        if totals[storage] > n_stored:
            raise ValueError(
                f"{name!r} and tensors that share its bytes have {totals[storage]:,} bytes, of "
                f"which {n_stored:,} are stored"
            )


def with_prefix(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return weights under the names that they have below the head of a model.

    Args:
        prefix: beginning of the names, which files of a model without a head lack.
    """
    if any(name.startswith(prefix) for name in weights):
        return dict(weights)
    return {name if OTHERS.match(name) else prefix + name: value for name, value in weights.items()}
