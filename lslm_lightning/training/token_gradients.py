"""Gradients of the mean loss per target token over an accumulation window and all ranks."""

import hashlib
import math
from collections.abc import Sequence

import torch
from torch import Tensor

# Sums of nats are back-propagated over this constant; the gradients are divided by the true number
# of tokens before clipping.
LOSS_DIVISOR = 1024.0


def total_nats(loss: float, n_micro_batch: int) -> float:
    """Return the total loss in nats of some training steps, given the sum of the losses that
    Lightning reports for them.

    Args:
        n_micro_batch: number of micro-batches in an optimizer step, by which Lightning has divided
            each loss.
    """
    return loss * LOSS_DIVISOR * n_micro_batch


class NotFiniteError(ArithmeticError):
    """Error for a loss or a weight that is nan or infinite."""


def check_finite(nats: float, step: int, since: int | None = None) -> None:
    """Raise an error if a loss is nan or infinite.

    Args:
        nats: loss of one step, or the sum of the losses of several.
        step: number of optimizer steps done, for the message.
        since: step after which the sum began; None if `nats` is the loss of a single step.

    Raises:
        NotFiniteError: the loss is nan or infinite; the message names the steps.
    """
    if not math.isfinite(nats):
        where = f"at step {step}" if since is None else f"between steps {since} and {step}"
        raise NotFiniteError(
            f"the loss is {nats} {where}; lower model.optimizer.lr or trainer.gradient_clip_val"
        )


def micro_batch_seed(seed: int, number: int) -> int:
    """Return the 63-bit random seed of a micro-batch.

    Args:
        seed: seed of the run.
        number: number of the micro-batch, counted over all steps and ranks.
    """
    digest = hashlib.blake2b(f"{seed}:{number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


class TokenWindow:
    """Total loss and number of target tokens of the micro-batches since the last optimizer step."""

    def __init__(self) -> None:
        self.n_token = 0
        self.nats: Tensor | float = 0.0  # total loss, kept only where several ranks train

    def scale(
        self, gradients: Sequence[Tensor], n_micro_batch: int, world_size: int, step: int
    ) -> Tensor | float:
        """Return the factor that makes gradients of the summed loss divided by `LOSS_DIVISOR`
        gradients of the mean loss per target token, and start a new window. Collective over all
        ranks.

        Args:
            gradients: gradients of this rank, for their device and type.
            n_micro_batch: number of micro-batches in an optimizer step.
            world_size: number of ranks, over which the strategy has averaged the gradients.
            step: number of optimizer steps done, for messages.

        Raises:
            NotFiniteError: on a CPU, the loss of the window over all ranks is nan or infinite.
        """
        factor = LOSS_DIVISOR * n_micro_batch * world_size
        scale: Tensor | float
        if world_size > 1:
            scale = factor / self._tokens_of_all_ranks(gradients[0].device, step)
            scale = scale.to(torch.promote_types(gradients[0].dtype, torch.float32))
        else:
            scale = factor / self.n_token
        self.n_token = 0
        self.nats = 0.0
        return scale

    def _tokens_of_all_ranks(self, device: torch.device, step: int) -> Tensor:
        """Return the number of target tokens of the window over all ranks, a float64 scalar. On a
        CPU, the total loss is checked too.

        Args:
            step: number of optimizer steps done, for the message of an error.
        """
        totals = torch.stack(
            [
                torch.full((), self.n_token, dtype=torch.float64, device=device),
                torch.as_tensor(self.nats, device=device).double(),
            ]
        )
        # Lightning's own reduction makes all ranks wait for the GPU first
        torch.distributed.all_reduce(totals)
        if device.type == "cpu":
            check_finite(float(totals[1]), step)
        return totals[0]
