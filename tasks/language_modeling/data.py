"""Running text as training windows, and as passages for evaluation."""

from collections.abc import Iterator, Sequence

from lslm_lightning.contracts import Example
from lslm_lightning.systems.batches import whole_texts
from lslm_lightning.training.window_data import WindowData

PASSAGE = 2000  # characters of a passage, about
BATCH_CHARACTERS = 200_000  # of texts that are scored together
N_PROMPT = 4
PROMPT = 200  # characters of a prompt, at most


def passages(text: str) -> Iterator[str]:
    """Split a text into consecutive passages of about 2000 characters. Joined, the passages are the
    text.

    A passage ends with a line or a space if possible.
    """
    at = 0
    while len(text) - at > 2 * PASSAGE:
        ends = (text.find(mark, at + PASSAGE, at + 2 * PASSAGE) for mark in ("\n", "。", " "))
        end = next((end + 1 for end in ends if end >= 0), at + PASSAGE)
        yield text[at:end]
        at = end
    yield text[at:]


class LanguageModelingData(WindowData):
    """Language modeling data with one text per row.

    An evaluation scores every text of its split. Long texts are split into passages, so that a
    score has a confidence interval.
    """

    def examples(self, split: str) -> Sequence[Example]:
        if split not in self._examples:
            found: list[Example] = []
            for row in self.rows(split):
                whole = self.to_example(row)
                pieces = list(passages(whole.references[0]))
                name = whole.id.replace("#", "%23")  # the id before # identifies the text
                ids = [name] if len(pieces) == 1 else [f"{name}#{i}" for i in range(len(pieces))]
                found += [
                    Example(id_, "", (piece,), whole.language)
                    for id_, piece in zip(ids, pieces, strict=True)
                ]
            self._examples[split] = found
        return self._examples[split]

    def prompts(self, split: str) -> list[Example]:
        """Return the beginnings of four texts or passages, spread over the split, as examples with
        the continuation as reference.
        """
        whole = [
            e for e in self.examples(split) if len(e.references[0]) >= 2 * PROMPT
        ] or self.examples(split)
        n = min(N_PROMPT, len(whole))
        return [beginning(whole[i * len(whole) // n]) for i in range(n)]

    def evaluation_batches(
        self, examples: Sequence[Example], rank: int = 0, world: int = 1
    ) -> list[list[Example]]:
        """Return the batches of whole texts for process `rank` of `world`, of about 200,000
        characters each.
        """
        return list(whole_texts(examples, BATCH_CHARACTERS))[rank::world]


def beginning(example: Example) -> Example:
    """Return the beginning of a passage as an example with the rest of the passage as reference."""
    text = example.references[0]
    ends = (text.rfind(mark, PROMPT // 2, PROMPT) for mark in ("\n", "。", " "))
    cut = next((end for end in ends if end > 0), min(PROMPT, len(text) // 2))
    return Example(
        f"prompt {example.id}",
        text[: cut + 1],
        (text[cut + 1 :][:PROMPT],),
        example.language,
        example.language,
    )
