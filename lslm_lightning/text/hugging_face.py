"""Recipe for the tokenizer of a Hugging Face `transformers` model, from a folder or the hub."""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from lslm_lightning.extras import MissingPackageError
from lslm_lightning.text.json_texts import parse_json
from lslm_lightning.text.model_sizes import bounds_of, check_sizes
from lslm_lightning.text.pretrained import PretrainedTokenizer, Roles
from lslm_lightning.text.prompts import Prompt
from lslm_lightning.text.recipes import TokenizerFile
from lslm_lightning.text.sentencepiece import read_pieces
from lslm_lightning.text.tokenizer import Tokenizer, backend_of, rust_errors, size_of
from lslm_lightning.types import Settings

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase, PreTrainedTokenizerFast

SIDES = ("source.spm", "target.spm")  # of Marian
FILES = (
    "tokenizer.json",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "tokenizer.model",
    "sentencepiece.bpe.model",
    "sentencepiece.model",
)
"""Files of a vocabulary; without any of them `transformers` makes a tokenizer without tokens."""

NO_CODE = {"trust_remote_code": False}  # of every call of `transformers`
DEFAULT = "default"  # name of a chat template among several
ATTENTIONS = ("attn_implementation", "_attn_implementation", "_attn_implementation_internal")
ATTENTION = ("eager", "sdpa", "flex_attention")
KERNELS = ("use_kernels", "kernel_config", "kernels_config")


@dataclass(frozen=True)
class HuggingFaceTokenizer(TokenizerFile):
    """Tokenizer of a pretrained model, never trained: a text has the same ids as in `transformers`.

    Answers start with the start token of the model's decoder. If the model has no padding, an
    additional id after all others serves as padding. Text that looks like a special token stays
    text.

    Args:
        path: a folder saved with `save_pretrained`, or a hub id.
    """

    path: str

    def key(self) -> str:
        return f"HuggingFace({self.train().digest})"

    def train(self, texts: Iterable[str] = ()) -> Tokenizer:
        """Return the pretrained tokenizer; `texts` are not used.

        Raises:
            ValueError: there is no tokenizer, or it does not meet the requirements of `Tokenizer`.
        """
        is_folder = Path(self.path).is_dir()
        return load_pretrained(self.path) if is_folder else load_from_hub(self.path)


def load_pretrained(path: str, start: int | None = None) -> PretrainedTokenizer:
    """Return the tokenizer of a model in a folder or on the hub.

    Args:
        path: a folder or a hub id.
        start: id that answers start with; None for that of config.json.

    Raises:
        ValueError: there is no tokenizer, or it does not meet the requirements of `Tokenizer`.
    """
    config = model_config(path)
    of_text = config if config.is_encoder_decoder else config.get_text_config()
    pad, eos, configured = (
        getattr(of_text, f"{name}_token_id", None) for name in ("pad", "eos", "decoder_start")
    )
    start = first(start, configured)
    if config.model_type == "marian" and (tokenizer := _marian(path, pad, start, eos)) is not None:
        return tokenizer
    if not any(file_of(path, name) for name in FILES):
        raise ValueError(
            f"{path} has no tokenizer that can be used (none of {', '.join(FILES)}); save it "
            "there as well"
        )
    fast = fast_tokenizer(path)
    backend = backend_of(fast.backend_tokenizer.to_str())
    backend.no_padding()
    backend.no_truncation()
    recipe = TokenizerFile(path)
    recipe._prepare(backend)
    eos = first(fast.eos_token_id, *(eos if isinstance(eos, list) else [eos]), fast.sep_token_id)
    if eos is None:
        raise ValueError(f"{path}: its tokenizer has no token for the end of a text")
    size = size_of(backend.get_vocab().values())
    pad = first(pad, fast.pad_token_id)
    if lost := {i for i in backend.get_vocab().values() if i >= of_text.vocab_size} - {pad}:
        rows = (
            f"its tokenizer has ids up to {max(lost)} and its model {of_text.vocab_size} rows "
            "for them"
        )
        raise ValueError(
            f"{path}: {rows}; save the model again after "
            "model.resize_token_embeddings(len(tokenizer))"
        )
    if pad is None or pad == eos:
        pad = max(size, of_text.vocab_size)
    if config.is_encoder_decoder:
        if start is None:
            raise ValueError(
                f"{path}: its config.json does not say what answers start with; give it a "
                "decoder_start_token_id"
            )
        before = read_before(path, fast, eos)
        pretrained = PretrainedTokenizer(backend, Roles(pad, start, eos), before=before)
    else:
        bos = first(fast.bos_token_id, fast.cls_token_id)
        pretrained = PretrainedTokenizer(backend, Roles(pad, eos if bos is None else bos, eos))
    recipe._check(pretrained, backend)
    return pretrained


def _marian(
    path: str, pad: int | None, start: int | None, eos: int | None
) -> PretrainedTokenizer | None:
    """Return the tokenizer of a Marian model, which has different pieces for source and target;
    None if its files are missing.
    """
    vocabulary = file_of(path, "vocab.json")
    if vocabulary is None:
        return None
    if file_of(path, "target_vocab.json") is not None:
        raise ValueError(
            f"{path} has a vocabulary for each side, target_vocab.json beside vocab.json: that is "
            "not supported"
        )
    source, target = (file_of(path, name) for name in SIDES)
    if source is None or target is None:
        return None
    if pad is None or start is None or eos is None:
        raise ValueError(
            f"{path}: its config.json must have pad_token_id, decoder_start_token_id and "
            "eos_token_id"
        )
    ids = parse_json(vocabulary.read_text("utf-8"))
    return PretrainedTokenizer(
        read_pieces(source), Roles(pad, start, eos), read_pieces(target), ids
    )


load_from_hub = cache(load_pretrained)


def first(*ids: int | None) -> int | None:
    """Return the first id that is not None."""
    return next((index for index in ids if index is not None), None)


def read_before(
    path: str, fast: "PreTrainedTokenizerFast", eos: int
) -> tuple[list[int], list[int]]:
    """Return the ids that a model expects before a source text, and before a target text.

    Args:
        eos: id of the end token, which may follow the text.

    Raises:
        ValueError: the model expects more than its end token after a text.
    """
    plain = fast("a", add_special_tokens=False).input_ids
    prefixes = []
    for framed in (fast("a").input_ids, fast(text_target="a").input_ids):
        at = len(framed) - len(plain) - (framed[-1] == eos)
        if framed[at:] not in (plain, [*plain, eos]):
            raise ValueError(
                f"{path} reads a text as {fast.decode(framed)!r}: models that read more than "
                "</s> behind it are not supported"
            )
        prefixes.append(framed[:at])
    return prefixes[0], prefixes[1]


# Files of a model


def import_quietly() -> None:
    """Import `transformers`, without code from the hub, progress bars and messages but errors.

    Raises:
        ImportError: it is not installed.
    """
    os.environ.setdefault("USE_HUB_KERNELS", "NO")  # code from the hub; asked at import
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def model_config(path: str) -> "PretrainedConfig":
    """Return the configuration of a `transformers` model.

    Raises:
        ValueError: there is no usable configuration, or `transformers` is not installed; the
            message is one line with the reason.
    """
    try:
        import_quietly()
        from transformers import AutoConfig, PretrainedConfig
    except ImportError:
        raise ValueError(MissingPackageError("transformers", "a pretrained model")) from None
    if Path(path).is_dir() and not Path(path, "config.json").is_file():
        raise ValueError(
            f"{path} is no model that can be used: it has no config.json; save the model there "
            "with save_pretrained"
        )
    try:
        check_keys(path)
        described = PretrainedConfig.get_config_dict(path, local_files_only=is_local(path))[0]
        check_runs_no_code(described)
        check_sizes(described, bounds_of(path))
        return AutoConfig.from_pretrained(path, local_files_only=is_local(path), **NO_CODE)
    except (
        Exception
    ) as error:  # a class for each of its types reads the file, and may raise anything
        raise ValueError(f"{path} is no model that can be used: {reason(path, error)}") from None


def check_keys(path: str) -> None:
    """Raise ValueError if an object in one of the settings files of a model has a key twice, of
    which `transformers` would use the last.
    """
    for name in ("config.json", "generation_config.json", "tokenizer_config.json"):
        if (file := file_of(path, name)) is None:
            continue
        try:
            parse_json(file.read_text("utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError):
            continue  # `transformers` tells, where it reads the file
        except ValueError as error:
            raise ValueError(f"its {name} is damaged ({error}); fetch it again") from None


def check_runs_no_code(config: Settings) -> None:
    """Raise ValueError if a config.json requests kernels from a repository, since these are code
    that would run here.

    `auto_map`, which many hub models list in addition to a class of `transformers`, is ignored: no
    call in this module follows it.
    """
    for name, value in config.items():
        wanted = value.values() if isinstance(value, Mapping) else [value]
        if name in ATTENTIONS and not all(each is None or each in ATTENTION for each in wanted):
            raise ValueError(
                f"its config.json has {name}={value!r}, which may run code of others; change it "
                f"to {' or '.join(ATTENTION)}, or leave it out"
            )
        if name in KERNELS and value:
            raise ValueError(f"its config.json has {name}, which runs code of others; leave it out")
        if isinstance(value, Mapping):
            check_runs_no_code(value)


def read_tokenizer(path: str) -> "PreTrainedTokenizerBase":
    """Return the tokenizer of a model as `transformers` has it.

    Raises:
        ValueError: `transformers` cannot read it; the message is one line with the reason.
    """
    from transformers import AutoTokenizer

    try:
        with rust_errors("it fails", "fetch it again"):
            tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
                path, local_files_only=is_local(path), **NO_CODE
            )
    except (OSError, ValueError, ImportError, TypeError, AttributeError, KeyError) as error:
        raise ValueError(
            f"{path} has no tokenizer that can be used ({reason(path, error)}); save it there as "
            "well"
        ) from None
    return tokenizer


def fast_tokenizer(path: str) -> "PreTrainedTokenizerFast":
    """Return the `transformers` tokenizer of a model, which must have a Rust backend.

    Raises:
        ValueError: there is no such tokenizer; the message is one line with the reason.
    """
    tokenizer = read_tokenizer(path)
    if not getattr(tokenizer, "is_fast", False):
        raise ValueError(
            f"{path}: {type(tokenizer).__name__} has no tokenizer.json; save it once more as a "
            "fast tokenizer"
        )
    return tokenizer  # type: ignore[return-value]  # as `is_fast` says


def prompt_of(tokenizer: "PreTrainedTokenizerBase", prefix: str = "") -> Prompt:
    """Return the prompt of a causal model: its chat template, if its tokenizer has one. Of several,
    it is the one called "default".

    Args:
        prefix: text before each question.

    Raises:
        ValueError: none of several templates is called so.
    """
    templates = tokenizer.chat_template  # a mapping, where they have names
    if not templates:
        return Prompt(prefix)
    if isinstance(templates, str):
        templates = {DEFAULT: templates}
    elif len(templates) > 1 and DEFAULT not in templates:
        raise ValueError(
            f"its tokenizer has the chat templates {', '.join(sorted(templates))}, and none is "
            f"called {DEFAULT}; call one so"
        )
    template: str = templates.get(DEFAULT) or next(iter(templates.values()))
    names = {
        name: token for name, token in tokenizer.special_tokens_map.items() if type(token) is str
    }
    return Prompt(prefix, template, names)


def file_of(path: str, name: str) -> Path | None:
    """Return the local path of a model's file, downloaded from the hub if necessary; None if the
    model has no such file.
    """
    from transformers.utils import cached_file

    return_none = {
        "_raise_exceptions_for_missing_entries": False,
        "_raise_exceptions_for_connection_errors": False,
    }
    found = cached_file(path, name, local_files_only=is_local(path), **return_none)
    return Path(found) if found else None


def is_local(path: str) -> bool:
    """Return whether only local files can be read: `path` is a folder, or the hub is unreachable.

    Without this check `transformers` would retry for half a minute.
    """
    return Path(path).is_dir() or not hub_answers()


@cache
def hub_answers(timeout_seconds: float = 5) -> bool:
    """Return whether the hub can be reached; checked once per process."""
    from huggingface_hub import constants

    try:
        urlopen(Request(constants.ENDPOINT, method="HEAD"), timeout=timeout_seconds).close()
    except HTTPError:
        return True  # it answered
    except OSError:
        return False
    return not constants.HF_HUB_OFFLINE


def reason(path: str, error: Exception) -> str:
    """Return the first sentence of an error on one line, with its type where it is a programmer's,
    or that the hub cannot be reached.
    """
    if not Path(path).is_dir() and is_local(path):
        return (
            "it is no folder here, was not fetched before, and the Hugging Face hub cannot be "
            "reached"
        )
    kind = type(error).__name__
    sentence = " ".join(str(error).split()).partition(". ")[0][:300]
    if isinstance(error, OSError | ValueError | ImportError):
        return sentence or kind
    return f"{kind}: {sentence}" if sentence else kind
