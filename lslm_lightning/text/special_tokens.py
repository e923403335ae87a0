"""Safeguard that keeps ordinary text that looks like a special token from being encoded as that
token.
"""

import re
from collections.abc import Sequence

import tokenizers
from tokenizers import Regex, pre_tokenizers

from lslm_lightning.text.tokenizer import UNKNOWN, rust_errors


def guard(special: Sequence[str]) -> pre_tokenizers.PreTokenizer:
    """Return a pre-tokenizer that splits text that looks like a special token after its first
    character.

    The tokenizer model then cannot produce the special token from text.
    """
    pattern = "|".join(f"{re.escape(token[0])}(?={re.escape(token[1:])})" for token in special)
    return pre_tokenizers.Split(Regex(pattern), "isolated")


def protect(backend: tokenizers.Tokenizer) -> None:
    """Prepend the pre-tokenizer of `guard` to a tokenizer if it encodes ordinary text as a special
    token.

    Raises:
        ValueError: ordinary text is encoded as a special token even then.
    """
    special = {
        index: token.content
        for index, token in backend.get_added_tokens_decoder().items()
        if token.special
    }
    special = {index: token for index, token in special.items() if token not in UNKNOWN}
    backend.encode_special_tokens = True

    def produced_by_text() -> set[int]:
        texts = [
            f"{before}{token}{after}"
            for token in special.values()
            for before, after in (("", ""), ("a", "a"), (" ", " "))
        ]
        with rust_errors("it cannot encode", "it is damaged, or has no token for unknown text"):
            encodings = [backend.encode(text, add_special_tokens=False) for text in texts]
        return special.keys() & {index for encoding in encodings for index in encoding.ids}

    if produced_by_text():
        before = [backend.pre_tokenizer] if backend.pre_tokenizer else []
        backend.pre_tokenizer = pre_tokenizers.Sequence([guard(list(special.values())), *before])
    if remaining := [special[index] for index in produced_by_text()]:
        raise ValueError(
            f"ordinary text becomes the special token {remaining[0]!r}; give it a name that no "
            "text has"
        )
