"""Bidirectional attention flow. B windows, S tokens, P those of the passage, Q those of the
question, D d_model.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lslm_lightning.models.backbone import Backbone
from lslm_lightning.models.recurrent import LSTM
from tasks.question_answering.windows import AnswerWindowBatch


class AttentionFlow(nn.Module):
    """Question and passage are encoded apart; each word of the passage attends to the question and
    the question to the passage; then both are read together by a modelling encoder.

    What is seen of each word, (B, P, 4 D), is brought back to D by one map, and added to what the
    modelling encoder makes of it, so that the output layer sees both, as that of the paper does. No
    answer is a first word of the passage. Source: Seo et al. 2017, "Bidirectional Attention Flow
    for Machine Comprehension", section 2, attention flow layer and modeling layer; no answer as in
    Levy et al. 2017.

    Args:
        modelling: called with d_model; an encoder alone.
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
        self.of_passage = nn.Linear(d_model, 1)
        self.of_question = nn.Linear(d_model, 1, bias=False)
        self.of_both = nn.Parameter(torch.randn(d_model) * d_model**-0.5)
        self.joined = nn.Linear(4 * d_model, d_model)

    def forward(self, backbone: Backbone, x: Tensor, batch: AnswerWindowBatch) -> Tensor:
        """Vectors (B, S, D) of the inputs x (B, S, ...) of a backbone; what stands where no passage
        is means nothing.
        """
        passage, passage_pad = places(batch.of_passage)  # (B, P)
        question, question_pad = places(~batch.of_passage & ~batch.source_pad)  # (B, Q)
        h, u = (
            backbone.encode(taken(x, at), pad)
            for at, pad in ((passage, passage_pad), (question, question_pad))
        )
        g = self.flow(h, u, passage_pad, question_pad).to(h.dtype)  # (B, P, D)
        m = g + self.modelling.encode(g, passage_pad)
        return m.new_zeros(*batch.source.shape, m.size(-1)).scatter(
            1, passage[..., None].expand_as(m), m
        )

    def flow(self, h: Tensor, u: Tensor, passage_pad: Tensor, question_pad: Tensor) -> Tensor:
        """Passage h (B, P, D) and question u (B, Q, D) -> (B, P, D)."""
        s = self.of_passage(h) + self.of_question(u).mT + (h * self.of_both) @ u.mT  # (B, P, Q)
        lowest = torch.finfo(s.dtype).min
        to_question = s.masked_fill(question_pad[:, None], lowest)
        attended = to_question.softmax(-1) @ u  # (B, P, D)
        to_passage = to_question.amax(-1).masked_fill(passage_pad, lowest).softmax(-1)  # (B, P)
        summary = (to_passage[:, None] @ h).expand_as(h)
        return self.joined(torch.cat([h, attended, h * attended, h * summary], -1))


def places(wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Where (B, S) is True, in order, as places (B, n) int64, and which of them are padding (B,
    n).
    """
    n = wanted.sum(1)
    most = wanted.size(1) if wanted.is_meta else int(n.max())
    order = (~wanted).byte().argsort(dim=1, stable=True)[:, :most]
    return order, torch.arange(most, device=wanted.device) >= n[:, None]


def taken(x: Tensor, at: Tensor) -> Tensor:
    """The rows of x (B, S, ...) at places (B, n) -> (B, n, ...)."""
    return x.gather(1, at.view(*at.shape, *[1] * (x.dim() - 2)).expand(*at.shape, *x.shape[2:]))
