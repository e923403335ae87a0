"""Text that spells a special token must stay text."""

import re
from collections.abc import Sequence

import tokenizers
from tokenizers import Regex, pre_tokenizers

from lslm_lightning.text.tokenizer import UNKNOWN, rust_errors


def guard(special: Sequence[str]) -> pre_tokenizers.PreTokenizer:
    """Cuts text that spells a special token after its first character, so that no model can take it
    for the token.
    """
    spelled = "|".join(f"{re.escape(token[0])}(?={re.escape(token[1:])})" for token in special)
    return pre_tokenizers.Split(Regex(spelled), "isolated")


def protect(backend: tokenizers.Tokenizer) -> None:
    """Adds the guard where text that spells a special token would become that token; ValueError
    where that does not help.
    """
    special = {
        index: token.content
        for index, token in backend.get_added_tokens_decoder().items()
        if token.special
    }
    special = {index: token for index, token in special.items() if token not in UNKNOWN}
    backend.encode_special_tokens = True

    def spellable() -> set[int]:
        texts = [
            f"{before}{token}{after}"
            for token in special.values()
            for before, after in (("", ""), ("a", "a"), (" ", " "))
        ]
        with rust_errors("it cannot encode", "it is damaged, or has no token for unknown text"):
            encodings = [backend.encode(text, add_special_tokens=False) for text in texts]
        return special.keys() & {index for encoding in encodings for index in encoding.ids}

    if spellable():
        before = [backend.pre_tokenizer] if backend.pre_tokenizer else []
        backend.pre_tokenizer = pre_tokenizers.Sequence([guard(list(special.values())), *before])
    if stubborn := [special[index] for index in spellable()]:
        raise ValueError(
            f"ordinary text becomes the special token {stubborn[0]!r}; give it a name that no "
            "text has"
        )
