"""Trained runs as models of lm_eval, EleutherAI's Language Model Evaluation Harness.

As a module, it is lm_eval's own command line with one more model, `lslm`:

    python -m lslm_lightning.integrations.lm_eval run --model lslm --model_args run=RUN --tasks NAME

Shapes: B requests, T tokens, V vocabulary.
"""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from lslm_lightning.decoding import Greedy
from lslm_lightning.devices import usable_device
from lslm_lightning.extras import MissingPackageError
from lslm_lightning.interchange.verification import logits_of_pairs
from lslm_lightning.models.heads import upcast_to_float32
from lslm_lightning.runs import load_run
from lslm_lightning.training.batches import padded
from lslm_lightning.training.causal import CausalTask
from lslm_lightning.training.sequence_to_sequence import SequenceToSequenceTask

try:
    from lm_eval.api.model import TemplateLM
    from lm_eval.api.registry import register_model
    from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs
    from lm_eval.models.utils import postprocess_generated_text as cut_at_stops
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
except ImportError as error:
    raise MissingPackageError("lm_eval", "lslm_lightning.integrations.lm_eval") from error

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance

log = logging.getLogger(__name__)

MAX_LENGTH = 2048  # tokens at a time that a model without a limit of its own reads
N_NEW = 256  # most new tokens of an answer, where a task does not say
UNSUPPORTED = {"num_beams", "repetition_penalty", "no_repeat_ngram_size", "length_penalty"}


class ScoringRequest(NamedTuple):
    """Continuation to score: its text and context, and the ids of both."""

    texts: tuple[str, str]
    context: list[int]
    continuation: list[int]

    @property
    def n_id(self) -> int:
        """Number of ids of the context and the continuation."""
        return len(self.context) + len(self.continuation)


@register_model("lslm")
class RunModel(TemplateLM):
    """Trained run of a language model, or of a model that reads one text and writes another, as a
    model of lm_eval.

    Log-likelihoods are those of lm_eval's model `hf` on the exported run, with the same settings.
    A language model reads `</s>` before each context. Sources that are longer than the model reads
    lose their beginning, as lm_eval does it.

    >>> model = RunModel("runs/language_modeling/docstrings_demo-1a2b3c4d")
    >>> lm_eval.simple_evaluate(model=model, tasks=["lambada_openai"])

    Args:
        run: a run directory, a checkpoint in one, an MLflow run id, `models:/NAME@best`, or a
            pattern, which stands for the newest run that matches.
        batch_size: number of requests that the model reads together.
        device: "cpu", "cuda", "cuda:1"; "auto" uses a GPU if there is one.
        dtype: type of the weights: "float32", "float64", "bfloat16", "float16"; "auto" leaves them
            as they are.
        add_bos_token: whether `</s>` precedes the context of a language model; None is yes. With
            it, `loglikelihood_rolling`, which has a `</s>` of its own, counts a second one as part
            of the text, as lm_eval does for all such tokenizers; False leaves it out.
        max_batch_size: not used; lm_eval's command line passes it.
        trust: allow the run's config to name any class.

    Raises:
        ValueError: there is no such run, it is of another kind of task, or a setting is wrong.
    """

    def __init__(
        self,
        run: str,
        batch_size: int | str = 16,
        device: str = "auto",
        dtype: str = "auto",
        add_bos_token: bool | None = None,
        max_batch_size: int | None = None,
        trust: bool = False,
    ) -> None:
        super().__init__()
        loaded = load_run(run, trust=trust)
        task = loaded.task
        if not isinstance(task, CausalTask | SequenceToSequenceTask):
            raise ValueError(
                f"run={run}: {type(task).__name__} is no language model, and reads no text to "
                "write another, so that lm_eval has nothing to ask it"
            )
        if not str(batch_size).isdecimal() or int(batch_size) < 1:
            raise ValueError(f"batch_size={batch_size} must be a number, at least 1")
        self.batch_size = int(batch_size)
        self.run = loaded.directory
        self._device = torch.device(usable_device(device or "auto"))
        task = task.eval().to(self._device)
        self.task = task if dtype == "auto" else task.to(dtype_named(dtype))
        self.backend = "causal" if isinstance(task, CausalTask) else "seq2seq"
        self.has_start = self.backend == "causal" and add_bos_token is not False

    @property
    def eot_token_id(self) -> int:
        """Id of `</s>`, with which a text ends, and the context of a language model begins."""
        return self.task.tokenizer.eos_id

    @property
    def max_length(self) -> int:
        """Largest number of tokens that the model reads."""
        limit = self.task.max_context if isinstance(self.task, CausalTask) else None
        return limit or self.task.backbone.max_positions or MAX_LENGTH

    @property
    def tokenizer_name(self) -> str:
        """Name of the run, with which lm_eval marks the requests that it keeps."""
        return self.run.path.name

    def get_model_info(self) -> Mapping[str, object]:
        """Return what lm_eval records of the model."""
        return {
            "model_num_parameters": sum(weight.numel() for weight in self.task.parameters()),
            "model_dtype": str(next(self.task.parameters()).dtype),
            "model_run": str(self.run.path),
        }

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **settings: object
    ) -> list[int]:
        """Return the ids of a text.

        Args:
            add_special_tokens: False leaves out `</s>` before the context of a language model, and
                behind the source of another; None is the choice of `add_bos_token`.
        """
        [ids] = self.task.tokenizer.encode_batch([string])
        if self.backend != "causal":
            return [*ids] if add_special_tokens is False else [*ids, self.eot_token_id]
        is_framed = self.has_start if add_special_tokens is None else add_special_tokens
        return [self.eot_token_id, *ids] if is_framed else [*ids]

    def loglikelihood_rolling(
        self, requests: "Sequence[Instance]", disable_tqdm: bool = False
    ) -> list[float]:
        """Return the log probability of each text, read in windows that do not overlap."""
        windows: list[ScoringRequest] = []
        owners: list[int] = []
        for i, request in enumerate(requests):
            [text] = request.args
            rolling = get_rolling_token_windows(
                token_list=self.tok_encode(text),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length,
                context_len=1,
            )
            for context, continuation in map(make_disjoint_window, rolling):
                windows.append(ScoringRequest(("", ""), context, continuation))
                owners.append(i)
        sums = [0.0] * len(requests)
        found = self._loglikelihood_tokens(windows, disable_tqdm)
        for owner, (log_p, _) in zip(owners, found, strict=True):
            sums[owner] += log_p
        for request, log_p in zip(requests, sums, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, log_p)
        return sums

    @torch.no_grad()
    def _loglikelihood_tokens(
        self,
        requests: Sequence[tuple[tuple[str, str], list[int], list[int]]],
        disable_tqdm: bool = False,
        **settings: object,
    ) -> list[tuple[float, bool]]:
        """Return, for each request, the log probability of the continuation, and whether greedy
        search finds it.

        Raises:
            ValueError: a continuation is longer than the model reads.
        """
        asked = [ScoringRequest(*request) for request in requests]
        for request in asked:
            if len(request.continuation) > self.max_length:
                raise ValueError(
                    f"a continuation has {len(request.continuation)} tokens, and the model reads "
                    f"{self.max_length}: {request.texts[1][:60]!r}"
                )
        order = sorted(range(len(asked)), key=lambda i: -asked[i].n_id)
        found: dict[int, tuple[float, bool]] = {}
        with tqdm(total=len(asked), disable=disable_tqdm, desc="log-likelihoods") as bar:
            for at in range(0, len(order), self.batch_size):
                chunk = order[at : at + self.batch_size]
                found |= zip(chunk, self._scored([asked[i] for i in chunk]), strict=True)
                for i in chunk:
                    if any(asked[i].texts):
                        self.cache_hook.add_partial("loglikelihood", asked[i].texts, found[i])
                bar.update(len(chunk))
        return [found[i] for i in range(len(asked))]

    def _scored(self, requests: Sequence[ScoringRequest]) -> list[tuple[float, bool]]:
        """Return the log probability of each continuation, and whether it is greedy, of requests
        that are read together.
        """
        task, longest = self.task, self.max_length
        if isinstance(task, CausalTask):
            rows = [[*r.context, *r.continuation][-longest - 1 : -1] for r in requests]
            logits = task.logits(self._padded(rows))
            ends = [len(row) for row in rows]
        else:
            sources = self._padded([r.context[-longest:] for r in requests])
            rows = [[task.tokenizer.bos_id, *r.continuation[:-1]] for r in requests]
            logits = logits_of_pairs(task, sources, self._padded(rows))
            ends = [len(r.continuation) for r in requests]
        results = []
        for request, row, end in zip(requests, logits, ends, strict=True):
            target = torch.tensor(request.continuation, device=row.device)
            scores = upcast_to_float32(row[end - len(target) : end]).log_softmax(-1)
            log_p = scores.gather(1, target[:, None]).sum()
            results.append((float(log_p), bool((scores.argmax(-1) == target).all())))
        return results

    def generate_until(
        self, requests: "Sequence[Instance]", disable_tqdm: bool = False
    ) -> list[str]:
        """Return the greedy continuation of each context, cut where a stop sequence begins.

        Raises:
            ValueError: a task asks for sampling or for another search.
        """
        groups: dict[int, list[int]] = defaultdict(list)
        settings = [self._settings_of(request) for request in requests]
        for i, (n_new, _) in enumerate(settings):
            groups[n_new].append(i)
        answers: dict[int, str] = {}
        with tqdm(total=len(requests), disable=disable_tqdm, desc="generation") as bar:
            for n_new, members in groups.items():
                for at in range(0, len(members), self.batch_size):
                    chunk = members[at : at + self.batch_size]
                    texts = self._written([requests[i].args[0] for i in chunk], n_new)
                    for i, text in zip(chunk, texts, strict=True):
                        answers[i] = cut_at_stops(text, settings[i][1], None)
                        self.cache_hook.add_partial("generate_until", requests[i].args, answers[i])
                    bar.update(len(chunk))
        return [answers[i] for i in range(len(requests))]

    def _settings_of(self, request: "Instance") -> tuple[int, list[str]]:
        """Return the most new tokens and the stop sequences that a task asks for.

        Raises:
            ValueError: the task asks for sampling or for another search.
        """
        given = normalize_gen_kwargs(dict(request.args[1]), N_NEW)
        stops = handle_stop_sequences(given.pop("until", None), eos=None)
        n_new = int(given.pop("max_gen_toks"))
        unknown = sorted(UNSUPPORTED & given.keys())
        if given.get("do_sample"):
            unknown.append("do_sample")
        if unknown:
            raise ValueError(
                f"the task asks for {', '.join(unknown)}, and runs answer lm_eval by greedy "
                "search; set do_sample=False in its generation_kwargs, or give --gen_kwargs "
                "do_sample=False"
            )
        if n_new >= self.max_length and self.backend == "causal":
            raise ValueError(
                f"max_gen_toks={n_new} must be below the {self.max_length} tokens that the model "
                f"reads; give --gen_kwargs max_gen_toks={self.max_length // 2}"
            )
        return n_new, stops

    @torch.no_grad()
    def _written(self, contexts: Sequence[str], n_new: int) -> list[str]:
        """Return the greedy continuations of contexts, of at most `n_new` tokens."""
        task, search = self.task, Greedy()
        longest = self.max_length - (n_new if self.backend == "causal" else 0)
        prompts = [self.tok_encode(context)[-longest:] for context in contexts]
        if isinstance(task, CausalTask):
            start = self._padded(prompts)
            length = torch.tensor(list(map(len, prompts)), device=self._device)
            found = search(task.step, start, (), self.eot_token_id, n_new, prefix_length=length)
        else:
            found = task.decode(self._padded(prompts), search, n_new)
        rows = zip(found.ids.tolist(), found.n_token.tolist(), strict=True)
        return [task.tokenizer.decode(ids[:n]) for ids, n in rows]

    def _padded(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """Return rows of ids as one tensor (B, longest) on the device of the model."""
        return padded(rows, self.task.tokenizer.pad_id).to(self._device)


def dtype_named(name: str) -> torch.dtype:
    """Return the type of numbers of a name.

    Raises:
        ValueError: there is none.
    """
    dtype = getattr(torch, name.removeprefix("torch."), None)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ValueError(f"dtype={name} must be float32, float64, bfloat16, float16 or auto")
    return dtype


if __name__ == "__main__":
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()
