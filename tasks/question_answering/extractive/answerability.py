"""Answerability head: predicts whether a passage answers a question.

Axes: B windows, S tokens, D d_model.
"""

import torch
from torch import Tensor, nn

from lslm_lightning.models.dropout import Dropout
from lslm_lightning.models.heads import upcast_to_float32
from tasks.question_answering.extractive.windows import AnswerWindowBatch


class AnswerabilityHead(nn.Module):
    """Answerability head: a small network over the bag of the question's words and their
    word-overlap features. A "not", or a name that the passage lacks, can make an answer unlikely.

    The probability of an answer span is the probability that there is an answer, times the
    probabilities of its first and last token. The head gives all windows of a passage the same
    probability.

    Source: the decision is separate from the span as in Clark and Gardner 2018, "Simple and
    effective multi-paragraph reading comprehension"; the bag of words follows Iyyer et al. 2015,
    "Deep unordered composition rivals syntactic methods".

    Args:
        d_inner: size of the hidden layer.
        dropout: dropout of the hidden layer.
    """

    def __init__(self, d_model: int, d_inner: int = 64, dropout: float = 0.3) -> None:
        super().__init__()
        self.inner = nn.Linear(d_model, d_inner)
        self.dropout = Dropout(dropout)
        self.outer = nn.Linear(2 * d_inner, 1)

    def forward(self, x: Tensor, batch: AnswerWindowBatch) -> Tensor:
        """Return the log-odds (B,) that the question has an answer, from the inputs x (B, S, D) of
        a backbone.
        """
        # (B, S, 1) question tokens, special tokens included
        asked = (~batch.of_passage & ~batch.source_pad)[..., None].to(x.dtype)
        seen = self.dropout(self.inner(x).relu()) * asked
        pooled = torch.cat([seen.sum(1) / asked.sum(1), seen.amax(1)], -1)
        return upcast_to_float32(self.outer(self.dropout(pooled)))[:, 0]
