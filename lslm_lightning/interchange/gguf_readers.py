"""Readers of GGUF files: `transformers`, and llama.cpp where its Python package is installed."""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, redirect_stderr
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from lslm_lightning.extras import MissingPackageError
from lslm_lightning.interchange.gguf_files import FILE
from lslm_lightning.interchange.gguf_layout import gguf_layout
from lslm_lightning.interchange.hugging_face import other_model, up_to_end
from lslm_lightning.interchange.layouts.layout import SpecialIds
from lslm_lightning.interchange.parts import ModelParts
from lslm_lightning.interchange.verification import AnyTask, OtherModel
from lslm_lightning.systems.hugging_face_model import Loaded
from lslm_lightning.text.hugging_face import NO_CODE, import_quietly
from lslm_lightning.training.causal import CausalTask

if TYPE_CHECKING:
    from llama_cpp import Llama

NEEDED = ("gguf", "transformers", "accelerate")
UNREAD: Mapping[str, Sequence[str]] = {
    "llama": ("attention_bias", "mlp_bias"),
    "starcoder2": ("rope_parameters",),
}
"""Settings that `transformers` does not take from a file of a layout, though llama.cpp does."""


def check_installed() -> None:
    """Raise ValueError if a package that writes or verifies a file is not installed."""
    for package in NEEDED:
        if find_spec(package) is None:
            raise ValueError(MissingPackageError(package, "the format GGUF"))


def has_llama_cpp() -> bool:
    """Return whether the Python package of llama.cpp is installed, with its library."""
    try:
        import llama_cpp  # noqa: F401
    except (ImportError, OSError, RuntimeError):  # what it raises without its library
        return False
    return True


def read_by_transformers(
    folder: Path, parts: ModelParts, layout_name: str, ids: SpecialIds, dtype: torch.dtype
) -> OtherModel:
    """Return the model in a folder as `transformers` reads it, with its weights dequantized.

    Args:
        parts: parts of the model, for the settings that `transformers` does not read.
        layout_name: name of the layout.
        ids: ids of the special tokens.
        dtype: type in which the model computes.
    """
    import_quietly()
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    config = gguf_layout(parts, layout_name).config(parts, ids)
    given = {name: config[name] for name in UNREAD[layout_name]}
    options = {"gguf_file": FILE, "local_files_only": True, **NO_CODE}
    with redirect_stderr(io.StringIO()):  # its own progress bar
        tokenizer = AutoTokenizer.from_pretrained(folder, split_special_tokens=True, **options)
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, use_kernels=False, **given, **options
        )
    model.generation_config = GenerationConfig(
        pad_token_id=ids.pad, bos_token_id=ids.bos, eos_token_id=ids.eos
    )
    return other_model(Loaded(model.eval(), tokenizer), ids.pad)


@contextmanager
def opened_by_llama_cpp(path: Path, task: AnyTask) -> Iterator[OtherModel]:
    """Yield the model in a file as llama.cpp computes it, in float32.

    Args:
        task: model that it was made from.
    """
    import llama_cpp

    assert isinstance(task, CausalTask)
    n_thread = torch.get_num_threads()
    model = llama_cpp.Llama(
        str(path),
        n_ctx=task.context,
        n_threads=n_thread,
        n_threads_batch=n_thread,
        logits_all=True,
        type_k=llama_cpp.GGML_TYPE_F32,
        type_v=llama_cpp.GGML_TYPE_F32,
        verbose=False,
    )
    with closing(model):
        yield llama_cpp_model(model, task.tokenizer.eos_id)


def llama_cpp_model(model: "Llama", end: int) -> OtherModel:
    """Return a model of llama.cpp as functions on ids.

    Args:
        end: id of the end of a text.
    """

    def read(texts: Sequence[str]) -> list[list[int]]:
        return [list(model.tokenize(text.encode(), special=False)) for text in texts]

    def logits(source: Tensor, target: Tensor) -> Tensor:
        model.reset()
        model.eval(target[0].tolist())
        found = np.array(model.scores[: target.size(1)])
        return torch.from_numpy(found)[None].double()

    def generate(source: Tensor, most: int) -> list[list[int]]:
        rows = []
        for row in source.tolist():
            model.reset()
            written = islice(model.generate(row, temp=0.0), most)
            rows.append(up_to_end(list(written), [end]))
        return rows

    return OtherModel(read, logits, generate)
