"""Models of Hugging Face's `transformers` as systems: causal or sequence-to-sequence, from a folder
or the hub.
"""

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from time import perf_counter
from typing import TYPE_CHECKING

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
    by_text,
    pair_answers,
)
from lslm_lightning.systems.batches import by_length, whole_texts
from lslm_lightning.systems.hugging_face_model import (
    Loaded,
    fingerprint_of_folder,
    load_model,
    purposes_in_files,
)
from lslm_lightning.systems.hugging_face_scores import (
    best_beams,
    first_id,
    score_continuations,
    score_labels,
    score_text,
)
from lslm_lightning.text.hugging_face import NO_CODE, model_config
from lslm_lightning.types import JsonObject

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)
SAMPLING = (  # settings without effect on a search that does not sample
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "top_h",
    "typical_p",
    "epsilon_cutoff",
    "eta_cutoff",
)


class HuggingFaceSystem(Generator, Scorer):
    """Causal or sequence-to-sequence model of Hugging Face.

    Weights are read only from safetensors, and code from the model's repository is never run.

    A sequence-to-sequence model reads the source of an example. A causal model reads its question,
    in the model's chat template if there is one. A source that is too long is truncated at its end,
    a question at its beginning; the signature states the maximum number of tokens.

    Settings of `generation_config.json` that change answers (penalties, forced or suppressed
    tokens, ...) apply and are recorded. Its search settings are ignored, with a warning: the search
    is greedy, or a beam search with `n_beam` beams, and writes at most `max_new_tokens`.

    Args:
        path: a hub id, or a folder saved with `save_pretrained`, including the tokenizer.
        prefix: text before every source, such as "translate English to German: " for T5.
        n_beam: number of beams; 1 is greedy search.
        max_new_tokens: maximum number of tokens in an answer.
        batch_size: number of sources answered together.
        context: tokens per window when a text is scored; by default the model's maximum, at most
            1024.
        stride: number of tokens by which a window advances; by default half of `context`.
        device: "cpu", "cuda", "cuda:1"; "auto" uses a GPU if there is one.
        dtype: "float32", "bfloat16", ...; "auto" is float32 on a CPU and as saved on a GPU.
        allow_mismatch: answer an evaluation set of languages other than those stated in the model's
            files, as in those of Marian models.
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
        """Model and tokenizer.

        Raises:
            ValueError: the model cannot be used; the message is one line.
        """
        return load_model(self.path, self.device, self.dtype)

    def prepare(self, examples: Sequence[Example]) -> None:
        """Check that the model exists.

        Raises:
            ValueError: there is no such model, or transformers is not installed.
        """
        model_config(self.path)

    def purposes(self) -> list[Purpose]:
        """Return the languages stated in the tokenizer's files; empty if these state a group of
        languages.
        """
        return purposes_in_files(self.path)

    def fingerprint(self) -> str | None:
        """Return a digest of the names, sizes and modification times of the files in the folder;
        None for a hub id.
        """
        return fingerprint_of_folder(self.path)

    @property
    def reads_sources(self) -> bool:
        """True for a sequence-to-sequence model, which reads the source of an example; False for a
        causal model, which reads the question.
        """
        return self.loaded.reads_sources

    def generate(self, examples: Sequence[Example], n_best: int = 1) -> Iterator[Prediction]:
        """Yield one prediction per example; if `n_best` is above 1, with that many alternative
        answers.

        The search computes the log probability of an alternative, including the effect of forced
        tokens and penalties. A warning names the settings of `generation_config.json` that are
        ignored. See `contracts.Generator`.

        Raises:
            ValueError: `n_best` is below 1 or above `n_beam`.
        """
        if not 1 <= n_best <= max(1, self.n_beam):
            raise ValueError(
                f"n_best={n_best} must be at least 1 and at most n_beam={self.n_beam}; raise "
                "n_beam, or lower n_best"
            )
        if aside := self.set_aside:
            given = ", ".join(f"{name}={value!r}" for name, value in aside.items())
            search = "greedy search" if self.n_beam == 1 else f"{self.n_beam} beams"
            logger.warning(
                "%s: %s of generation_config.json is ignored: answers are of %s, max_new_tokens=%d",
                self.name,
                given,
                search,
                self.max_new_tokens,
            )
        for batch in by_length(examples, self.batch_size):
            yield from self._answer(batch) if n_best == 1 else self._n_best(batch, n_best)

    def cut_sources(self, examples: Sequence[Example]) -> tuple[int, str]:
        """Return the number of sources or questions that are truncated, and a sentence that
        explains why.

        See `System.cut_sources`.
        """
        if not self.longest:
            return 0, ""
        prompts = [self.loaded.prompt(e, self.prefix) for e in examples]
        ids = self.loaded.tokenizer(prompts, **self.loaded.tokenizer_options).input_ids
        end = "end" if self.reads_sources else "beginning"
        n_cut = sum(len(row) > self.longest for row in ids)
        return n_cut, f"questions have more than {self.longest:,} tokens and lost their {end}"

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
            # a forced end in the last position was not chosen by the model
            new = new[:, : self.max_new_tokens - 1]
        ends = (
            torch.isin(new, torch.tensor(self.loaded.end_ids, dtype=new.dtype, device=new.device))
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
        """Yield predictions whose `alternatives` are the `n_best` best beams."""
        began = perf_counter()
        given = self._read(batch)
        n_read = 1 if self.reads_sources else given["input_ids"].size(1)
        limits = {"num_beams": self.n_beam, "max_new_tokens": self.max_new_tokens, **NO_CODE}
        end_ids = self.loaded.end_ids
        lists = best_beams(self.loaded.model, given, limits, n_best, n_read, end_ids)
        seconds = (perf_counter() - began) / len(batch)
        decode = partial(self.loaded.tokenizer.decode, skip_special_tokens=True)
        for example, beams in zip(batch, lists, strict=True):
            ids, nats = beams[0]
            alternatives = [Alternative(str(decode(beam)).strip(), cost) for beam, cost in beams]
            yield Prediction(
                example.id,
                alternatives[0].output,
                nats,
                n_token=len(ids),
                seconds=seconds,
                alternatives=tuple(alternatives),
                finish_reason="stop" if ids[-1] in end_ids else "length",
            )

    def _read(self, batch: Sequence[Example]) -> dict[str, "Tensor"]:
        """Return padded `input_ids` and `attention_mask` (B, S) of the prompts, on the model's
        device.

        Prompts are truncated to `longest` tokens.
        """
        model, tokenizer = self.loaded
        tokenizer.padding_side = "right" if self.reads_sources else "left"
        tokenizer.truncation_side = tokenizer.padding_side
        limit = {} if self.longest is None else {"truncation": True, "max_length": self.longest}
        given = tokenizer(
            [self.loaded.prompt(e, self.prefix) for e in batch],
            return_tensors="pt",
            padding=True,
            **limit,
            **self.loaded.tokenizer_options,
        )
        return {name: given[name].to(model.device) for name in ("input_ids", "attention_mask")}

    @property
    def set_aside(self) -> JsonObject:
        """Settings of `generation_config.json` that are ignored, by name."""
        ours = {"do_sample": False, "num_beams": self.n_beam, "max_new_tokens": self.max_new_tokens}
        return {
            name: value
            for name, value in self.loaded.generation_settings.items()
            if name in (*SAMPLING, "max_length") or (name in ours and value != ours[name])
        }

    def log_prob(
        self, examples: Sequence[Example], answers: Answers | None = None
    ) -> Iterator[Prediction]:
        """Yield predictions with the negative log probability, in nats, of the first references
        under a causal model, or of `answers`.

        A text is scored in sliding windows, including the end of text if the tokenizer has one. An
        answer is scored after the input that `generate` reads for its example; see
        `contracts.Scorer`. A sequence-to-sequence model scores the labels that its tokenizer makes
        of an answer for training, followed by the end token.

        Raises:
            CannotError: a sequence-to-sequence model is given no `answers`.
            ValueError: an answer has more tokens than the decoder has positions.
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
            for passages in by_text(batch):
                yield from score_text(self.loaded, passages, self.context, self.stride)

    def _score_answers(self, pairs: Sequence[tuple[Example, str]]) -> list[Prediction]:
        """Return the predictions for answers after the inputs of their examples, in order."""
        model, tokenizer = self.loaded
        if self.reads_sources:
            return score_labels(model, tokenizer, pairs, self._read, self.batch_size)
        prompts = [
            self.loaded.prompt(e, self.prefix) if e.question or e.source else "" for e, _ in pairs
        ]
        given = tokenizer(prompts, **self.loaded.tokenizer_options).input_ids
        before = [ids or [first_id(tokenizer)] for ids in given]
        reach = (self.context, self.stride)
        return score_continuations(model, tokenizer, pairs, before, *reach, self.batch_size)

    @cached_property
    def longest(self) -> int | None:
        """Maximum number of input tokens; None if there is no limit.

        A causal model needs room for `max_new_tokens` after its input.

        Raises:
            ValueError: there is no room for an input.
        """
        positions = self.loaded.positions
        if positions is None or self.reads_sources:
            return positions
        if positions <= self.max_new_tokens:
            raise ValueError(
                f"max_new_tokens={self.max_new_tokens} of {self.path} leaves no room for a "
                f"question in its {positions} positions; "
                f"{positions // 2} leaves half"
            )
        return positions - self.max_new_tokens

    @property
    def context(self) -> int:
        """Number of tokens per window when a text is scored."""
        return min(self.given_context or 1024, self.loaded.positions or 1024)

    @property
    def stride(self) -> int:
        """Number of tokens by which a window advances when a text is scored."""
        return min(self.given_stride or max(1, self.context // 2), self.context)

    def signature(self, mode: Mode) -> str:
        """Return the parts of a score's signature that describe how the model answers in this mode.

        For "generate", they state the maximum number of input tokens; for "log_prob", the windows
        and the tokenizer.
        """
        if mode == "generate":
            return "" if self.longest is None else f"|source:{self.longest}"
        tokens = self.loaded.vocabulary_digest()
        return f"|context:{self.context}|stride:{self.stride}|tokens:{tokens}"

    def info(self) -> JsonObject:
        """Return facts about the model: its size, search and generation settings."""
        weights = list(self.loaded.model.parameters())
        aside = self.set_aside
        settings = self.loaded.generation_settings
        applied = {name: value for name, value in settings.items() if name not in aside}
        return {
            "n_parameter": sum(p.numel() for p in weights),
            "memory_bytes": sum(p.numel() * p.element_size() for p in weights),
            "search": "greedy" if self.n_beam == 1 else "beam",
            "weights": self.path,
            "limit": f"max_new_tokens={self.max_new_tokens}",
            **({"generation_config": plain(applied)} if applied else {}),
            **({"generation_config_set_aside": plain(aside)} if aside else {}),
        }


def plain(settings: JsonObject) -> JsonObject:
    """Return the settings with every value converted to a type that JSON has."""
    return dict(json.loads(json.dumps(settings, default=str)))
