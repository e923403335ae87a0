"""Tokens of prompts and answers: their log p, their places in a text, and their range."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from lslm_lightning.decoding.running import Written
from lslm_lightning.serving.protocol import ServingError
from lslm_lightning.text.tokenizer import Tokenizer

SOURCE_TOKENS = 4096  # of a source that an encoder without a limit of its own reads in one call


def written(log_p: Tensor, ids: Sequence[int], n_top: int) -> list[Written]:
    """Return tokens as a batch tells them.

    Args:
        log_p: (T, V) log p in the place of each token.
        ids: T tokens.
        n_top: number of most probable tokens in each place.
    """
    values, tokens = log_p.topk(min(n_top, log_p.size(1)))
    chosen = log_p.gather(1, torch.tensor(ids, device=log_p.device)[:, None])[:, 0]
    places = zip(ids, chosen.tolist(), tokens.tolist(), values.tolist(), strict=True)
    return [
        Written(0, id, value, list(zip(top, top_values, strict=True)))
        for id, value, top, top_values in places
    ]


def parts(offsets: Sequence[tuple[int, int]], n_character: int) -> Iterator[tuple[int, int]]:
    """Yield offsets [start, end) of the tokens of a text that cover each character once: one of
    several tokens belongs to the first, and one of none, such as a space between words, to the
    next.

    Args:
        offsets: offsets of each token, as a tokenizer gives them.
        n_character: length of the text.
    """
    last = 0
    for i, (_, end) in enumerate(offsets, 1):
        end = n_character if i == len(offsets) else max(last, end)
        yield last, end
        last = end


def check_ids(ids: Sequence[int], tokenizer: Tokenizer) -> None:
    """Check that a vocabulary has all token ids.

    Raises:
        ServingError: it lacks one.
    """
    wrong = [i for i in ids if not 0 <= i < tokenizer.vocab_size]
    if wrong:
        raise ServingError(
            f"prompt has the token {wrong[0]}, but must have numbers from 0 to "
            f"{tokenizer.vocab_size - 1}",
            parameter="prompt",
        )


def check_source(n_token: int, longest: int | None) -> None:
    """Check that an encoder can read a source in one call, whose time grows with the square of its
    length and in which no other request is answered.

    Args:
        n_token: number of tokens.
        longest: most positions of the model; None for any number.

    Raises:
        ServingError: it is too long.
    """
    most = longest or SOURCE_TOKENS
    if n_token > most:
        reader = "this server" if longest is None else "the model"
        raise ServingError(
            f"the text has {n_token:,} tokens, and {reader} reads at most {most:,}; shorten it, or "
            "give it in parts",
            "too_long",
        )
