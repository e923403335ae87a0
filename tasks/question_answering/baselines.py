"""Answers to questions that need no model: what every model has to beat."""

import re
from collections import Counter
from collections.abc import Sequence

from lslm_lightning.contracts import Example
from lslm_lightning.systems.baselines import RuleBaseline
from lslm_lightning.text.chinese import segment, segment_with_offsets
from lslm_lightning.text.sentences import split_sentences
from tasks.question_answering.data import as_question

# A run of words with capitals, or a number; in scripts without capitals the first words up to a
# sign.
NAME = re.compile(r"(?:[A-ZÀ-ÖØ-Þ][\w'’-]*)(?:\s+[A-ZÀ-ÖØ-Þ][\w'’-]*)*|\d+(?:[.,]\d+)*")


class NoAnswer(RuleBaseline):
    """That there is none: right wherever there is none."""

    def __init__(self) -> None:
        super().__init__("no answer", lambda example: "")


class FrequentSpan(RuleBaseline):
    """Of these (training) answers the most frequent that the passage has in whole words, of equals
    the first; where it has none, its first name.

    A name is a run of words that begin with a capital letter, the first word of the passage left
    aside, or a number; where there is none, as in Chinese, all up to the first sign.

    Args:
        answers: of equal ones each counts.
    """

    def __init__(self, answers: Sequence[str] = ()) -> None:
        self.ordered = [answer for answer, _ in Counter(answers).most_common() if words(answer)]
        super().__init__("most frequent span", self._first)

    def _first(self, example: Example) -> str:
        passage = as_question(example).passage
        spans = [span for _, span in segment_with_offsets(passage)]
        firsts, lasts = ({span[side] for span in spans} for side in (0, 1))
        for answer in (answer for answer in self.ordered if answer in passage):
            if any(
                place.start() in firsts and place.end() in lasts
                for place in re.finditer(re.escape(answer), passage)
            ):
                return answer
        return first_name(passage)


class WordOverlap(RuleBaseline):
    """The sentence of the passage that has most of the question's words, lower case, of equals the
    first.

    Source: the sliding window of Richardson et al. 2013, by sentences, as the baseline in section 5
    of Rajpurkar et al. 2016 ranks them.
    """

    def __init__(self) -> None:
        super().__init__("word overlap", self._closest)

    def _closest(self, example: Example) -> str:
        question = as_question(example)
        wanted = words(question.asked)
        sentences = split_sentences(question.passage, question.language)
        return max(sentences, key=lambda sentence: len(wanted & words(sentence)), default="")


def first_name(passage: str) -> str:
    """See `FrequentSpan`."""
    names = [name for name in NAME.finditer(passage) if name.start() > 0]
    if names:
        return names[0][0]
    return next(iter(re.findall(r"\w+", passage)), "")


def words(text: str) -> set[str]:
    """That count: letters and digits, lower case."""
    return {piece for piece in segment(text.lower()) if piece[0].isalnum()}
