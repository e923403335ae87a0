"""Models that write the answers to many requests token by token in running batches."""

import heapq
import logging
from collections import OrderedDict, deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from time import monotonic
from typing import cast

import torch

from lslm_lightning.decoding.beam import Beam
from lslm_lightning.decoding.running import RunningBatch, StepwiseBatch
from lslm_lightning.decoding.running_beams import BeamBatch
from lslm_lightning.decoding.search import reorder
from lslm_lightning.decoding.stepwise import Stepwise
from lslm_lightning.runs.loading import LoadedRun
from lslm_lightning.serving.prompts import Echo, SourceReader, reader_of
from lslm_lightning.serving.protocol import (
    Answered,
    AnswerRequest,
    EngineRequest,
    Event,
    Refusal,
    ScoredAnswer,
    ScoredAnswers,
    ScoreRequest,
    ServedAnswer,
    ServingError,
)
from lslm_lightning.serving.served_model import ServedModel, one_line, refusal
from lslm_lightning.serving.writing import Limits, WaitingJob, Writing
from lslm_lightning.training.task import Task

logger = logging.getLogger(__name__)
PROMPT_TOKENS = 4096  # padding included, of prompts that are read in one call
POSITIONS = 2**19  # most positions of all rows of a model's batches, padding included


class StepwiseModel(ServedModel):
    """Model of token-by-token answers. Requests join and leave its running batches at every token.

    Args:
        name: name by which requests call it.
        run: reference of the run, as the user gave it.
        loaded: run with its weights on the device.
        n_row: most rows of all batches: answers, or hypotheses of beam searches.
    """

    def __init__(self, name: str, run: str, loaded: LoadedRun, n_row: int) -> None:
        self.reader: SourceReader = reader_of(cast(Task, loaded.task), loaded.tokenizer)
        super().__init__(name, run, loaded)
        self.most_rows = n_row
        # all by id of the request, so that no step looks at requests that wait for their turn
        self._writings: dict[int, Writing] = {}
        self._active: dict[int, Writing] = {}  # of which a job is or was in a batch
        self._waiting: OrderedDict[int, deque[WaitingJob]] = OrderedDict()
        self._deadlines: list[tuple[float, int]] = []  # heap; those of ended requests stay a while
        self._direct: OrderedDict[int, tuple[EngineRequest, Generator[None, None, Event | None]]]
        self._direct = OrderedDict()
        self._batches: dict[Beam | None, RunningBatch] = {}
        self._n_position = 0

    def abilities(self) -> Iterator[str]:
        yield from ("generate", "sample", "beam", "stream", "stop")
        yield from self.reader.abilities()

    @property
    def n_waiting(self) -> int:
        return len(self._waiting) + len(self._direct)

    @property
    def n_running(self) -> int:
        return len(self._writings) - len(self._waiting)

    @property
    def is_busy(self) -> bool:
        return bool(self._writings or self._direct)

    @property
    def n_row(self) -> int:
        return sum(batch.n_row for batch in self._batches.values())

    def take(self, request: EngineRequest) -> None:
        deadline = monotonic() + request.max_seconds
        if isinstance(request, ScoreRequest):
            self._direct[request.id] = (request, self._scores(request, deadline))
            return
        assert isinstance(request, AnswerRequest)
        if request.echo:
            self.reader.check_echo(request)
        if request.echo and request.settings.max_length == 0:
            self._direct[request.id] = (request, self._echoed(request, deadline))
            return
        with self.set_up(request.settings, request.best_of) as limits:
            pass
        if isinstance(limits.search, Beam):
            check_beam(request)
        if self.needed_rows(limits.search, request.best_of) > self.most_rows:
            raise ServingError(
                f"beam_size or best_of asks for more than the {self.most_rows} rows that this "
                "server computes at once; ask for fewer",
                "invalid",
            )
        if request.echo:
            self._direct[request.id] = (request, self._echoed(request, deadline, limits))
        else:
            self._begin(self.reader.writing(request, limits, self.example), deadline)

    def _begin(self, writing: Writing, deadline: float) -> None:
        """Let the answers to a request wait for room.

        Args:
            deadline: end of the time of the request.
        """
        writing.deadline = deadline
        request = writing.request
        jobs = writing.start()
        self._writings[request.id] = writing
        heapq.heappush(self._deadlines, (writing.deadline, request.id))
        self._wait(writing, jobs)

    def _wait(self, writing: Writing, jobs: Sequence[WaitingJob]) -> None:
        """Let the jobs of a request wait for room, behind those of all others."""
        id = writing.request.id
        if jobs:
            self._active.pop(id, None)
            self._waiting[id] = deque(jobs)
        else:  # its answers need no model
            self._active[id] = writing

    @staticmethod
    def needed_rows(search: object, n: int) -> int:
        """Return the number of rows of a search for `n` answers."""
        return search.beam_size if isinstance(search, Beam) else n

    def cancel(self, id: int) -> None:
        self._direct.pop(id, None)
        if (writing := self._writings.get(id)) is not None:
            writing.cancel()
            self._forget(id)

    def _forget(self, id: int) -> None:
        """Drop what is known of a request whose answers are written token by token."""
        self._writings.pop(id, None)
        self._active.pop(id, None)
        self._waiting.pop(id, None)

    def work(self) -> list[Event]:
        return [*self._direct_step(), *self._write()]

    def fail(self, message: str) -> list[Event]:
        ids = [*self._writings, *self._direct]
        self._writings.clear()
        self._active.clear()
        self._waiting.clear()
        self._deadlines.clear()
        self._direct.clear()
        self._batches.clear()
        return [Refusal(id, message, "internal") for id in ids]

    def _direct_step(self) -> list[Event]:
        """Do a part of a request that writes no tokens, in turn with the others: a text that is
        scored, or a window of a prompt that is echoed.
        """
        if not self._direct:
            return []
        request, steps = next(iter(self._direct.values()))
        try:
            next(steps)
            self._direct.move_to_end(request.id)
            return []
        except StopIteration as end:
            found: Event | None = end.value
        except ServingError as error:
            found = refusal(request, error)
        except Exception as error:  # of a task's own code; the other requests go on
            logger.exception("request %d failed", request.id)
            found = Refusal(request.id, one_line(error), "internal")
        del self._direct[request.id]
        return [] if found is None else [found]

    def _scores(self, request: ScoreRequest, deadline: float) -> Generator[None, None, Event]:
        """Return the log p of each answer of a request. Yield between them."""
        scores: list[ScoredAnswer] = []
        for answer in request.answers:
            scores += self.score(replace(request, answers=(answer,))).answers
            yield
            check_time(request, deadline)
        return ScoredAnswers(request.id, tuple(scores))

    def _echoed(
        self, request: AnswerRequest, deadline: float, limits: Limits | None = None
    ) -> Generator[None, None, Event | None]:
        """Read the prompt that a request asks for before its answers, and begin these; without
        `limits`, return it as the answer. Yield between parts of it.
        """
        reading = self.reader.echo(request, self.example)
        try:
            while True:
                next(reading)
                yield
                check_time(request, deadline)
        except StopIteration as end:
            echo: Echo = end.value
        if limits is not None:
            self._begin(self.reader.writing(request, limits, self.example, echo), deadline)
            return None
        answer = ServedAnswer(echo.text, "length", 0, tokens=echo.tokens)
        return Answered(request.id, (answer,) * request.n, echo.n_prompt)

    # Writing

    @torch.no_grad()
    def _write(self) -> list[Event]:
        """Write a token of every running answer, after requests that wait have joined."""
        self._admit()
        for key, batch in list(self._batches.items()):
            if batch.n_row:
                self._run(batch)
            if not batch.n_row:
                del self._batches[key]
        writings = [*self._active.values(), *self._late()]
        return [event for writing in writings for event in self._news(writing)]

    def _late(self) -> Iterator[Writing]:
        """Yield the requests that wait and whose time is over."""
        while self._deadlines:
            _, id = self._deadlines[0]
            writing = self._writings.get(id)
            if writing is not None and not writing.is_late:
                return
            heapq.heappop(self._deadlines)
            if writing is not None and id not in self._active:
                yield writing

    def _run(self, batch: RunningBatch) -> None:
        """Write a token of every answer of a batch. An error ends the answers of the batch."""
        try:
            batch.advance()
        except Exception as error:  # such as a lack of memory; the other batches go on
            logger.exception("a step of %s failed", self.name)
            batch.fail(one_line(error))

    def _admit(self) -> None:
        """Read the prompts of some jobs for which there is room, and add them to their batches."""
        n_row = self.n_row
        if not n_row:
            self._n_position = 0  # of the longest row since the batches were empty
        width = 0
        group: list[WaitingJob] = []
        while self._waiting:
            id, jobs = next(iter(self._waiting.items()))
            job, ids = jobs[0].job, jobs[0].ids
            n_new = self.needed_rows(job.search, job.n_best)
            n_position = max(self._n_position, len(ids) + job.longest)
            width = max(width, len(ids))
            is_full = n_row + n_new > self.most_rows or (
                n_row > 0 and (n_row + n_new) * n_position > POSITIONS
            )
            if is_full or (group and width * (len(group) + 1) > PROMPT_TOKENS):
                break
            n_row += n_new
            self._n_position = n_position
            group.append(jobs.popleft())
            self._active[id] = self._writings[id]
            if not jobs:
                del self._waiting[id]
        if group:
            self._read(group)

    def _read(self, group: Sequence[WaitingJob]) -> None:
        """Read the prompts of jobs in one call, and add the jobs to their batches. If the call
        fails, each is read on its own, so that only those fail that must.
        """
        for each in group:
            each.writing.begin()
        try:
            found = list(self.reader.first_steps(group))
        except Exception as error:
            if len(group) == 1:
                group[0].job.error = one_line(error)
                return
            for each in group:
                self._read([each])
            return
        for first in found:
            members: dict[Beam | None, list[int]] = {}
            for row, i in enumerate(first.jobs):
                search = group[i].job.search
                members.setdefault(search if isinstance(search, Beam) else None, []).append(row)
            for beam, rows in members.items():
                jobs = [group[first.jobs[row]].job for row in rows]
                index = torch.tensor(rows)
                logits, state, shared = reorder(tuple(first[1:]), index)
                batch = self._batch(beam)
                try:
                    batch.join(jobs, logits, state, shared)
                except Exception as error:  # such as a lack of memory
                    logger.exception("requests cannot join a batch of %s", self.name)
                    for job in jobs:
                        job.error = one_line(error)
                    batch.fail(one_line(error))
        n_row = self.n_row
        for each in group:
            each.writing.join(n_row)

    def _batch(self, search: Beam | None) -> RunningBatch:
        """Return the batch of a beam search; for None, that of all other searches."""
        if search not in self._batches:
            step, eos_id = self.reader.step, self.tokenizer.eos_id
            self._batches[search] = (
                StepwiseBatch(step, eos_id) if search is None else BeamBatch(step, eos_id, search)
            )
        return self._batches[search]

    def _news(self, writing: Writing) -> list[Event]:
        """Return what there is to send of the answers to a request."""
        id = writing.request.id
        try:
            if writing.error is not None:
                raise ServingError(writing.error, "internal")
            if not writing.is_waiting:
                more = writing.proceed()
                if not more:
                    return self._end(writing)
                self._wait(writing, more)
            if writing.is_late:
                writing.cancel()
                return self._end(writing)
        except ServingError as error:
            self.cancel(id)
            return [Refusal(id, str(error), error.kind, error.parameter)]
        except Exception as error:  # the other requests go on
            logger.exception("request %d failed", id)
            self.cancel(id)
            return [Refusal(id, one_line(error), "internal")]
        if writing.request.streams and isinstance(writing.limits.search, Stepwise):
            return list(writing.pieces(is_last=False))
        return []

    def _end(self, writing: Writing) -> list[Event]:
        """Return the last events of a request, which is done or late."""
        request = writing.request
        answers = self.reader.finished(writing, writing.answers())
        pieces: list[Event] = list(writing.pieces(is_last=True)) if request.streams else []
        self._forget(request.id)
        n_token = sum(len(text.ids) for text in writing.texts)
        n_prompt = (writing.n_prompt, writing.n_cached)
        end = Answered(request.id, answers, *n_prompt, n_token, writing.n_cut, writing.times)
        return [*pieces, end]


def check_time(request: EngineRequest, deadline: float) -> None:
    """Check that a request has time left.

    Args:
        deadline: end of its time.

    Raises:
        ServingError: it has none.
    """
    if monotonic() > deadline:
        message = f"the time of {request.max_seconds:g} seconds is over; score fewer texts"
        raise ServingError(message, "timeout")


def check_beam(request: AnswerRequest) -> None:
    """Check that a request asks for nothing that beam search does not have.

    Raises:
        ServingError: it does.
    """
    given = {
        "logit_bias": request.logit_bias,
        "presence_penalty": request.presence_penalty,
        "frequency_penalty": request.frequency_penalty,
    }
    if wrong := [name for name, value in given.items() if value]:
        raise ServingError(
            f"{', '.join(wrong)} does not apply to beam search; give search: greedy, or a "
            "temperature",
            "unsupported",
            wrong[0],
        )
