"""Batches of similar or related examples."""

from collections.abc import Iterator, Sequence

from lslm_lightning.contracts import Example, by_text


def by_length(examples: Sequence[Example], batch_size: int) -> Iterator[list[Example]]:
    """Yield batches of at most `batch_size` examples with sources of similar length.

    The longest sources come first, so that a lack of memory shows at once.
    """
    order = sorted(examples, key=lambda e: (-e.length, e.id))
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def whole_texts(examples: Sequence[Example], n_character: int = 50_000) -> Iterator[list[Example]]:
    """Yield batches of examples whose references have at most about `n_character` characters in
    total.

    Consecutive passages of one text ("play#0", "play#1", see `contracts.Scorer`) stay in one batch.
    """
    batch: list[Example] = []
    size = 0
    for text in by_text(examples):
        if batch and size + sum(len(e.references[0]) for e in text) > n_character:
            yield batch
            batch = []
            size = 0
        batch += text
        size += sum(len(e.references[0]) for e in text)
    if batch:
        yield batch
