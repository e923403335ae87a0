"""Answers of the engine as blocks of a report, for readers without JavaScript; `page.js` shows the
same.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from lslm_lightning.localization import CHINESE, Verbatim, interface_language
from lslm_lightning.reports.blocks import Cell, Facts, Folded, Heading, Table, Text
from lslm_lightning.reports.figures import Heatmap
from lslm_lightning.reports.formatting import number
from lslm_lightning.reports.marking import MarkedText
from lslm_lightning.reports.shading import EDGES
from lslm_lightning.serving.page.functions import Form, lines_of
from lslm_lightning.serving.protocol import Answered, ServedAnswer, ServedModelInfo, TokenInfo

UNDETERMINED = "und"
ATTENTION = "Attention of each token of the output to each token of the source."
TOKENS = "Tokens and their probabilities"
MOST_DRAWN = 64  # tokens of a source, and of an output, whose attention is drawn
NOT_DRAWN = f"Attention is drawn for texts of up to {MOST_DRAWN} tokens."
NO_ANSWER = "The model finds no answer in the passage."
BOUNDS = [100 * 2**-edge for edge in EDGES]  # percent between the shades
FAINT = 0.05  # percent, below which one decimal shows nothing
EMPTY = "The answer is empty."
CUT = "The answer ends here because it has the most tokens that were asked for."


@dataclass(frozen=True)
class TokenShades:
    """Text of which each token is shaded by its probability: the less probable, the darker.

    Attributes:
        prefix: text before it, which is not shaded.
        pieces: (text, shade from 0 to 5 or None, title) of each piece.
        language: BCP 47 code.
    """

    prefix: str
    pieces: Sequence[tuple[str, int | None, str]]
    language: str = UNDETERMINED

    @property
    def legend(self) -> list[str]:
        """Range of probabilities of each shade."""
        return legend_of_shades()


def legend_of_shades() -> list[str]:
    """Return the range of probabilities of each shade as text."""
    bounds = [number(float(f"{bound:.2g}")) for bound in BOUNDS]
    return [
        f"above {bounds[0]} %",
        *(f"{low} % to {high} %" for high, low in pairwise(bounds)),
        f"below {bounds[-1]} %",
    ]


def shade_of(probability: float) -> int:
    """Return the shade of a token, from 0 (probable) to 5; the bounds are those of reports."""
    return sum(100 * probability <= bound for bound in BOUNDS)


def blocks_of(
    function: str, form: Form, answered: Sequence[Answered], model: ServedModelInfo
) -> list[object]:
    """Return the blocks that show the answers to a form.

    Args:
        function: name of the function of the page.
        answered: answers to each request of the form.
    """
    answers: Sequence[ServedAnswer] = answered[0].answers
    if len(answered) > 1:
        answers = joined(lines_of(form, "text"), [each.answers for each in answered])
    blocks = SHOWN[function](form, answers, model)
    if any(each.answers[0].finish_reason == "length" for each in answered):
        blocks.append(Text(CUT))
    if n_cut := sum(each.n_cut_token for each in answered):
        blocks.append(Text(f"The last {n_cut:,} tokens were not read: the text is too long."))
    return blocks


def joined(text: str, answers: Sequence[Sequence[ServedAnswer]]) -> list[ServedAnswer]:
    """Return the answers to the lines of a text as answers to the text: the k-th has the k-th
    answer to each line, or the last where there are fewer.

    Args:
        answers: answers to each line that is not blank.
    """
    whole = []
    for k in range(max(map(len, answers))):
        lines = (each[min(k, len(each) - 1)].text for each in answers)
        filled = "\n".join(next(lines) if line.strip() else "" for line in text.splitlines())
        whole.append(ServedAnswer(filled, "stop", 0))
    return whole


def text_block(answer: ServedAnswer, model: ServedModelInfo) -> MarkedText | Text:
    """Return the block of the text of an answer."""
    if not answer.text.strip():
        return Text(EMPTY)
    return MarkedText(answer.text, language=model.target_language or UNDETERMINED)


def figures_of(answer: ServedAnswer) -> list[object]:
    """Return the block of the figures of an answer, if it has any."""
    figures = {"log p": answer.log_p, "no-answer score": answer.no_answer_score}
    known: dict[str, Cell] = {name: each for name, each in figures.items() if each is not None}
    return [Facts(known)] if known else []


def plain_blocks(
    form: Form, answers: Sequence[ServedAnswer], model: ServedModelInfo
) -> list[object]:
    """Return the blocks of an answer that is a text."""
    return [text_block(answers[0], model), *figures_of(answers[0])]


def translation_blocks(
    form: Form, answers: Sequence[ServedAnswer], model: ServedModelInfo
) -> list[object]:
    """Return the blocks of a translation: its text, alternatives, and attention."""
    best = answers[0]
    blocks: list[object] = [text_block(best, model)]
    if len(answers) > 1:
        rows: list[list[Cell]] = [[each.text, each.log_p] for each in answers]
        n = 1 if best.log_p is None else 2
        columns = ["output", "log p"][:n]
        blocks.append(Table(columns, [row[:n] for row in rows], "Alternatives", places=3))
    else:
        blocks += figures_of(best)
    attention = best.attention
    if attention is not None and max(map(len, (attention.source, attention.target))) > MOST_DRAWN:
        blocks.append(Text(NOT_DRAWN))
    elif attention is not None and attention.weights:
        blocks.append(
            Heatmap(
                attention.weights,
                [*map(shown_token, attention.target)],
                [*map(shown_token, attention.source)],
                caption=ATTENTION,
                row_language=model.target_language or UNDETERMINED,
                column_language=model.source_language or UNDETERMINED,
            )
        )
    return blocks


def passage_blocks(
    form: Form, answers: Sequence[ServedAnswer], model: ServedModelInfo
) -> list[object]:
    """Return the blocks of an answer, marked in its passage where the model tells its span."""
    best = answers[0]
    blocks: list[object] = [text_block(best, model) if best.text else Text(NO_ANSWER)]
    if best.span is not None:
        language = model.source_language or UNDETERMINED
        blocks.append(MarkedText(lines_of(form, "passage"), given=best.span, language=language))
    return [*blocks, *figures_of(best)]


def continuation_blocks(
    form: Form, answers: Sequence[ServedAnswer], model: ServedModelInfo
) -> list[object]:
    """Return the blocks of a continuation: its tokens shaded by their probabilities, and a table of
    these.
    """
    best = answers[0]
    pieces = pieces_of(best)
    language = model.target_language or UNDETERMINED
    blocks: list[object] = [TokenShades(lines_of(form, "text"), pieces, language)]
    tokens = [token for token in best.tokens if token.log_p is not None]
    if tokens:
        rows: list[list[Cell]] = [
            [Verbatim(shown_token(token.text)), percent(token.log_p), likely(token)]
            for token in tokens
        ]
        columns: list[Heading | str] = ["token", Heading("probability", "%"), "likely tokens"]
        blocks.append(Folded("Numbers", [Table(columns, rows, TOKENS)]))
    return blocks


SHOWN: dict[str, Callable[[Form, Sequence[ServedAnswer], ServedModelInfo], list[object]]] = {
    "translate": translation_blocks,
    "summarize": plain_blocks,
    "ask": passage_blocks,
    "continue": continuation_blocks,
    "transcribe": plain_blocks,
}


def pieces_of(answer: ServedAnswer) -> list[tuple[str, int | None, str]]:
    """Return (text, shade, title) of each piece of an answer. Tokens that begin in the same
    character, such as bytes, are one piece.
    """
    by_start: dict[int, list[TokenInfo]] = {0: []}
    for token in answer.tokens:
        by_start.setdefault(token.offset, []).append(token)
    pieces: list[tuple[str, int | None, str]] = []
    for start, end in pairwise([*sorted(by_start), len(answer.text)]):
        known = by_start[start]
        log_p = sum(token.log_p for token in known if token.log_p is not None)
        shade = shade_of(math.exp(log_p)) if known else None
        title = f"{number(percent(log_p))}{percent_sign()} ({likely(known[-1])})" if known else ""
        if end > start:
            pieces.append((answer.text[start:end], shade, title))
    return pieces


def likely(token: TokenInfo) -> str:
    """Return the most probable tokens in the place of a token, with percentages."""
    return ", ".join(
        f"{shown_token(text)}\u00a0{percentage(percent(log_p))}" for text, _, log_p in token.top
    )


def percent_sign() -> str:
    """Return the percent sign as the language of the interface sets it behind a number."""
    return "%" if interface_language() == CHINESE else "\u00a0%"


def faint() -> str:
    """Return the text for a percentage that would be rounded to 0."""
    return "<0.1%" if interface_language() == CHINESE else "<\u00a00.1\u00a0%"


def percentage(value: float) -> str:
    """Return a percentage as text with one decimal."""
    return faint() if value < FAINT else f"{number(value, 1)}{percent_sign()}"


def percent(log_p: float | None) -> float:
    """Return a log probability as a percentage."""
    return math.nan if log_p is None else 100 * math.exp(log_p)


def shown_token(text: str) -> str:
    """Return the text of a token as it is shown by itself: line breaks and spaces are visible, and
    "·" stands for a part of a character.
    """
    return text.replace("\n", "⏎").replace("\ufffd", "·").replace(" ", "␣")
