"""Sums over batches and processes in training and validation, as torchmetrics metrics."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torchmetrics
from torch import Tensor, nn

from lslm_lightning.contracts import Example, Metric, Prediction
from lslm_lightning.evaluation.scoring import naming


class DoubleSums(torchmetrics.Metric):
    """Sums in double precision, so that the order of batches makes no difference.

    Attributes:
        n_alike: number of processes that read the same batches (tensor parallelism). All of them
            add the same values, so sums are divided by this number.
    """

    full_state_update = False
    n_alike = 1

    def add_sum(self, name: str, *shape: int) -> None:
        """Register a tensor of zeros of this shape as the attribute `name`; it is summed over
        processes.
        """
        self.add_state(name, torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")

    def _apply(
        self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = ""
    ) -> nn.Module:
        """Convert or move the sums by `fn`. Sums stay where they are if the target device lacks
        double precision.
        """
        if fn(torch.zeros(())).device.type == "mps":
            return self
        return super()._apply(fn, exclude_state)


class MeanNats(DoubleSums):
    """Mean loss in nats per target token. Losses and numbers of tokens are summed over batches and
    processes, then divided once.

    Attributes:
        totals: (total loss in nats, number of target tokens) of all processes, set by `compute`.
    """

    higher_is_better = False
    nats: Tensor
    n_token: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_sum("nats")
        self.add_sum("n_token")
        self.totals = (0.0, 0)

    def update(self, nats: Tensor, n_token: int) -> None:
        """Add a batch: its total loss in nats (a scalar) and its number of target tokens."""
        self.nats = self.nats.double() + nats.detach().to(self.nats.device).double()
        self.n_token = self.n_token.double() + n_token

    def compute(self) -> Tensor:
        """Return the mean loss in nats per target token, a float32 scalar."""
        nats = self.nats / self.n_alike
        n_token = self.n_token / self.n_alike
        self.totals = (float(nats), int(n_token))
        return (nats / n_token.clamp(min=1)).float()


class TrainingSums(DoubleSums):
    """Loss and tokens of training steps since the last point of a curve.

    Losses are summed on the device where they were computed, without waiting for it. To sum over
    processes, call `compute` of a clone on every process.

    Attributes:
        has_loss: whether this process has added a loss since `reset`.
    """

    loss: Tensor
    n_target: Tensor
    n_token: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_sum("loss")
        self.add_sum("n_target")
        self.add_sum("n_token")
        self.has_loss = False

    def update(self, loss: Tensor | None, n_target: int, n_token: int) -> None:
        """Add a micro-batch.

        Args:
            loss: scalar loss; None for a model that is trained without a loss.
            n_target: number of target tokens.
            n_token: number of target and source tokens.
        """
        if loss is not None:
            exact = precise(loss.detach())
            self.loss = self.loss.to(exact.device, exact.dtype) + exact
            self.has_loss = True
        self.n_target = self.n_target + n_target
        self.n_token = self.n_token + n_token

    def compute(self) -> Tensor:
        """Return the sums of loss, target tokens and all tokens, float64 (3,)."""
        return self.own()

    def own(self) -> Tensor:
        """Return what `compute` returns, for this process alone."""
        sums = [self.loss, self.n_target, self.n_token]
        return torch.stack([each.cpu().double() for each in sums]) / self.n_alike

    def reset(self) -> None:
        """Set the sums to zero."""
        # on the CPU, since the present device need not have this type
        self.loss = torch.zeros((), dtype=torch.float64)
        super().reset()
        self.has_loss = False


def precise(x: Tensor) -> Tensor:
    """Return a tensor in double precision, or unchanged if its device lacks double precision."""
    return x if x.device.type == "mps" else x.double()


class CorpusStatistics(DoubleSums):
    """Statistics of a metric for the examples that the processes together have answered. An example
    that several processes answered counts once. `evaluation.scoring.score` computes the score.

    Args:
        metric: an additive metric.
        examples: all N examples, the same on every process.
        n_statistic: number D of statistics of the metric.
    """

    rows: Tensor
    n_time: Tensor

    def __init__(self, metric: Metric, examples: Sequence[Example], n_statistic: int) -> None:
        super().__init__()
        self.metric = metric
        self.examples = examples
        self.row_of = {example.id: i for i, example in enumerate(examples)}
        self.add_sum("rows", len(examples), n_statistic)
        self.add_sum("n_time", len(examples))

    def update(self, predictions: Sequence[Prediction]) -> None:
        """Add this process's predictions for some of the examples."""
        if not predictions:
            return
        indices = [self.row_of[p.id] for p in predictions]
        with naming(self.metric):
            statistics = self.metric.rows([self.examples[i] for i in indices], predictions)
        rows = torch.as_tensor(statistics, dtype=torch.float64, device=self.rows.device)
        index = torch.tensor(indices, device=self.rows.device)
        self.rows = self.rows.index_add(0, index, rows)
        self.n_time = self.n_time.index_add(0, index, torch.ones_like(rows[:, 0]))

    def compute(self) -> np.ndarray:
        """Return the statistics of each example over all processes, (N, D); nan where a prediction
        lacks a value that the metric needs.
        """
        # torchmetrics would make a scalar of a tensor (1, 1)
        statistics: np.ndarray = (self.rows / self.n_time[:, None]).cpu().numpy()
        return statistics
