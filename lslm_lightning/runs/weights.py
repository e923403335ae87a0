"""Reading of the weights of a checkpoint, and checks that they fit a model."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lslm_lightning.renamed import renamed_weights
from lslm_lightning.runs.states import read_shapes, read_state
from lslm_lightning.types import StateDict

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule
    from torch import Size, Tensor, nn

    from lslm_lightning.text.tokenizer import Tokenizer


def load_weights(
    task: "LightningModule", path: Path, tokenizer: "Tokenizer", have_values: bool = True
) -> None:
    """Load the weights of a checkpoint into `task`.

    Args:
        tokenizer: tokenizer of the run, which must be the one of the checkpoint.
        have_values: False to read no values, and to check only that the weights fit.

    Raises:
        ValueError: the file is not a checkpoint, files beside it are missing, it contains more than
            data, or it belongs to another model or vocabulary.
    """
    saved = read_checkpoint(path, have_values)
    weights = fitting_weights(task, saved, path, tokenizer)
    if have_values:
        task.load_state_dict(weights)
    load_files(task, saved, path)


def read_checkpoint(path: Path, have_values: bool = True) -> StateDict:
    """Return the contents of a checkpoint on the CPU; see `read_state`.

    Args:
        have_values: False for tensors without values; see `read_shapes`.

    Raises:
        ValueError: the file is not a checkpoint, or contains more than data.
    """
    with plain_weights(path):
        saved = read_state(path) if have_values else read_shapes(path)
        check_tensors(saved["state_dict"], have_values)
    return saved


@contextmanager
def plain_weights(path: Path) -> Iterator[None]:
    """Convert any error of reading a checkpoint inside the context to a ValueError that names its
    path.
    """
    try:
        yield
    except Exception as error:
        raise ValueError(
            f"{path} is not a checkpoint of plain weights: {one_line(error)[:200]}"
        ) from None


def fitting_weights(
    task: "nn.Module", saved: StateDict, path: Path, tokenizer: "Tokenizer"
) -> "dict[str, Tensor]":
    """Return the weights of a checkpoint under their current names, after checking that `task` has
    the same ones, unless its `strict_loading` is False.

    Args:
        saved: contents of the checkpoint.
        path: path of the checkpoint, for messages.
        tokenizer: tokenizer of the run, which must be the one of the checkpoint.

    Raises:
        ValueError: the checkpoint belongs to another model or vocabulary.
    """
    weights = renamed_weights(saved["state_dict"])
    if not getattr(task, "strict_loading", True):  # Lightning's way to load some of the weights
        return weights
    built = task.state_dict()
    wrong = {
        name: (weights[name].shape, built[name].shape)
        for name in built
        if name in weights and weights[name].shape != built[name].shape
    }
    if wrong:
        raise ValueError(f"{path} does not fit the model: {explain(wrong, tokenizer.vocab_size)}")
    if different := sorted(built.keys() ^ weights.keys()):
        owner = "the model" if different[0] in built else "the checkpoint"
        raise ValueError(
            f"{path} does not fit the model: only {owner} has {different[0]}; the code or the "
            "config has changed since; use the code that trained the run"
        )
    if saved.get("tokenizer_digest", tokenizer.digest) != tokenizer.digest:
        raise ValueError(
            f"{path} was trained with another tokenizer.json, of the same size: restore "
            "the run's own"
        )
    return weights


def load_files(task: "LightningModule", saved: StateDict, path: Path) -> None:
    """Load the part of the model that is stored in files beside the checkpoint.

    Args:
        saved: contents of the checkpoint.
        path: path of the checkpoint.

    Raises:
        ValueError: a file is missing or damaged, or the checkpoint belongs to another model.
    """
    try:
        task.model_info.load_files(saved, path.parent)  # type: ignore[union-attr, operator]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} does not fit the model: {type(error).__name__}: {one_line(error)}"
        ) from None


def check_tensors(weights: object, have_values: bool = True) -> None:
    """Raise ValueError unless `weights` maps names to ordinary dense tensors.

    Args:
        have_values: False for tensors that were read without their values.
    """
    from torch import Tensor, strided

    if not isinstance(weights, Mapping):
        raise ValueError(f"its state_dict is a {type(weights).__name__}")
    for name, value in weights.items():
        if not isinstance(value, Tensor) or not isinstance(name, str):
            raise ValueError(
                f"{name!r} of its state_dict is a {type(value).__name__}, not a tensor"
            )
        if value.layout != strided or (have_values and value.is_meta) or value.is_quantized:
            raise ValueError(
                f"{name!r} of its state_dict is not a dense tensor: it is sparse, quantized or "
                "without values"
            )


def explain(wrong: "dict[str, tuple[Size, Size]]", vocab_size: int) -> str:
    """Return a message about a weight whose shape differs between checkpoint and model.

    It states whether the size of the vocabulary is the reason.

    Args:
        wrong: shapes in the checkpoint and in the model, by name of the weight.
        vocab_size: size of the vocabulary of the run's tokenizer.
    """
    name, (saved, own) = next(iter(wrong.items()))
    text = f"{name} is {tuple(saved)} in the checkpoint and {tuple(own)} in the model"
    if all(
        here == vocab_size
        for saved, own in wrong.values()
        for there, here in zip(saved, own)
        if there != here
    ):
        text += (
            f"; tokenizer.json has {vocab_size} entries, so it is not the one that this "
            "model was trained with"
        )
    return text


def one_line(error: BaseException) -> str:
    """Return the message of an error on one line."""
    return " ".join(str(error).split())
