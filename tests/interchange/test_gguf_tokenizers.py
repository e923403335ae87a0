"""Tokenizers in GGUF files against this project's: the same ids for texts of many scripts."""

import io
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import tokenizers
import transformers
from tokenizers import decoders, models, normalizers, pre_tokenizers

from lslm_lightning.interchange.exporting import export_model
from lslm_lightning.interchange.gguf_files import FILE
from lslm_lightning.interchange.gguf_tokenizer import read_vocabulary, scores_of
from lslm_lightning.interchange.verification import SCRIPTS
from lslm_lightning.text.recipes import (
    BytePair,
    Bytes,
    Characters,
    Recipe,
    TokenizerFile,
    Unigram,
    Words,
)
from lslm_lightning.text.tokenizer import Tokenizer
from tests.interchange.test_export import make_run
from tests.interchange.test_gguf import BYTES, FITTING, TEXTS

gguf = pytest.importorskip("gguf")

BLOCKS = [
    *[(0x20, 0x7E)] * 4,
    *[(0x00, 0x1F), (0xA0, 0x24F), (0x370, 0x4FF), (0x590, 0x6FF), (0x900, 0x97F)],
    *[(0xE00, 0xE7F), (0x2000, 0x206F), (0x3040, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3)],
    *[(0x1F300, 0x1F64F), (0x10000, 0x1FFFD)],
]
"""Ranges of code points of many scripts."""


def sentencepiece() -> Tokenizer:
    """Return a tokenizer of SentencePiece as tokenizer.json of a Llama holds it."""
    pieces = pytest.importorskip("sentencepiece")
    model = io.BytesIO()
    pieces.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS),
        model_writer=model,
        model_type="bpe",
        vocab_size=600,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        character_coverage=1.0,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    trained = pieces.SentencePieceProcessor(model_proto=model.getvalue())
    n = trained.get_piece_size()
    vocabulary = {trained.id_to_piece(i): i for i in range(n)}
    scores = {trained.id_to_piece(i): trained.get_score(i) for i in range(n)}
    merges = transformers.tokenization_utils_base.generate_merges(vocabulary, scores)
    backend = tokenizers.Tokenizer(
        models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    space = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    backend.normalizer = normalizers.Sequence(space)
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    assert [backend.encode(text).ids for text in TEXTS] == trained.encode(TEXTS)
    backend.add_special_tokens(["<s>", "</s>", "<pad>"])
    return Tokenizer(backend)


def read_tokenizer(folder: Path) -> transformers.PreTrainedTokenizerBase:
    """Return the tokenizer of a folder, read by `transformers`."""
    return transformers.AutoTokenizer.from_pretrained(
        folder, gguf_file=FILE, split_special_tokens=True
    )


def strings(n: int) -> Iterator[str]:
    """Yield random texts of many scripts, with spaces, digits and contractions."""
    chance = random.Random(0)
    for _ in range(n):
        low, high = chance.choice(BLOCKS)
        written = [
            chance.choice([chr(chance.randint(low, high)), chance.choice("  \n\t12.,'s")])
            for _ in range(chance.randint(0, 24))
        ]
        yield "".join(written)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_texts_have_the_same_ids(kind: str, tmp_path: Path) -> None:
    tokenizer = BYTES if kind == "gpt2" else sentencepiece()
    parts = replace(FITTING["grouped keys"], vocab_size=tokenizer.vocab_size)
    assert read_vocabulary(tokenizer, parts.vocab_size).kind == kind
    run = make_run(tmp_path / "run", parts, tokenizer)
    theirs = read_tokenizer(export_model(run, tmp_path / "out", to="gguf").path)
    texts = [*strings(3000), *SCRIPTS, "</s> and <pad> are text", ""]
    if kind == "llama":  # transformers drops a space before a text, which llama.cpp does not
        texts = [text.lstrip(" ") for text in texts]
    ours = [[tokenizer.eos_id, *ids] for ids in tokenizer.encode_batch(texts)]
    assert theirs(texts).input_ids == ours
    assert theirs.bos_token_id == theirs.eos_token_id == tokenizer.eos_id


def test_scores_merge_in_the_order_of_a_list() -> None:
    known = {name: i for i, name in enumerate(["a", "b", "c", "ab", "bc", "abc"])}
    merges = [("b", "c"), ("a", "b"), ("a", "bc"), ("ab", "c")]
    scores = dict(zip(known, scores_of(merges, known, known), strict=True))
    assert scores["bc"] > scores["ab"] > scores["abc"] > scores["a"]
    with pytest.raises(ValueError, match="SentencePiece merges ab and c, and it does not"):
        scores_of(merges[:3], known, known)
    with pytest.raises(ValueError, match="SentencePiece merges in another order"):
        scores_of([merges[2], *merges[:2], merges[3]], known, known)


RECIPES: dict[str, tuple[Recipe, str]] = {
    "unigram": (Unigram(vocab_size=420), "has no Unigram that splits"),
    "words": (Words(), "has no WordLevel that splits"),
    "characters": (Characters(), "it merges no pairs"),
    "bytes": (Bytes(), "it merges no pairs"),
    "lower case": (
        BytePair(vocab_size=300, lowercase=True),
        "does not change text as Lowercase does",
    ),
}


@pytest.mark.parametrize("name", RECIPES)
def test_tokenizers_without_a_home_are_refused(name: str, tmp_path: Path) -> None:
    recipe, expected = RECIPES[name]
    tokenizer = recipe.train(TEXTS)
    parts = replace(FITTING["grouped keys"], vocab_size=tokenizer.vocab_size)
    run = make_run(tmp_path / "run", parts, tokenizer)
    with pytest.raises(ValueError, match=rf"has no home in GGUF: .*{expected}.*BytePair as it is"):
        export_model(run, tmp_path / "out", to="gguf")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def changed(change: Callable[[dict], object]) -> Tokenizer:
    """Return a byte-level tokenizer whose tokenizer.json was changed."""
    layout = json.loads(BYTES.to_json())
    change(layout)
    return Tokenizer(tokenizers.Tokenizer.from_str(json.dumps(layout)))


def with_split(pattern: str, ignores_merges: bool = False) -> Tokenizer:
    """Return a byte-level tokenizer that splits text by a regular expression."""
    backend = tokenizers.Tokenizer.from_str(BYTES.to_json())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.model.ignore_merges = ignores_merges
    return Tokenizer(backend)


@pytest.mark.parametrize(
    "way",
    [
        pre_tokenizers.Whitespace(),
        pre_tokenizers.ByteLevel(add_prefix_space=True),
        pre_tokenizers.Split(" ", "removed"),
    ],
    ids=["words", "prefix space", "removed"],
)
def test_other_ways_to_split_are_refused(way: pre_tokenizers.PreTokenizer) -> None:
    backend = tokenizers.Tokenizer.from_str(BYTES.to_json())
    backend.pre_tokenizer = way
    with pytest.raises(ValueError, match=r"llama\.cpp splits text into other words"):
        read_vocabulary(Tokenizer(backend), backend.get_vocab_size())


def test_ways_to_split_words_are_known_by_name() -> None:
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    n = BYTES.vocab_size
    assert read_vocabulary(BYTES, n).pre == "gpt-2"
    splits = GGUF_PRE_TOKENIZER_SPLITS
    assert read_vocabulary(with_split(splits["llama-bpe"], True), n).pre == "llama-bpe"
    assert read_vocabulary(with_split(splits["qwen2"]), n).pre == "qwen2"
    digits = pre_tokenizers.Digits(individual_digits=True)
    starcoder = tokenizers.Tokenizer.from_str(BYTES.to_json())
    starcoder.pre_tokenizer = pre_tokenizers.Sequence([digits, starcoder.pre_tokenizer])
    assert read_vocabulary(Tokenizer(starcoder), n).pre == "starcoder"
    for other in (with_split(splits["llama-bpe"]), with_split(r"\s+")):
        with pytest.raises(ValueError, match="splits text into other words"):
            read_vocabulary(other, n)
    for name, change in {
        "end_of_word_suffix": lambda layout: layout["model"].update(end_of_word_suffix="</w>"),
        "added token '<x>' takes": lambda layout: layout["added_tokens"].append(
            {**layout["added_tokens"][0], "id": 5, "content": "<x>", "special": False}
            | {"lstrip": True}
        ),
        "spaces of a text": lambda layout: layout["model"].update(
            byte_fallback=True,
            vocab={**layout["model"]["vocab"], **{f"<0x{i:02X}>": n + i for i in range(256)}},
        ),
    }.items():
        with pytest.raises(ValueError, match=name):
            read_vocabulary(changed(change), n + 256)


def test_every_row_has_a_token(tmp_path: Path) -> None:
    vocabulary = read_vocabulary(BYTES, BYTES.vocab_size + 2)
    assert vocabulary.tokens[-2:] == ["<unused_400>", "<unused_401>"]
    assert vocabulary.types[-2:] == [int(gguf.TokenType.UNUSED)] * 2
    assert vocabulary.types[BYTES.eos_id] == gguf.TokenType.CONTROL
    assert vocabulary.types[-3] == gguf.TokenType.NORMAL


def test_a_tokenizer_of_a_file_leaves_too(tmp_path: Path) -> None:
    BYTES.save(tmp_path / "tokenizer.json")
    assert read_vocabulary(TokenizerFile(str(tmp_path / "tokenizer.json")).train(), 400).merges
