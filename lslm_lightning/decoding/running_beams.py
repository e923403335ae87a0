"""Beam search in a running batch.

Axes: N rows in the batch, A sources, k beams, V vocabulary.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from lslm_lightning.decoding.beam import Beam, Beams, first_beams
from lslm_lightning.decoding.row_pool import moved
from lslm_lightning.decoding.running import RunningBatch, SearchJob, no_probability
from lslm_lightning.decoding.search import (
    Nested,
    Step,
    forbid_repeats,
    log_probabilities,
    reorder,
)


class BeamBatch(RunningBatch):
    """Sources of one beam search.

    Args:
        search: the search of all jobs.
    """

    def __init__(self, step: Step, eos_id: int, search: Beam) -> None:
        super().__init__(step, eos_id)
        self.search = search
        self._jobs: list[SearchJob] = []
        self._beams: Beams | None = None

    @property
    def n_row(self) -> int:
        return len(self._jobs) * self.search.beam_size

    @property
    def jobs(self) -> list[SearchJob]:
        return self._jobs

    def clear(self) -> None:
        super().clear()
        self._jobs = []
        self._beams = None

    def join(
        self, jobs: Sequence[SearchJob], logits: Tensor, state: Nested, shared: Nested
    ) -> None:
        log_p = log_probabilities(logits)
        shortest, longest = (
            torch.tensor(each, device=logits.device)
            for each in ([job.shortest for job in jobs], [job.longest for job in jobs])
        )
        nothing = longest.new_zeros(len(jobs), 0)
        n_beam = self.search.beam_size
        new = first_beams(nothing, n_beam, shortest, longest, log_p.dtype, n_beam)
        new, _, ended = self._found(jobs, new, log_p)
        stay = torch.tensor([i for i in range(len(jobs)) if i not in ended], dtype=torch.int64)
        if not len(stay):
            return
        self.state.join(reorder(state, stay.repeat_interleave(n_beam)), len(stay) * n_beam)
        self.shared.join(reorder(shared, stay), len(stay))
        new = reorder(new, stay)
        self._beams = new if self._beams is None else Beams(*map(joined, self._beams, new))
        self._jobs += [jobs[i] for i in stay.tolist()]

    def advance(self) -> None:
        self._remove([i for i, job in enumerate(self._jobs) if job.is_cancelled])
        beams = self._beams
        if beams is None:
            return
        last = (beams.n - 1)[:, None, None].expand(-1, self.search.beam_size, 1)
        logits = self.computed(beams.history.gather(2, last).view(-1, 1))
        self._beams, parent, ended = self._found(self._jobs, beams, log_probabilities(logits))
        rows = parent + torch.arange(len(parent))[:, None] * self.search.beam_size
        self._remove(sorted(ended), rows)

    def _remove(self, gone: Sequence[int], rows: Tensor | None = None) -> None:
        """Remove jobs.

        Args:
            gone: their indices.
            rows: (A, k) index of the row that each row of the batch continues; None for itself.
        """
        k = self.search.beam_size
        order = torch.tensor(moved(len(self._jobs), gone), dtype=torch.int64)
        if rows is None:
            rows = torch.arange(len(self._jobs) * k).view(-1, k)
        rows = rows[order].flatten()
        if len(rows) != self.state.n_row or (rows != torch.arange(len(rows))).any():
            self.state.reorder(rows)
        if not gone:
            return
        self.shared.leave(gone)
        self._jobs = [self._jobs[i] for i in order.tolist()]
        self._beams = reorder(self._beams, order) if self._jobs else None

    def _found(
        self, jobs: Sequence[SearchJob], beams: Beams, log_p: Tensor
    ) -> tuple[Beams, Tensor, set[int]]:
        """Return the beams after their next token, the beam (A, k) that each continues, and the
        indices of the jobs that end, whose answers are stored.
        """
        self._forbid(jobs, beams, log_p)
        beams, parent, lost = self.search.advance(beams, log_p, self.eos_id, 0)
        is_done = beams.done | (beams.n == beams.longest)
        ends, fails = (flags.tolist() for flags in (is_done, lost))
        ended = {i for i, (end, fail) in enumerate(zip(ends, fails, strict=True)) if end or fail}
        if ended:
            index = torch.tensor(sorted(ended))
            answers = reorder(beams, index).answer(0, self.eos_id, self.search.length_penalty)
            lists = answers.n_best_lists(self.search.beam_size)
            for i, found in zip(sorted(ended), lists, strict=True):
                if fails[i]:
                    jobs[i].error = no_probability(int(beams.n[i]))
                jobs[i].found = found[: jobs[i].n_best]
                jobs[i].is_done = True
        return beams, parent.cpu(), ended

    def _forbid(self, jobs: Sequence[SearchJob], beams: Beams, log_p: Tensor) -> None:
        """Forbid the tokens that would repeat an n-gram of a prompt and a hypothesis."""
        if not self.search.no_repeat_ngram:
            return
        of_source = log_p.view(len(jobs), -1, log_p.size(-1))
        for job, history, n, rows in zip(
            jobs, beams.history, beams.n.tolist(), of_source, strict=True
        ):
            prompt = torch.tensor(job.prompt).to(history).expand(len(rows), -1)
            text = torch.cat((prompt, history[: len(rows), :n]), 1)
            forbid_repeats(rows, text, self.search.no_repeat_ngram, self.eos_id)


def joined(all_rows: Tensor, new: Tensor) -> Tensor:
    """Return both tensors as rows of one; the last axis of the narrower is padded with 0."""
    if all_rows.dim() < 3:
        return torch.cat((all_rows, new))
    width = max(all_rows.size(-1), new.size(-1))
    return torch.cat(
        [torch.nn.functional.pad(part, (0, width - part.size(-1))) for part in (all_rows, new)]
    )
