"""Interface of tasks that find a span of one text for another, such as the answer to a question.

Axes: S tokens.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from lslm_lightning.contracts import Example
from lslm_lightning.models.backbone import Backbone
from lslm_lightning.models.embedding import TokenEmbedding
from lslm_lightning.text.prompts import NO_PROMPT
from lslm_lightning.training.task import Task


class ScoredPair(NamedTuple):
    """Two texts that are read as one sequence, and the scores of its tokens."""

    ids: list[int]  # S
    segments: list[int]  # S, tells the first text from the second
    scores: Tensor  # (S, 2) of each token as the first and as the last of the span


class MarkedAnswer(NamedTuple):
    """Answer that is a span of a text."""

    output: str  # empty for no answer
    span: tuple[int, int] | None  # character offsets [start, end) in the text; None for no answer
    nats: float  # negative log probability
    no_answer_score: float  # log p of no answer less log p of the best span


class SpanModel(Task):
    """Base class of tasks whose encoder reads two texts as one sequence, and scores each token as
    the first and as the last of a span of the second text.

    Attributes:
        embedding: embeds tokens.
        marks: adds embeddings of segments, and of further features if there are any.
        flow: encodes both texts on their own and combines them; None if they are read as one.
        ends: maps encoded tokens to their scores.
        answerability_head: decides whether there is a span; None if its first token does.
        threshold: log-odds that no span needs against the best one; infinite if there always is
            one.
    """

    backbone: Backbone
    embedding: TokenEmbedding
    marks: nn.Module
    flow: nn.Module | None
    ends: nn.Linear
    answerability_head: nn.Module | None
    threshold: Tensor
    prompt = NO_PROMPT

    @abstractmethod
    def first_windows(self, examples: Sequence[Example]) -> list[ScoredPair]:
        """Return the first window of each example, with scores as `ends` gives them."""

    @abstractmethod
    def marked_answer(self, example: Example) -> MarkedAnswer:
        """Return the answer to an example, as `generate` gives it, with its place in the text."""

    @abstractmethod
    def answer_rules(self) -> list[str]:
        """Return sentences on how texts are read and how a span follows from the scores."""
