"""A model of Hugging Face's `transformers` as a system: causal or sequence to sequence, from a
folder or the hub.
"""

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from itertools import groupby
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lslm_lightning.contracts import (
    Alternative,
    Answers,
    CannotError,
    Example,
    Generator,
    Mode,
    Prediction,
    Purpose,
    Scorer,
    pair_answers,
    passages_of,
)
from lslm_lightning.safety.parameters import bounded_parameters
from lslm_lightning.systems.batches import by_length, whole_texts
from lslm_lightning.systems.hugging_face_scores import (
    best_beams,
    first_id,
    is_unknown,
    nats_of,
    score_continuations,
    score_labels,
    windows,
)
from lslm_lightning.text.hugging_face import NO_CODE, file_of, is_local, model_config, reason
from lslm_lightning.text.languages import base_language, name_of_language
from lslm_lightning.text.model_sizes import bounds_of

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)
HOUSEKEEPING = (  # of a generation config: they change no answer
    *(
        "transformers_version",
        "_from_model_config",
        "return_dict_in_generate",
        "output_attentions",
        "output_hidden_states",
    ),
    *(
        "output_scores",
        "output_logits",
        "use_cache",
        "cache_implementation",
        "bos_token_id",
        "pad_token_id",
    ),
    *("return_legacy_cache", "cache_config", "disable_compile"),
)
# of no use without chance
SAMPLING = (
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "top_h",
    "typical_p",
    "epsilon_cutoff",
    "eta_cutoff",
)
UNLIMITED = 10**9  # a limit as high as that is a tokenizer's way of saying that there is none


class Loaded(NamedTuple):
    """A model ready for use, and its tokenizer."""

    model: Any
    tokenizer: Any


class HuggingFace(Generator, Scorer):
    """Weights are read from safetensors alone, and code from a model's repository is never run.

    A sequence-to-sequence model reads the source of an example, a causal one the question in words,
    by its own chat template where it has one. What is longer than it can read loses its end, the
    question of a causal model its beginning, so that the question itself stays; the signature has
    the number of tokens that are read.

    What `generation_config.json` of the folder says of how to write (penalties, forced or
    suppressed tokens, ...) holds, and is kept in the record. Set aside, and said, is what it says
    of the search: answers are greedy, or of `n_beam` beams, of `max_new_tokens` at most.

    Args:
        path: a folder saved with `save_pretrained`, tokenizer included, or a hub id.
        prefix: put before every source: "translate English to German: ", say, for T5.
        n_beam: beams; 1 is greedy search.
        max_new_tokens: the most it may write.
        batch_size: sources answered together.
        context: tokens read at a time when a text is scored; by default what the model can read, at
            most 1024.
        stride: tokens a window advances; half of `context` by default.
        device: "cpu", "cuda", "cuda:1"; "auto" takes a GPU where there is one.
        dtype: "float32", "bfloat16", ...; "auto" is float32 on a CPU and as saved on a GPU.
        allow_mismatch: answer an evaluation set of other languages than the model's files state, as
            those of Marian do.
    """

    def __init__(
        self,
        path: str,
        prefix: str = "",
        n_beam: int = 1,
        max_new_tokens: int = 256,
        batch_size: int = 16,
        context: int | None = None,
        stride: int | None = None,
        device: str = "auto",
        dtype: str = "auto",
        allow_mismatch: bool = False,
    ) -> None:
        for name, value in (
            ("n_beam", n_beam),
            ("max_new_tokens", max_new_tokens),
            ("batch_size", batch_size),
        ):
            if value < 1:
                raise ValueError(f"{name}={value} must be at least 1")
        self.path = path
        self.prefix = prefix
        self.n_beam = n_beam
        self.max_new_tokens = max_new_tokens
        self.batch_size = batch_size
        self.given_context = context
        self.given_stride = stride
        self.device = device
        self.dtype = dtype
        self.name = path.rstrip("/").rpartition("/")[2]
        self.allow_mismatch = allow_mismatch

    @cached_property
    def loaded(self) -> Loaded:
        """Raises ValueError with the reason in one line."""
        import torch
        from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

        config = model_config(self.path)
        options = {"local_files_only": is_local(self.path), **NO_CODE}
        device = (
            ("cuda" if torch.cuda.is_available() else "cpu")
            if self.device == "auto"
            else self.device
        )
        dtype = (
            (torch.float32 if device == "cpu" else "auto")
            if self.dtype == "auto"
            else getattr(torch, self.dtype)
        )
        try:
            kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
            tokenizer = AutoTokenizer.from_pretrained(self.path, **options)
            with bounded_parameters(
                bounds_of(self.path), "its config.json does not fit its weights", counts_meta=True
            ):
                model = kind.from_pretrained(
                    self.path, use_safetensors=True, dtype=dtype, use_kernels=False, **options
                )
        except (OSError, ValueError, ImportError) as error:
            raise ValueError(
                f"{self.path} is no model that can be used: {reason(self.path, error)}"
            ) from None
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
        return Loaded(model.to(device).eval(), tokenizer)

    def prepare(self, examples: Sequence[Example]) -> None:
        """Raises ValueError where there is no such model, or no transformers."""
        model_config(self.path)

    def purposes(self) -> list[Purpose]:
        """Languages that the tokenizer's file states; nothing of a group of languages ("mul",
        "ROMANCE").
        """
        try:
            folder = Path(self.path)
            name = "tokenizer_config.json"
            path = folder / name if folder.is_dir() else file_of(self.path, name)
            stated = (
                json.loads(path.read_text("utf-8")) if path is not None and path.is_file() else {}
            )
        except (ValueError, OSError, ImportError):
            return []
        source, target = (
            (stated.get(name) for name in ("source_lang", "target_lang"))
            if isinstance(stated, dict)
            else (None, None)
        )
        return (
            [Purpose(None, (source, target))] if is_language(source) and is_language(target) else []
        )

    def fingerprint(self) -> str | None:
        """Of a folder's files by size and time; None for a hub id."""
        folder = Path(self.path)
        if not folder.is_dir():
            return None
        files = [
            (p.name, p.stat().st_size, p.stat().st_mtime_ns)
            for p in sorted(folder.iterdir())
            if p.is_file()
        ]
        return hashlib.sha256(repr(files).encode()).hexdigest()

    @property
    def reads_sources(self) -> bool:
        return bool(self.loaded.model.config.is_encoder_decoder)

    # Answers

    def generate(self, examples: Sequence[Example], n_best: int = 1) -> Iterator[Prediction]:
        """Answers, with `n_best` above 1 several each, of as many beams at least; see
        `contracts.Generator`. Their log p is that of the search, with what the folder forces or
        penalizes. A warning says which settings of the folder do not hold.

        Raises:
            ValueError: `n_best` is below 1, or there are fewer beams.
        """
        if not 1 <= n_best <= max(1, self.n_beam):
            raise ValueError(
                f"n_best={n_best} must be at least 1 and at most n_beam={self.n_beam}; raise "
                "n_beam, or lower n_best"
            )
        if aside := self.set_aside:
            given = ", ".join(f"{name}={value!r}" for name, value in aside.items())
            words = "greedy search" if self.n_beam == 1 else f"{self.n_beam} beams"
            logger.warning(
                (
                    "%s: %s of generation_config.json is set aside: answers are of %s, "
                    "max_new_tokens=%d"
                ),
                self.name,
                given,
                words,
                self.max_new_tokens,
            )
        for batch in by_length(examples, self.batch_size):
            yield from self._answer(batch) if n_best == 1 else self._n_best(batch, n_best)

    def cut_sources(self, examples: Sequence[Example]) -> tuple[int, str]:
        """Return how many questions are too long to be read whole, and words that follow "12 of
        100".
        """
        if not self.longest:
            return 0, ""
        ids = self.loaded.tokenizer(
            [self._prompt(e) for e in examples], **self._special()
        ).input_ids
        end = "end" if self.reads_sources else "beginning"
        return sum(
            len(row) > self.longest for row in ids
        ), f"questions have more than {self.longest:,} tokens and lost their {end}"

    def _answer(self, batch: Sequence[Example]) -> list[Prediction]:
        import torch

        model, tokenizer = self.loaded
        began = perf_counter()
        given = self._read(batch)
        with torch.inference_mode():
            limits = {"num_beams": self.n_beam, "max_new_tokens": self.max_new_tokens}
            written = model.generate(**given, **limits, do_sample=False, **NO_CODE)
        if not self.reads_sources:
            written = written[:, given["input_ids"].size(1) :]
        seconds = (perf_counter() - began) / len(batch)
        outputs = tokenizer.batch_decode(written, skip_special_tokens=True)
        counts = (written != tokenizer.pad_token_id).sum(1).tolist()
        # without the token that a decoder begins with
        new = written[:, 1:] if self.reads_sources else written
        if model.generation_config.forced_eos_token_id is not None:
            # an end in the last place is no word of the model's
            new = new[:, : self.max_new_tokens - 1]
        ends = (
            torch.isin(new, torch.tensor(self.end_ids, dtype=new.dtype, device=new.device))
            .any(1)
            .tolist()
        )
        return [
            Prediction(
                e.id,
                text.strip(),
                n_token=n,
                seconds=seconds,
                finish_reason="stop" if ended else "length",
            )
            for e, text, n, ended in zip(batch, outputs, counts, ends, strict=True)
        ]

    def _n_best(self, batch: Sequence[Example], n_best: int) -> Iterator[Prediction]:
        """Predictions with the best of the beams as `alternatives`."""
        began = perf_counter()
        given = self._read(batch)
        n_read = 1 if self.reads_sources else given["input_ids"].size(1)
        limits = {"num_beams": self.n_beam, "max_new_tokens": self.max_new_tokens, **NO_CODE}
        lists = best_beams(self.loaded.model, given, limits, n_best, n_read, self.end_ids)
        seconds = (perf_counter() - began) / len(batch)
        decode = partial(self.loaded.tokenizer.decode, skip_special_tokens=True)
        for example, found in zip(batch, lists, strict=True):
            ids, nats = found[0]
            alternatives = [Alternative(decode(each).strip(), own) for each, own in found]
            yield Prediction(
                example.id,
                alternatives[0].output,
                nats,
                n_token=len(ids),
                seconds=seconds,
                alternatives=tuple(alternatives),
                finish_reason="stop" if ids[-1] in self.end_ids else "length",
            )

    def _read(self, batch: Sequence[Example]) -> dict[str, "Tensor"]:
        """Padded `input_ids` and `attention_mask` of what is read, cut to `longest`, on the model's
        device.
        """
        model, tokenizer = self.loaded
        tokenizer.padding_side = "right" if self.reads_sources else "left"
        tokenizer.truncation_side = tokenizer.padding_side
        limit = {} if self.longest is None else {"truncation": True, "max_length": self.longest}
        given = tokenizer(
            [self._prompt(e) for e in batch],
            return_tensors="pt",
            padding=True,
            **limit,
            **self._special(),
        )
        return {name: given[name].to(model.device) for name in ("input_ids", "attention_mask")}

    @cached_property
    def end_ids(self) -> list[int]:
        """Tokens that end an answer."""
        found = self.loaded.model.generation_config.eos_token_id
        return [] if found is None else [found] if isinstance(found, int) else list(found)

    @cached_property
    def generation_settings(self) -> dict[str, Any]:
        """What `generation_config.json` says of how to write, where that is not the default."""
        found = self.loaded.model.generation_config.to_diff_dict()
        return {
            name: value
            for name, value in found.items()
            if name not in HOUSEKEEPING and value is not None
        }

    @property
    def set_aside(self) -> dict[str, Any]:
        """Those of these settings that do not hold here."""
        ours = {"do_sample": False, "num_beams": self.n_beam, "max_new_tokens": self.max_new_tokens}
        return {
            name: value
            for name, value in self.generation_settings.items()
            if name in (*SAMPLING, "max_length") or (name in ours and value != ours[name])
        }

    def _prompt(self, example: Example) -> str:
        if self.reads_sources:
            return self.prefix + example.source
        question = self.prefix + (example.question or example.source)
        tokenizer = self.loaded.tokenizer
        if tokenizer.chat_template is None:
            return question
        turns = [{"role": "user", "content": question}]
        return tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)

    def _special(self) -> dict[str, bool]:
        """A chat template writes its special tokens itself."""
        return {
            "add_special_tokens": self.reads_sources or self.loaded.tokenizer.chat_template is None
        }

    # Probabilities

    def log_prob(
        self, examples: Sequence[Example], answers: Answers | None = None
    ) -> Iterator[Prediction]:
        """Nats of whole texts by a causal model, in sliding windows, end of text included where the
        tokenizer has one. With `answers`, those of each answer after what `generate` reads of its
        example; see `contracts.Scorer`.

        The labels of a sequence-to-sequence model are those that its tokenizer makes of an answer
        for training, with the end behind them.

        Raises:
            CannotError: a sequence-to-sequence model is asked for the probability of a text alone.
            ValueError: a decoder has not as many positions as an answer has tokens.
        """
        if answers is not None:
            began = perf_counter()
            pairs = pair_answers(examples, answers)
            found = self._score_answers(pairs) if pairs else []
            seconds = (perf_counter() - began) / max(1, len(pairs))
            yield from (replace(prediction, seconds=seconds) for prediction in found)
            return
        if self.reads_sources:
            raise CannotError(
                f"{self.name} has an encoder: it gives no probability of a text alone"
            )
        for batch in whole_texts(examples):
            for _, passages in groupby(batch, key=lambda e: e.id.partition("#")[0]):
                yield from self._score(list(passages))

    def _score(self, passages: Sequence[Example]) -> Iterator[Prediction]:
        """One text; a token belongs to the passage in which it begins."""
        tokenizer = self.loaded.tokenizer
        began = perf_counter()
        text = "".join(e.references[0] for e in passages)
        encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        last = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
        ids = [first_id(tokenizer), *encoded["input_ids"], *last]
        nats, contexts = self._token_nats(ids)
        starts = np.array(
            [start for start, _ in encoded["offset_mapping"]] + [len(text)] * len(last)
        )
        unknown = is_unknown(tokenizer, ids[1:])
        yield from passages_of(
            passages, starts, nats, contexts, unknown, seconds=perf_counter() - began
        )

    def _token_nats(self, ids: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Minus log probability of each id but the first, float64, and from how many ids it was
        predicted.
        """
        import torch

        model = self.loaded.model
        nats = np.zeros(len(ids) - 1)
        contexts = np.zeros(len(ids) - 1, dtype=np.int64)
        for start, first, end in windows(len(ids), self.context, self.stride):
            window = torch.tensor([ids[start:end]], device=model.device)
            with torch.inference_mode():
                logits = model(window[:, :-1]).logits[0, first - start - 1 :]
            nats[first - 1 : end - 1] = nats_of(logits, window[0, first - start :])
            contexts[first - 1 : end - 1] = np.arange(first, end) - start
        return nats, contexts

    def _score_answers(self, pairs: Sequence[tuple[Example, str]]) -> list[Prediction]:
        """Predictions for answers, each behind its question or to its source, in order."""
        model, tokenizer = self.loaded
        if self.reads_sources:
            return score_labels(model, tokenizer, pairs, self._read, self.batch_size)
        prompts = [self._prompt(e) if e.question or e.source else "" for e, _ in pairs]
        given = tokenizer(prompts, **self._special()).input_ids
        before = [ids or [first_id(tokenizer)] for ids in given]
        reach = (self.context, self.stride)
        return score_continuations(model, tokenizer, pairs, before, *reach, self.batch_size)

    @cached_property
    def positions(self) -> int | None:
        """The most tokens that the model and its tokenizer are made for; None where there is no
        such limit.
        """
        model, tokenizer = self.loaded
        limits = (
            getattr(model.config.get_text_config(), "max_position_embeddings", None),
            tokenizer.model_max_length,
        )
        return min((int(limit) for limit in limits if limit and limit < UNLIMITED), default=None)

    @cached_property
    def longest(self) -> int | None:
        """The most tokens of a question that are read: a causal model needs room for its answer
        beside it.

        Raises:
            ValueError: there is no room.
        """
        if self.positions is None or self.reads_sources:
            return self.positions
        if self.positions <= self.max_new_tokens:
            raise ValueError(
                f"max_new_tokens={self.max_new_tokens} of {self.path} leaves no room for a "
                f"question in its {self.positions} positions; "
                f"{self.positions // 2} leaves half"
            )
        return self.positions - self.max_new_tokens

    @property
    def context(self) -> int:
        return min(self.given_context or 1024, self.positions or 1024)

    @property
    def stride(self) -> int:
        return min(self.given_stride or max(1, self.context // 2), self.context)

    def signature(self, mode: Mode) -> str:
        """How far it reads, and whose tokens it counts."""
        if mode == "generate":
            return "" if self.longest is None else f"|source:{self.longest}"
        tokenizer = self.loaded.tokenizer
        vocabulary = json.dumps([type(tokenizer).__name__, sorted(tokenizer.get_vocab().items())])
        digest = hashlib.sha256(vocabulary.encode()).hexdigest()[:8]
        return f"|context:{self.context}|stride:{self.stride}|tokens:{digest}"

    def info(self) -> dict[str, Any]:
        """Size, and the search."""
        weights = list(self.loaded.model.parameters())
        aside = self.set_aside
        holds = {
            name: value for name, value in self.generation_settings.items() if name not in aside
        }
        return {
            "n_parameter": sum(p.numel() for p in weights),
            "memory_bytes": sum(p.numel() * p.element_size() for p in weights),
            "search": "greedy" if self.n_beam == 1 else "beam",
            "weights": self.path,
            "limit": f"max_new_tokens={self.max_new_tokens}",
            **({"generation_config": plain(holds)} if holds else {}),
            **({"generation_config_set_aside": plain(aside)} if aside else {}),
        }


def plain(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings as JSON holds them."""
    return json.loads(json.dumps(settings, default=str))


def is_language(code: object) -> bool:
    """Whether a code names one language that CLDR knows: not "mul", "ROMANCE" or an empty text."""
    if not isinstance(code, str) or base_language(code) in ("mul", "und", "mis", "zxx"):
        return False
    return name_of_language(code) != code
