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
    """Baseline that leaves every question unanswered, which is right for unanswerable questions."""

    def __init__(self) -> None:
        super().__init__("no answer", lambda example: "")


class FrequentSpan(RuleBaseline):
    """Baseline that answers with the most frequent training answer that occurs in the passage as
    whole words; if none does, with the first name of the passage.

    A name is a number, or a run of capitalized words that does not begin the passage. If there is
    none, as in scripts without capitals, the first run of letters is taken.

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
    """Baseline that answers with the sentence of the passage that shares the most words with the
    question; of equal sentences, the first. Case is ignored.

    Source: the sliding window of Richardson et al. 2013, applied to sentences, as the baseline in
    section 5 of Rajpurkar et al. 2016 ranks them.
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
    """Return the first name in the passage; `FrequentSpan` says what counts as a name."""
    names = [name for name in NAME.finditer(passage) if name.start() > 0]
    if names:
        return names[0][0]
    return next(iter(re.findall(r"\w+", passage)), "")


def counted_words(text: str) -> set[str]:
    """Return the distinct words of a text in lower case, without punctuation."""
    return {piece for piece in segment(text.lower()) if piece[0].isalnum()}
