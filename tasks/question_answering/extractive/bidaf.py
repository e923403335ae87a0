"""Bidirectional attention flow (BiDAF).

Axes: B windows, S tokens, P passage tokens, Q question tokens, D d_model.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lslm_lightning.models.backbone import Backbone
from lslm_lightning.models.linear import PaddedLinear
from lslm_lightning.models.recurrent import LSTM
from tasks.question_answering.extractive.windows import AnswerWindowBatch


class AttentionFlow(nn.Module):
    """Bidirectional attention flow. Question and passage are encoded separately, attention runs
    from each passage token to the question and from the question to the passage, and a modelling
    encoder reads the result.

    A linear map reduces the combined vectors (B, P, 4 D) to (B, P, D). Its output is added to the
    output of the modelling encoder, since the output layer of the paper reads both. A token before
    the passage stands for no answer, as in Levy et al. 2017. Source: Seo et al. 2017,
    "Bidirectional Attention Flow for Machine Comprehension", section 2, attention flow layer and
    modeling layer.

    Args:
        modelling: modelling encoder; called with d_model, returns a backbone without a decoder.
    """

    def __init__(
        self,
        d_model: int,
        modelling: Callable[[int], Backbone] = lambda d: LSTM(
            d, n_encoder_layer=2, n_decoder_layer=0
        ),
    ) -> None:
        super().__init__()
        self.modelling = modelling(d_model)
        if self.modelling.n_decoder_layer or not self.modelling.n_encoder_layer:
            raise ValueError(
                f"n_encoder_layer={self.modelling.n_encoder_layer} of modelling must be at least "
                "1 and"
                f" n_decoder_layer={self.modelling.n_decoder_layer} must be 0: it reads a "
                "passage and writes none"
            )
        self.of_passage = PaddedLinear(d_model, 1)
        self.of_question = PaddedLinear(d_model, 1, bias=False)
        self.of_both = nn.Parameter(torch.randn(d_model) * d_model**-0.5)
        self.joined = PaddedLinear(4 * d_model, d_model)

    def forward(self, backbone: Backbone, x: Tensor, batch: AnswerWindowBatch) -> Tensor:
        """Return vectors (B, S, D) for the windows in `batch`; they are 0 outside the passage.

        Args:
            backbone: encodes the question and the passage.
            x: inputs (B, S, ...) of the backbone.
        """
        passage, passage_pad = true_indices(batch.of_passage)  # (B, P)
        question, question_pad = true_indices(~batch.of_passage & ~batch.source_pad)  # (B, Q)
        h, u = (
            backbone.encode(gather_tokens(x, at), pad)
            for at, pad in ((passage, passage_pad), (question, question_pad))
        )
        g = self.flow(h, u, passage_pad, question_pad).to(h.dtype)  # (B, P, D)
        m = g + self.modelling.encode(g, passage_pad)
        return m.new_zeros(*batch.source.shape, m.size(-1)).scatter(
            1, passage[..., None].expand_as(m), m
        )

    def flow(self, h: Tensor, u: Tensor, passage_pad: Tensor, question_pad: Tensor) -> Tensor:
        """Combine the encoded passage h (B, P, D) and question u (B, Q, D) to vectors (B, P, D).

        Args:
            passage_pad: (B, P) bool, True where the passage is padded.
            question_pad: (B, Q) bool, True where the question is padded.
        """
        s = self.of_passage(h) + self.of_question(u).mT + (h * self.of_both) @ u.mT  # (B, P, Q)
        lowest = torch.finfo(s.dtype).min
        to_question = s.masked_fill(question_pad[:, None], lowest)
        attended = to_question.softmax(-1) @ u  # (B, P, D)
        to_passage = to_question.amax(-1).masked_fill(passage_pad, lowest).softmax(-1)  # (B, P)
        summary = (to_passage[:, None] @ h).expand_as(h)
        return self.joined(torch.cat([h, attended, h * attended, h * summary], -1))


def true_indices(wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Return the indices (B, n) int64 at which `wanted` (B, S) is True, in order, and their padding
    mask (B, n), which is True where padded.
    """
    n = wanted.sum(1)
    most = wanted.size(1) if wanted.is_meta else int(n.max())
    order = (~wanted).byte().argsort(dim=1, stable=True)[:, :most]
    return order, torch.arange(most, device=wanted.device) >= n[:, None]


def gather_tokens(x: Tensor, at: Tensor) -> Tensor:
    """Return the vectors (B, n, ...) of x (B, S, ...) at the token indices `at` (B, n)."""
    return x.gather(1, at.view(*at.shape, *[1] * (x.dim() - 2)).expand(*at.shape, *x.shape[2:]))
