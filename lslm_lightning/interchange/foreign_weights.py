"""Weights of a model of `transformers`, read as tensors alone."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from torch import Tensor

from lslm_lightning.runs.states import read_plain
from lslm_lightning.runs.weights import check_tensors
from lslm_lightning.safety.paths import is_inside
from lslm_lightning.text.hugging_face import file_of

SAFE = "model.safetensors"
PICKLED = "pytorch_model.bin"
OTHERS = re.compile(r"^(head\.|lm_head\.|final_logits_bias$|cls\.|qa_outputs\.)")


def read_weights(path: str) -> tuple[dict[str, Tensor], list[Path]]:
    """Return the weights of a model, and the files that they were read from.

    Weights in safetensors are preferred. Of a file of pickles, tensors alone are read, by a reader
    that runs no code.

    Args:
        path: a folder, or a hub id.

    Raises:
        ValueError: there are no weights, a file is missing or damaged, or holds more than tensors.
    """
    for name, read in ((SAFE, read_safe), (PICKLED, read_pickled)):
        files = list(weight_files(path, name))
        if not files:
            continue
        weights: dict[str, Tensor] = {}
        for file in files:
            weights |= read(file)
        return weights, files
    raise ValueError(
        f"{path} has no weights: neither {SAFE} nor {PICKLED}; save the model there with "
        "save_pretrained"
    )


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
        shards = sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
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


def read_safe(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file.

    Raises:
        ValueError: the file is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{file} is damaged or incomplete ({reason}); fetch it again") from None


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
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{file} is not a file of tensors alone ({reason}); save the model once more with "
            "save_pretrained, which writes safetensors"
        ) from None
    return dict(weights)


def check_storage(weights: Mapping[str, Tensor]) -> None:
    """Check that no tensor repeats the bytes that a file stores for it: a copy of one that does may
    take any amount of memory.

    Raises:
        ValueError: a tensor has more bytes than its storage.
    """
    for name, weight in weights.items():
        n_byte, n_stored = weight.numel() * weight.element_size(), weight.untyped_storage().nbytes()
        if n_byte > n_stored:
            raise ValueError(f"{name!r} has {n_byte:,} bytes, of which {n_stored:,} are stored")


def with_prefix(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return weights under the names that they have below the head of a model.

    Args:
        prefix: beginning of the names, which files of a model without a head lack.
    """
    if any(name.startswith(prefix) for name in weights):
        return dict(weights)
    return {name if OTHERS.match(name) else prefix + name: value for name, value in weights.items()}
