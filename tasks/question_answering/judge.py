"""Whether there is an answer at all. B windows, S tokens, D d_model."""

import torch
from torch import Tensor, nn

from lslm_lightning.models.dropout import Dropout
from lslm_lightning.models.heads import upcast_to_float32
from tasks.question_answering.windows import AnswerWindowBatch


class Judge(nn.Module):
    """Reads the words of the question, in no order, each with what is seen of it in the passage
    (see `hints`): a "not", or a name that the passage does not have, can make an answer unlikely.

    With it the probability of an answer is that there is one, times those of its first and its last
    token. It says the same of all windows on one passage.

    Source: decided apart as the no-answer option of Clark and Gardner 2018, "Simple and effective
    multi-paragraph reading comprehension"; a bag of words through a small network as in Iyyer et
    al. 2015, "Deep unordered composition rivals syntactic methods".

    Args:
        d_inner: of what is made of each word.
        dropout: of that.
    """

    def __init__(self, d_model: int, d_inner: int = 64, dropout: float = 0.3) -> None:
        super().__init__()
        self.inner = nn.Linear(d_model, d_inner)
        self.dropout = Dropout(dropout)
        self.outer = nn.Linear(2 * d_inner, 1)

    def forward(self, x: Tensor, batch: AnswerWindowBatch) -> Tensor:
        """Log odds (B,) of an answer, by the inputs of a backbone (B, S, D)."""
        # (B, S, 1), with what stands behind both texts
        asked = (~batch.of_passage & ~batch.source_pad)[..., None].to(x.dtype)
        seen = self.dropout(self.inner(x).relu()) * asked
        pooled = torch.cat([seen.sum(1) / asked.sum(1), seen.amax(1)], -1)
        return upcast_to_float32(self.outer(self.dropout(pooled)))[:, 0]
