"""Loading of a `transformers` model and its tokenizer from a folder or the hub."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeGuard

from lslm_lightning.contracts import Example, Purpose
from lslm_lightning.devices import usable_device
from lslm_lightning.safety.parameters import bounded_parameters
from lslm_lightning.text.hugging_face import (
    NO_CODE,
    file_of,
    is_local,
    model_config,
    prompt_of,
    reason,
)
from lslm_lightning.text.languages import base_language, name_of_language
from lslm_lightning.text.model_sizes import bounds_of
from lslm_lightning.types import JsonObject

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import GenerationConfig, PretrainedConfig, PreTrainedTokenizerBase

HOUSEKEEPING = (  # fields of a generation config that change no answer
    "transformers_version",
    "_from_model_config",
    "return_dict_in_generate",
    "output_attentions",
    "output_hidden_states",
    "output_scores",
    "output_logits",
    "use_cache",
    "cache_implementation",
    "bos_token_id",
    "pad_token_id",
    "return_legacy_cache",
    "cache_config",
    "disable_compile",
)
UNLIMITED = 10**9  # a limit as high as that is a tokenizer's way of saying that there is none


class Output(Protocol):
    """Output of a model."""

    @property
    def logits(self) -> "Tensor":
        """Logits (B, T, V)."""
        ...


class Model(Protocol):
    """A causal or sequence-to-sequence model of `transformers`."""

    config: "PretrainedConfig"
    generation_config: "GenerationConfig"

    @property
    def device(self) -> "torch.device":
        """Device of the weights."""
        ...

    def __call__(self, *inputs: "Tensor", **named_inputs: "Tensor") -> Output:
        """Return the logits (B, T, V) for token ids (B, T)."""
        ...

    def generate(self, **settings: object) -> Any:
        """Return generated ids (B, T), or an object that contains them, depending on the
        settings.
        """
        ...

    def parameters(self) -> "Iterator[torch.nn.Parameter]":
        """Yield the weights."""
        ...


class Loaded(NamedTuple):
    """A model ready for use, and its tokenizer."""

    model: Model
    tokenizer: "PreTrainedTokenizerBase"

    @property
    def reads_sources(self) -> bool:
        """True for a sequence-to-sequence model, False for a causal model."""
        return bool(self.model.config.is_encoder_decoder)

    @property
    def end_ids(self) -> list[int]:
        """Ids of the tokens that end an answer."""
        ids = self.model.generation_config.eos_token_id
        return [] if ids is None else [ids] if isinstance(ids, int) else list(ids)

    @property
    def generation_settings(self) -> JsonObject:
        """Settings in `generation_config.json` that affect answers and differ from the defaults."""
        settings = self.model.generation_config.to_diff_dict()
        return {
            name: value
            for name, value in settings.items()
            if name not in HOUSEKEEPING and value is not None
        }

    @property
    def positions(self) -> int | None:
        """Maximum number of tokens that the model and its tokenizer allow; None if there is no
        limit.
        """
        limits = (
            getattr(self.model.config.get_text_config(), "max_position_embeddings", None),
            self.tokenizer.model_max_length,
        )
        return min((int(limit) for limit in limits if limit and limit < UNLIMITED), default=None)

    @property
    def tokenizer_options(self) -> dict[str, bool]:
        """Arguments for tokenizing prompts; special tokens are omitted if the chat template adds
        them.
        """
        return {"add_special_tokens": self.reads_sources or self.tokenizer.chat_template is None}

    def prompt(self, example: Example, prefix: str) -> str:
        """Return the input of the model for an example.

        This is `prefix` followed by the source for a sequence-to-sequence model, and by the
        question for a causal model, in its chat template if there is one.
        """
        if self.reads_sources:
            return prefix + example.source
        return prompt_of(self.tokenizer, prefix).text(example.question or example.source)

    def vocabulary_digest(self) -> str:
        """Return 8 hexadecimal digits that identify the class and the vocabulary of the
        tokenizer.
        """
        vocabulary = sorted(self.tokenizer.get_vocab().items())
        content = json.dumps([type(self.tokenizer).__name__, vocabulary])
        return hashlib.sha256(content.encode()).hexdigest()[:8]


def load_model(path: str, device: str, dtype: str) -> Loaded:
    """Return the model in a folder or with a hub id, in evaluation mode, and its tokenizer.

    Weights are read only from safetensors, and code from the model's repository is never run.

    Args:
        device: "cpu", "cuda", "cuda:1"; "auto" uses a GPU if there is one.
        dtype: "float32", "bfloat16", ...; "auto" is float32 on a CPU and as saved on a GPU.

    Raises:
        ValueError: the model cannot be used; the message is one line.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

    config = model_config(path)
    options = {"local_files_only": is_local(path), **NO_CODE}
    device = usable_device(device)
    if dtype == "auto":
        weights = torch.float32 if device == "cpu" else "auto"
    else:
        weights = getattr(torch, dtype)
    try:
        kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        tokenizer = AutoTokenizer.from_pretrained(path, **options)
        with bounded_parameters(
            bounds_of(path), "its config.json does not fit its weights", counts_meta=True
        ):
            model = kind.from_pretrained(
                path, use_safetensors=True, dtype=weights, use_kernels=False, **options
            )
    except (OSError, ValueError, ImportError) as error:
        raise ValueError(f"{path} is no model that can be used: {reason(path, error)}") from None
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    # ignored: transformers wraps `Module.to` without its `self`
    return Loaded(model.to(device).eval(), tokenizer)  # type: ignore[arg-type]


def purposes_in_files(path: str) -> list[Purpose]:
    """Return the languages stated in the tokenizer's files of a folder or hub id.

    The result is empty if the files state none or a group of languages ("mul", "ROMANCE").
    """
    name = "tokenizer_config.json"
    try:
        folder = Path(path)
        file = folder / name if folder.is_dir() else file_of(path, name)
        stated = json.loads(file.read_text("utf-8")) if file is not None and file.is_file() else {}
    except (ValueError, OSError, ImportError):
        return []
    if not isinstance(stated, dict):
        return []
    source = stated.get("source_lang")
    target = stated.get("target_lang")
    return [Purpose(None, (source, target))] if is_language(source) and is_language(target) else []


def fingerprint_of_folder(path: str) -> str | None:
    """Return a digest of the names, sizes and modification times of the files in a folder; None for
    a hub id.
    """
    folder = Path(path)
    if not folder.is_dir():
        return None
    files = [
        (p.name, p.stat().st_size, p.stat().st_mtime_ns)
        for p in sorted(folder.iterdir())
        if p.is_file()
    ]
    return hashlib.sha256(repr(files).encode()).hexdigest()


def is_language(code: object) -> TypeGuard[str]:
    """Return whether a code denotes a single language in CLDR, unlike "mul", "ROMANCE" or ""."""
    if not isinstance(code, str) or base_language(code) in ("mul", "und", "mis", "zxx"):
        return False
    return name_of_language(code) != code
