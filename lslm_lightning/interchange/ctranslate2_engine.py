"""CTranslate2 as an engine: searches and probabilities of a model in its format.

Axes: B rows, m answers of each row, T time.
"""

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from lslm_lightning.adapters import merged
from lslm_lightning.decoding import Beam, Decoded, Greedy, Search
from lslm_lightning.decoding.engine import InferenceEngine
from lslm_lightning.interchange.ctranslate2_files import check_installed, write_model
from lslm_lightning.interchange.ctranslate2_stopping import Answer, first_end, last_step
from lslm_lightning.interchange.parts import read_parts
from lslm_lightning.interchange.verification import AnyTask, logits_of_pairs, writing
from lslm_lightning.training.sequence_to_sequence import SequenceToSequenceTask
from lslm_lightning.types import JsonObject

NO_PENALTY = 1e-9  # length ** this is 1 in float32; at 0 they end at the first answer
PATIENCE = 3.0  # answers for each beam that a search finds before it is asked where it stops
EMPTY = Answer([], 0.0)
TEXTS_AT_ONCE = 32  # texts that are scored together


def search_options(search: Search) -> JsonObject:
    """Return the options of CTranslate2 for a search.

    Raises:
        ValueError: it has no search like it.
    """
    if type(search) is Greedy:
        options: JsonObject = {"beam_size": 1, "length_penalty": 0.0}
    elif type(search) is Beam:
        options = {
            "beam_size": search.beam_size,
            "length_penalty": search.length_penalty or NO_PENALTY,
        }
    else:
        raise ValueError(
            f"search={type(search).__name__} is no search of the engine ctranslate2; take Greedy "
            "or Beam"
        )
    if search.no_repeat_ngram:
        options["no_repeat_ngram_size"] = search.no_repeat_ngram
    return options


class CTranslate2Engine(InferenceEngine):
    """Model in a folder in the format of CTranslate2.

    Args:
        folder: folder with model.bin, config.json and the vocabulary.
        dtype: type of the weights.
        eos_id: id that ends an answer.
        device: "cpu" or "cuda".

    Raises:
        ValueError: it cannot be read.

    Attributes:
        task: task that answers sources without tokens, which CTranslate2 does not read; None to
            answer them with nothing.
    """

    name = "ctranslate2"

    def __init__(self, folder: Path, dtype: str, eos_id: int, device: str = "cpu") -> None:
        import ctranslate2

        self.version = ctranslate2.__version__
        self.dtype = dtype
        self.eos_id = eos_id
        self.task: AnyTask | None = None
        self.n_byte = (folder / "model.bin").stat().st_size
        tokens = folder / "vocabulary.json"
        self.is_causal = tokens.is_file()
        if not self.is_causal:
            tokens = folder / "shared_vocabulary.json"
        self.tokens: list[str] = json.loads(tokens.read_text("utf-8"))
        self.ids = {token: index for index, token in enumerate(self.tokens)}
        config = json.loads((folder / "config.json").read_text("utf-8"))
        self.bos_id = self.ids[config["bos_token"]]
        kind = ctranslate2.Generator if self.is_causal else ctranslate2.Translator
        is_rounded = dtype in ("float16", "bfloat16")
        computed = "float32" if is_rounded and device == "cpu" else "default"
        threads = torch.get_num_threads()
        try:
            self.model = kind(
                str(folder), device=device, compute_type=computed, intra_threads=threads
            )
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"CTranslate2 cannot read the model on {device}: {error}") from None

    @classmethod
    def of_task(cls, task: nn.Module, dtype: str, device: str = "cpu") -> Self:
        check_installed()
        made = writing(merged(task) if getattr(task, "adapter", None) is not None else task)
        parts = read_parts(made)
        with tempfile.TemporaryDirectory(prefix="lslm-ctranslate2-") as folder:
            write_model(made, parts, dtype, Path(folder))
            engine = cls(Path(folder), dtype, made.tokenizer.eos_id, device)
        engine.task = made
        return engine

    def check_search(self, search: Search, min_length: int = 0) -> None:
        search_options(search)
        n_repeat = search.no_repeat_ngram
        settings = {"no_repeat_ngram": n_repeat, "min_length": min_length}
        if isinstance(search, Beam):
            for name, value in settings.items():
                if value:
                    raise ValueError(
                        f"{name}={value} has another meaning in the beam search of the engine "
                        "ctranslate2: it gives the probability of the tokens that are not allowed "
                        "to the others; leave it out, or take Greedy"
                    )
        if n_repeat and self.is_causal:
            raise ValueError(
                f"no_repeat_ngram={n_repeat} of a language model counts the prompt, and the engine "
                "ctranslate2 does not; leave it out"
            )

    def named(self, rows: Sequence[Sequence[int]]) -> list[list[str]]:
        """Return the tokens of rows of ids."""
        return [[self.tokens[index] for index in row] for row in rows]

    def find_answers(
        self,
        rows: Sequence[Sequence[int]],
        search: Search,
        max_length: int,
        min_length: int = 0,
        n_best: int = 1,
        generator: torch.Generator | None = None,
    ) -> Decoded:
        self.check_search(search, min_length)
        found = self.all_answers(
            [row for row in rows if not self.is_empty(row)], search, max_length, min_length, n_best
        )
        rest = iter(found)
        whole = [
            self.answers_to_nothing(row, search, max_length, min_length, n_best)
            if self.is_empty(row)
            else next(rest)
            for row in rows
        ]
        flat = [each for own in whole for each in (own + [EMPTY] * n_best)[:n_best]]
        return decoded(flat, getattr(search, "length_penalty", 0.0), self.eos_id)

    def is_empty(self, row: Sequence[int]) -> bool:
        """Return whether a row is a source of special tokens alone, which CTranslate2 does not
        read.
        """
        is_special = set(row) <= {self.bos_id, self.eos_id}
        return not self.is_causal and is_special and self.task is not None

    def answers_to_nothing(
        self, row: Sequence[int], search: Search, max_length: int, min_length: int, n_best: int
    ) -> list[Answer]:
        """Return the answers of our own task to a source of special tokens, the best first."""
        assert isinstance(self.task, SequenceToSequenceTask)
        own = copy(self.task)
        own.engine = None
        own.min_length = min_length
        source = torch.tensor([list(row)], device=own.device)
        found = own.decode(source, search, max_length, n_best)
        answers = zip(found.ids.tolist(), found.n_token.tolist(), found.score.tolist(), strict=True)
        return [Answer(ids[:n], score) for ids, n, score in answers if n]

    def all_answers(
        self,
        rows: Sequence[Sequence[int]],
        search: Search,
        max_length: int,
        min_length: int,
        n_best: int,
    ) -> list[list[Answer]]:
        """Return the answers to each row, the best first, in the order of our search."""
        if not rows:
            return []
        if isinstance(search, Beam) and search.beam_size > 1 and not search.early_stopping:
            return self.answers_to_the_end(rows, search, max_length)
        options = search_options(search)
        return self.raw_answers(rows, options, max_length, min_length, n_best)

    def answers_to_the_end(
        self, rows: Sequence[Sequence[int]], search: Beam, max_length: int
    ) -> list[list[Answer]]:
        """Return the answers that have ended when our search stops, the best first.

        It is continued for longer where it would not have stopped yet.
        """
        answers: list[list[Answer]] = [[] for _ in rows]
        left = list(range(len(rows)))
        patience = PATIENCE
        while left:
            options = search_options(search) | {"patience": patience}
            n_best = round(search.beam_size * patience)
            own_rows = [rows[i] for i in left]
            found = self.raw_answers(own_rows, options, max_length, 0, n_best)
            beginnings = self.log_p_of_beginnings(own_rows, found, search.beam_size)
            undecided = []
            for i, own, log_p in zip(left, found, beginnings, strict=True):
                n = last_step(own, log_p, search.beam_size, search.length_penalty, max_length)
                if n is None and patience < max_length:  # beyond, it has searched to the end
                    undecided.append(i)
                else:
                    last = max_length if n is None else n
                    answers[i] = [each for each in own if len(each.ids) <= last]
            left = undecided
            patience *= 2
        return answers

    def log_p_of_beginnings(
        self, rows: Sequence[Sequence[int]], found: Sequence[list[Answer]], beam_size: int
    ) -> list[list[np.ndarray | None]]:
        """Return, for each answer to each row, the log p of its first 1, 2, ... tokens; None if it
        ended no later than `first_end`.
        """
        owners = [
            (i, k)
            for i, own in enumerate(found)
            for k, answer in enumerate(own)
            if len(answer.ids) > first_end(own, beam_size)
        ]
        beginnings: list[list[np.ndarray | None]] = [[None] * len(own) for own in found]
        if not owners:
            return beginnings
        texts = [found[i][k].ids for i, k in owners]
        whole = [ids if ids[-1] == self.eos_id else [*ids, self.eos_id] for ids in texts]
        sources = [rows[i] for i, _ in owners]
        if self.is_causal:
            joined = [[*row, *ids] for row, ids in zip(sources, whole, strict=True)]
            nats = self.nats(joined)
        else:
            nats = self.nats(sources, [[self.eos_id, *ids] for ids in whole])
        for (i, k), ids, values in zip(owners, whole, nats, strict=True):
            beginnings[i][k] = -np.cumsum(values[len(values) - len(ids) :])
        return beginnings

    def raw_answers(
        self,
        rows: Sequence[Sequence[int]],
        options: JsonObject,
        max_length: int,
        min_length: int,
        n_best: int,
    ) -> list[list[Answer]]:
        """Return at most `n_best` answers of CTranslate2 to each row, the best first."""
        if self.is_causal and len({len(row) for row in rows}) > 1:  # it would repeat the prompts
            return self.by_length(rows, options, max_length, min_length, n_best)
        given: JsonObject = {
            **options,
            "num_hypotheses": n_best,
            "return_scores": True,
            "return_end_token": True,
        }
        with errors_told():
            if self.is_causal:
                limits = {"max_length": max_length, "min_length": min_length}
                results = self.model.generate_batch(
                    self.named(rows), include_prompt_in_result=False, **limits, **given
                )
            else:
                results = self.model.translate_batch(
                    self.named(rows),
                    max_input_length=0,
                    max_decoding_length=max_length,
                    min_decoding_length=min_length,
                    **given,
                )
        return [
            [
                Answer([self.ids[token] for token in text], score)
                for text, score in zip(
                    result.sequences if self.is_causal else result.hypotheses,
                    result.scores,
                    strict=True,
                )
            ]
            for result in results
        ]

    def by_length(
        self, rows: Sequence[Sequence[int]], options: JsonObject, *limits: int
    ) -> list[list[Answer]]:
        """Return the answers to each row, of which those of one length are asked for together.

        Args:
            limits: the other arguments of `raw_answers`.
        """
        found: dict[int, list[Answer]] = {}
        for length in {len(row) for row in rows}:
            group = [i for i, row in enumerate(rows) if len(row) == length]
            own = self.raw_answers([rows[i] for i in group], options, *limits)
            found |= zip(group, own, strict=True)
        return [found[i] for i in range(len(rows))]

    def nats(
        self, rows: Sequence[Sequence[int]], targets: Sequence[Sequence[int]] | None = None
    ) -> list[np.ndarray]:
        options: JsonObject = {"max_batch_size": TEXTS_AT_ONCE, "max_input_length": 0}
        inner = [] if targets is None else [self.named([row[1:-1] for row in targets])]
        with errors_told():
            results = self.model.score_batch(self.named(rows), *inner, **options)
        return [-np.array(result.log_probs, np.float64) for result in results]

    def logits(self, source: Tensor, target: Tensor) -> Tensor:
        """Return the logits (1, T, V) after each of `target` (1, T), given a source (1, S) unless
        it is a language model.
        """
        [ids] = target.tolist()
        if self.is_causal:
            return torch.tensor(np.array(self.model.forward_batch([ids])))
        if self.is_empty(source[0].tolist()):
            assert isinstance(self.task, SequenceToSequenceTask)
            return logits_of_pairs(self.task, source, target)
        [result] = self.model.translate_batch(
            self.named(source.tolist()),
            self.named([ids[1:]]),
            beam_size=1,
            max_input_length=0,
            max_decoding_length=len(ids),
            min_decoding_length=0,
            return_logits_vocab=True,
        )
        return torch.tensor(np.stack([np.array(each) for each in result.logits[0]]))[None]


@contextmanager
def errors_told() -> Iterator[None]:
    """Turn errors of CTranslate2, such as a text longer than its positions, into ValueError."""
    try:
        yield
    except RuntimeError as error:
        raise ValueError(f"CTranslate2 cannot answer: {error}") from None


def decoded(answers: Sequence[Answer], length_penalty: float, eos_id: int) -> Decoded:
    """Return answers as those of our searches.

    Args:
        answers: answers to all rows, equally many to each.
        length_penalty: exponent of the length in their scores.
        eos_id: id that fills the end of a row.
    """
    n_token = torch.tensor([len(answer.ids) for answer in answers])
    ids = torch.full((len(answers), max(1, int(n_token.max()))), eos_id)
    for row, answer in zip(ids, answers, strict=True):
        row[: len(answer.ids)] = torch.tensor(answer.ids, dtype=torch.int64)
    score = torch.tensor([answer.score for answer in answers])
    return Decoded(ids, n_token, score, score * n_token.float() ** length_penalty)
