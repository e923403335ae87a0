"""A language model of any kind: it gives texts their probability and continues them."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from lslm_lightning.contracts import Example, Prediction
from lslm_lightning.decoding import Decoded, Sampling, Search
from lslm_lightning.training.batches import padded
from lslm_lightning.training.checks import check_lengths
from lslm_lightning.training.scoring import TextScorer
from lslm_lightning.training.task import Task

SAMPLING = Sampling(temperature=0.8, top_p=0.95)


class LanguageModel(TextScorer, Task):
    """Words after words.

    Args:
        search: how texts are continued.
        max_length: new tokens in a continuation.
        min_length: a continuation does not end before so many.
    """

    # the most tokens that it reads of a text; None where there is no such limit
    reach: int | None = None

    def __init__(
        self,
        *args: Any,
        search: Search = SAMPLING,
        max_length: int = 200,
        min_length: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        check_lengths(min_length, max_length)
        self.search = search
        self.max_length = max_length
        self.min_length = min_length

    @abstractmethod
    def step(self, ids: Tensor, state: Any, shared: Any) -> tuple[Tensor, Any]:
        """As a search wants it; see `decoding.search.Step`."""

    # Generation

    @torch.no_grad()
    def continue_rows(
        self,
        prompts: Sequence[Sequence[int]],
        max_length: int,
        min_length: int = 0,
        generator: torch.Generator | None = None,
    ) -> Decoded:
        """What `search` writes after prompts (ids that begin with `</s>`) of any lengths, in one
        go.
        """
        start = padded(prompts, self.tokenizer.pad_id).to(self.device)
        length = torch.tensor([len(p) for p in prompts], device=self.device)
        limits = (max_length, min(max(0, min_length), max_length))
        keywords = {"start_length": length, "agree": self.agree, "generator": generator}
        return self.search(self.step, start, (), self.tokenizer.eos_id, *limits, **keywords)

    def generate(self, examples: Sequence[Example]) -> Iterator[Prediction]:
        """A continuation of each example's source."""
        began = perf_counter()
        prompts = [
            [self.tokenizer.eos_id, *ids]
            for ids in self.tokenizer.encode_batch([e.source for e in examples])
        ]
        answers = self.continue_far(prompts, self.max_length)
        seconds = (perf_counter() - began) / max(1, len(examples))
        for example, ids in zip(examples, answers, strict=True):
            finish = "stop" if ids[-1:] == [self.tokenizer.eos_id] else "length"
            yield Prediction(
                example.id,
                self.tokenizer.decode(ids),
                n_token=len(ids),
                seconds=seconds,
                finish_reason=finish,
            )

    def continue_far(self, prompts: Sequence[Sequence[int]], max_length: int) -> list[list[int]]:
        """Continuations that may leave the reach behind: from where it is full, the model goes on
        with the later half of it.
        """
        reach = self.reach or max(map(len, prompts), default=0) + max_length
        seed = getattr(self.search, "seed", None)
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        rows = [list(prompt) for prompt in prompts]
        going = list(range(len(prompts)))
        while going:
            windows = [
                rows[i] if len(rows[i]) <= reach else rows[i][-max(1, reach // 2) :] for i in going
            ]
            written = len(rows[going[0]]) - len(prompts[going[0]])  # as much by each that goes on
            room = min(reach + 1 - max(map(len, windows)), max_length - written)
            decoded = self.continue_rows(
                windows, max_length=room, min_length=self.min_length - written, generator=generator
            )
            for i, ids, n in zip(
                going, decoded.ids.tolist(), decoded.n_token.tolist(), strict=True
            ):
                rows[i] += ids[:n]
            going = (
                [i for i in going if rows[i][-1] != self.tokenizer.eos_id]
                if written + room < max_length
                else []
            )
        return [row[len(prompt) :] for row, prompt in zip(rows, prompts, strict=True)]
