"""Answerability head: classifies whether a passage answers its question. B windows, S tokens, D
d_model.
"""

import torch
from torch import Tensor, nn

from lslm_lightning.models.dropout import Dropout
from lslm_lightning.models.heads import upcast_to_float32
from tasks.question_answering.extractive.windows import AnswerWindowBatch


class AnswerabilityHead(nn.Module):
    """Answerability head: a bag of the question's words, each with its word-overlap features,
    through a small network. A "not", or a name that the passage does not have, can make an answer
    unlikely.

    With this head the probability of an answer is the probability that there is one, times those of
    its first and last token. It is the same for all windows of one passage.

    Source: a separate decision as the no-answer option of Clark and Gardner 2018, "Simple and
    effective multi-paragraph reading comprehension"; a bag of words through a small network as in
    Iyyer et al. 2015, "Deep unordered composition rivals syntactic methods".

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
        """Return the log odds (B,) that there is an answer, given the inputs (B, S, D) of a
        backbone.
        """
        # (B, S, 1) question tokens, special tokens included
        asked = (~batch.of_passage & ~batch.source_pad)[..., None].to(x.dtype)
        seen = self.dropout(self.inner(x).relu()) * asked
        pooled = torch.cat([seen.sum(1) / asked.sum(1), seen.amax(1)], -1)
        return upcast_to_float32(self.outer(self.dropout(pooled)))[:, 0]
