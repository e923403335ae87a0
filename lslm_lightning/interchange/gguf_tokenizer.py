"""Tokenizer of a run as the vocabulary of a GGUF file, if llama.cpp splits text as it does."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import tokenizers
from tokenizers.pre_tokenizers import ByteLevel

from lslm_lightning.interchange.layouts.layout import SpecialIds
from lslm_lightning.interchange.tokenizer_export import backend_and_prefix, tokens_of
from lslm_lightning.text.tokenizer import Tokenizer, steps_of
from lslm_lightning.types import JsonObject, Settings

if TYPE_CHECKING:
    from gguf import GGUFWriter

SPACE = "▁"
CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LETTERS = r"|[^\r\n\p{L}\p{N}]?\p{L}+"
PRE_TOKENIZERS: Mapping[tuple[tuple[object, ...], ...], str] = {
    (("ByteLevel", True),): "gpt-2",
    (("Digits", True), ("ByteLevel", True)): "starcoder",
    (("Split", rf"{CONTRACTIONS}{LETTERS}|\p{{N}}{{1,3}}{REST}"), ("ByteLevel", False)): (
        "llama-bpe"
    ),
    (("Split", rf"{CONTRACTIONS}{LETTERS}|\p{{N}}{REST}"), ("ByteLevel", False)): "qwen2",
}
"""llama.cpp's name of a way to split text into words, by the steps of a tokenizer.json."""

IGNORES_MERGES = ("llama-bpe",)  # take a word that is a token as it is
SENTENCEPIECE = [
    {"type": "Prepend", "prepend": SPACE},
    {"type": "Replace", "pattern": {"String": " "}, "content": SPACE},
]
"""Normalizers of a tokenizer.json that write spaces as llama.cpp does for a Llama."""


@dataclass(frozen=True)
class Vocabulary:
    """Vocabulary of a GGUF file.

    Args:
        kind: "gpt2" for byte pairs of bytes, "llama" for those of SentencePiece.
        pre: llama.cpp's name of the way to split text into words.
        tokens: token of each id.
        types: llama.cpp's type of each token.
        merges: pairs that are merged, first ones first.
        scores: score of each token, by which SentencePiece merges; empty without one.
    """

    kind: str
    pre: str
    tokens: Sequence[str]
    types: Sequence[int]
    merges: Sequence[tuple[str, str]]
    scores: Sequence[float] = ()


def read_vocabulary(tokenizer: Tokenizer, n: int) -> Vocabulary:
    """Return the vocabulary of a tokenizer for a model with `n` rows.

    Raises:
        ValueError: llama.cpp would split text otherwise; the message says by what.
    """
    backend, before = backend_and_prefix(tokenizer)
    layout = json.loads(backend.to_str())
    model = layout["model"]
    if before:
        raise refusal("it puts tokens before every text")
    if model["type"] != "BPE":
        raise refusal(f"llama.cpp has no {model['type']} that splits text as here")
    if not model["merges"]:
        raise refusal("it merges no pairs, and a file must have some")
    for name in ("continuing_subword_prefix", "end_of_word_suffix", "dropout"):
        if model[name]:
            raise refusal(f"llama.cpp has no {name}, which is {model[name]!r}")
    merges = [(left, right) for left, right in model["merges"]]
    tokens = tokens_of(backend, n)
    types = token_types(layout, backend, n)
    if model["byte_fallback"]:
        check_sentencepiece(layout)
        scores = scores_of(merges, model["vocab"], tokens)
        return Vocabulary("llama", "default", tokens, types, merges, scores)
    if normalizers := steps_of(layout, "normalizer"):
        changes = " and ".join(step["type"] for step in normalizers)
        raise refusal(f"llama.cpp does not change text as {changes} does")
    pre = PRE_TOKENIZERS.get(tuple(map(word_step, steps_of(layout, "pre_tokenizer"))))
    if pre is None or model["ignore_merges"] != (pre in IGNORES_MERGES):
        raise refusal("llama.cpp splits text into other words")
    if missing := set(ByteLevel.alphabet()) - set(model["vocab"]):
        raise refusal(f"{len(missing)} bytes have no token")
    return Vocabulary("gpt2", pre, tokens, types, merges)


def refusal(reason: str) -> ValueError:
    """Return the error for a tokenizer that a file cannot hold."""
    return ValueError(
        f"the tokenizer of the run has no home in GGUF: {reason}; train with "
        "lslm_lightning.text.recipes.BytePair as it is by default, or take --to huggingface or "
        "ctranslate2, which read tokenizer.json"
    )


def word_step(step: Settings) -> tuple[object, ...]:
    """Return what matters of a pre-tokenizer: its type and how it splits."""
    kind = step["type"]
    if kind == "ByteLevel" and not step["add_prefix_space"]:
        return kind, step["use_regex"]
    if kind == "Digits":
        return kind, step["individual_digits"]
    if kind == "Split" and step["behavior"] == "Isolated" and not step["invert"]:
        return kind, step["pattern"].get("Regex")
    return kind, json.dumps(step, sort_keys=True)


def token_types(layout: Settings, backend: tokenizers.Tokenizer, n: int) -> list[int]:
    """Return llama.cpp's type of each of `n` ids.

    Raises:
        ValueError: an added token takes the spaces around it, or is found within no word.
    """
    from gguf import TokenType

    unknown = layout["model"]["unk_token"]
    types = [
        TokenType.UNUSED if backend.id_to_token(i) is None else TokenType.NORMAL for i in range(n)
    ]
    if layout["model"]["byte_fallback"]:
        for byte in range(256):
            if (index := backend.token_to_id(f"<0x{byte:02X}>")) is None or index >= n:
                raise refusal(f"the byte {byte} has no token")
            types[index] = TokenType.BYTE
    if unknown is not None and (index := backend.token_to_id(unknown)) is not None:
        types[index] = TokenType.UNKNOWN
    for token in layout["added_tokens"]:
        if token["content"] == unknown or token["id"] >= n:
            continue
        types[token["id"]] = TokenType.CONTROL if token["special"] else TokenType.USER_DEFINED
        if not token["special"] and (token["lstrip"] or token["rstrip"] or token["single_word"]):
            raise refusal(f"the added token {token['content']!r} takes spaces or words with it")
    return [int(each) for each in types]


def check_sentencepiece(layout: JsonObject) -> None:
    """Check that spaces are written as in the vocabulary of a Llama.

    Raises:
        ValueError: they are not.
    """
    if steps_of(layout, "normalizer") != SENTENCEPIECE or layout["pre_tokenizer"]:
        raise refusal("llama.cpp writes the spaces of a text otherwise")


def scores_of(
    merges: Sequence[tuple[str, str]], known: Mapping[str, int], tokens: Iterable[str]
) -> list[float]:
    """Return the score of each token by which SentencePiece merges pairs in the order of a list.

    SentencePiece merges the two neighbours whose common token has the best score, if there is such
    a token; a list may name other pairs, or the pairs of a token far from each other.

    Args:
        merges: pairs, first ones first.
        known: token -> id of all tokens.
        tokens: token of each id that is wanted.

    Raises:
        ValueError: no scores have the order of the list.
    """
    products = [name for name, _ in groupby(left + right for left, right in merges)]
    ranks = {name: rank for rank, name in enumerate(products)}
    if len(ranks) != len(products):
        raise refusal("SentencePiece merges in another order")
    pairs = set(merges)
    for token in ranks:
        for i in range(1, len(token)):
            pair = token[:i], token[i:]
            if pair not in pairs and pair[0] in known and pair[1] in known:
                raise refusal(f"SentencePiece merges {' and '.join(pair)}, and it does not")
    return [-float(ranks.get(token, len(ranks))) for token in tokens]


def add_vocabulary(writer: "GGUFWriter", found: Vocabulary, ids: SpecialIds) -> None:
    """Add a vocabulary to a file, of which every text begins with the token `ids.bos`."""
    from gguf import TokenType

    writer.add_tokenizer_model(found.kind)
    writer.add_tokenizer_pre(found.pre)
    writer.add_token_list(found.tokens)
    writer.add_token_types(found.types)
    writer.add_token_merges([f"{left} {right}" for left, right in found.merges])
    if found.scores:
        writer.add_token_scores(found.scores)
    writer.add_bos_token_id(ids.bos)
    writer.add_eos_token_id(ids.eos)
    writer.add_pad_token_id(ids.pad)
    if TokenType.UNKNOWN in found.types:
        writer.add_unk_token_id(found.types.index(TokenType.UNKNOWN))
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(found.kind == "llama")
