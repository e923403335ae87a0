"""Baselines for question answering that need no model."""

import re
from collections import Counter
from collections.abc import Sequence

from lslm_lightning.contracts import Example
from lslm_lightning.systems.baselines import RuleBaseline
from lslm_lightning.text.chinese import segment, segment_with_offsets
from lslm_lightning.text.sentences import split_sentences
from tasks.question_answering.data import as_question

# Run of capitalized words, or a number
NAME = re.compile(r"(?:[A-ZÀ-ÖØ-Þ][\w'’-]*)(?:\s+[A-ZÀ-ÖØ-Þ][\w'’-]*)*|\d+(?:[.,]\d+)*")


class NoAnswer(RuleBaseline):
    """Baseline that answers no question, which is right for every unanswerable one."""

    def __init__(self) -> None:
        super().__init__("no answer", lambda example: "")


class FrequentSpan(RuleBaseline):
    """Baseline that answers the most frequent of the given (training) answers that occurs in the
    passage as whole words, or else the first name of the passage.

    A name is a run of capitalized words other than the first word of the passage, or a number; in
    scripts without capitals, such as Chinese, everything up to the first punctuation mark.

    Args:
        answers: training answers, with repetitions.
    """

    def __init__(self, answers: Sequence[str] = ()) -> None:
        self.ordered = [
            answer for answer, _ in Counter(answers).most_common() if counted_words(answer)
        ]
        super().__init__("most frequent span", self._first)

    def _first(self, example: Example) -> str:
        passage = as_question(example).passage
        spans = [span for _, span in segment_with_offsets(passage)]
        firsts, lasts = ({span[side] for span in spans} for side in (0, 1))
        for answer in (answer for answer in self.ordered if answer in passage):
            if any(
                match.start() in firsts and match.end() in lasts
                for match in re.finditer(re.escape(answer), passage)
            ):
                return answer
        return first_name(passage)


class WordOverlap(RuleBaseline):
    """Baseline that answers the sentence of the passage with the most words of the question in
    common, in lower case; of several the first.

    Source: the sliding window of Richardson et al. 2013, by sentences, as the baseline in section 5
    of Rajpurkar et al. 2016 ranks them.
    """

    def __init__(self) -> None:
        super().__init__("word overlap", self._closest)

    def _closest(self, example: Example) -> str:
        question = as_question(example)
        wanted = counted_words(question.asked)
        sentences = split_sentences(question.passage, question.language)
        return max(
            sentences, key=lambda sentence: len(wanted & counted_words(sentence)), default=""
        )


def first_name(passage: str) -> str:
    """Return the first name in the passage; see `FrequentSpan`."""
    names = [name for name in NAME.finditer(passage) if name.start() > 0]
    if names:
        return names[0][0]
    return next(iter(re.findall(r"\w+", passage)), "")


def counted_words(text: str) -> set[str]:
    """Return the distinct words of a text in lower case, without punctuation."""
    return {piece for piece in segment(text.lower()) if piece[0].isalnum()}
