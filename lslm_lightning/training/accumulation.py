"""Sums over batches and processes in training and validation, as states of torchmetrics."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torchmetrics
from torch import Tensor, nn

from lslm_lightning.contracts import Example, Metric, Prediction


class DoubleSums(torchmetrics.Metric):
    """Sums in double precision, in which the order of batches makes no difference.

    Attributes:
        n_alike: processes that read the same batches (tensor parallel): all add, one counts.
    """

    full_state_update = False
    n_alike = 1

    def add_sum(self, name: str, *shape: int) -> None:
        """Add a state of zeros that processes add up."""
        self.add_state(name, torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")

    def _apply(
        self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = ""
    ) -> nn.Module:
        """Move the states, unless to a device without double precision."""
        if fn(torch.zeros(())).device.type == "mps":
            return self
        return super()._apply(fn, exclude_state)


class MeanNats(DoubleSums):
    """Nats per token: sums of both over batches and processes, divided once."""

    higher_is_better = False
    nats: Tensor
    n_token: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_sum("nats")
        self.add_sum("n_token")
        self.totals = (0.0, 0)  # nats and tokens of all processes, from `compute` on

    def update(self, nats: Tensor, n_token: int) -> None:
        """Add a batch: its total nats (a scalar), and its target tokens."""
        self.nats = self.nats.double() + nats.detach().to(self.nats.device).double()
        self.n_token = self.n_token.double() + n_token

    def compute(self) -> Tensor:
        """Return nats per token, a float32 scalar."""
        nats = self.nats / self.n_alike
        n_token = self.n_token / self.n_alike
        self.totals = (float(nats), int(n_token))
        return (nats / n_token.clamp(min=1)).float()


class TrainingSums(DoubleSums):
    """Loss and tokens of training steps since the last point of a curve.

    The loss is added up on its own device and waits for none; `compute` on a clone there is
    collective.
    """

    loss: Tensor
    n_target: Tensor
    n_token: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_sum("loss")
        self.add_sum("n_target")
        self.add_sum("n_token")
        self.has_loss = False  # of this process, since `reset`

    def update(self, loss: Tensor | None, n_target: int, n_token: int) -> None:
        """Add a micro-batch: its loss (a scalar; None of a model trained without), its target
        tokens, and these with its source tokens.
        """
        if loss is not None:
            exact = precise(loss.detach())
            self.loss = self.loss.to(exact.device, exact.dtype) + exact
            self.has_loss = True
        self.n_target = self.n_target + n_target
        self.n_token = self.n_token + n_token

    def compute(self) -> Tensor:
        """Return loss, target tokens and tokens, float64 (3,)."""
        sums = [self.loss, self.n_target, self.n_token]
        return torch.stack([each.cpu().double() for each in sums]) / self.n_alike

    def reset(self) -> None:
        """Begin again from zero."""
        self.loss = torch.zeros((), dtype=torch.float64)  # whose device need not have this type
        super().reset()
        self.has_loss = False


def precise(x: Tensor) -> Tensor:
    """Return a tensor in double precision, in which the order of a sum of losses makes no
    difference, where its device has it.
    """
    return x if x.device.type == "mps" else x.double()


class CorpusScore(DoubleSums):
    """Score of a metric over the examples that all processes have answered; an example that
    several answer, or one twice, counts once.

    Args:
        metric: additive.
        examples: N, the same on every process.
        n_statistic: D.
    """

    rows: Tensor
    n_time: Tensor

    def __init__(self, metric: Metric, examples: Sequence[Example], n_statistic: int) -> None:
        super().__init__()
        self.metric = metric
        self.examples = examples
        self.place = {example.id: i for i, example in enumerate(examples)}
        self.add_sum("rows", len(examples), n_statistic)
        self.add_sum("n_time", len(examples))
        self.statistics = np.empty((0, 0))  # (N, D) of all processes, from `compute` on

    def update(self, predictions: Sequence[Prediction]) -> None:
        """Add predictions for some of the examples."""
        if not predictions:
            return
        places = torch.tensor([self.place[p.id] for p in predictions], device=self.rows.device)
        found = self.metric.rows([self.examples[i] for i in places.tolist()], predictions)
        rows = torch.as_tensor(found, dtype=torch.float64, device=self.rows.device)
        self.rows = self.rows.index_add(0, places, rows)
        self.n_time = self.n_time.index_add(0, places, torch.ones_like(rows[:, 0]))

    def compute(self) -> Tensor:
        """Return the score, a float32 scalar; nan where a prediction lacks what is read."""
        self.statistics = (self.rows / self.n_time[:, None]).cpu().numpy()
        total = self.statistics.sum(axis=0)
        value = float("nan") if np.isnan(total).any() else self.metric.score(total)
        return torch.tensor(value, dtype=torch.float32, device=self.rows.device)
