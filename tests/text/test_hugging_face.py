"""Tokenizers of pretrained models: the ids of transformers, the promises of ours."""

import copy
import json
import math
import pickle
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import decoders, pre_tokenizers, processors, trainers
from transformers import (
    AutoTokenizer,
    BartConfig,
    GPT2Config,
    MarianConfig,
    PreTrainedTokenizerFast,
    T5Config,
)
from transformers.utils import sentencepiece_model_pb2_new as layout

from lslm_lightning.text.hugging_face import HuggingFaceTokenizer, model_config
from lslm_lightning.text.recipes import TokenizerFile
from lslm_lightning.text.sentencepiece import read_pieces
from lslm_lightning.text.tokenizer_files import load_tokenizer

TEXTS = [
    "The cat sat on the mat.",
    " two  spaces, and a tab\t",
    "你好，世界",
    "naïve 🏽",
    "a <|endoftext|> b </s> c",
    "",
]


@pytest.fixture
def gpt2(tmp_path):
    """As GPT-2's: byte-level, one special token, no padding."""
    backend = tokenizers.Tokenizer(tokenizers.models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        TEXTS,
        trainers.BpeTrainer(
            vocab_size=300, initial_alphabet=alphabet, special_tokens=["<|endoftext|>"]
        ),
    )
    names = dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>")
    PreTrainedTokenizerFast(tokenizer_object=backend, **names).save_pretrained(tmp_path)
    GPT2Config(vocab_size=backend.get_vocab_size(), bos_token_id=0, eos_token_id=0).save_pretrained(
        tmp_path
    )
    return tmp_path


def framed(folder, config, template):
    """A tokenizer of words that writes special tokens around a text."""
    words = ["<pad>", "</s>", "<s>", "<unk>", "the", "cat"]
    backend = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>")
    )
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    special = [(word, i) for i, word in enumerate(words[:3])]
    backend.post_processor = processors.TemplateProcessing(single=template, special_tokens=special)
    names = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=backend, **names).save_pretrained(folder)
    config(
        vocab_size=len(words) + 2, pad_token_id=0, eos_token_id=1, decoder_start_token_id=0
    ).save_pretrained(folder)
    return folder


def pieces(path, scores, byte=None):
    """A model of SentencePiece: a unigram language model of these pieces."""
    proto = layout.ModelProto()
    proto.trainer_spec.model_type = 1
    proto.normalizer_spec.add_dummy_prefix = proto.normalizer_spec.remove_extra_whitespaces = True
    for piece, score, kind in [
        ("<unk>", 0, 2),
        ("<s>", 0, 3),
        ("</s>", 0, 3),
        *((piece, score, 1) for piece, score in scores.items()),
    ]:
        proto.pieces.add(piece=piece, score=score, type=kind)
    path.write_bytes(proto.SerializeToString())


SOURCE = {
    "▁the": -1,
    "▁c": -2,
    "at": -2,
    "▁": -3,
    "▁dog": -1,
    "c": -4,
    "a": -4,
    "t": -4,
    "▁cat": -9,
    "s": -4,
}
TARGET = {"▁die": -1, "▁Kat": -2, "ze": -2, "▁": -3, "c": -2, "at": -2}
IDS = {
    "</s>": 0,
    "<unk>": 1,
    "▁the": 2,
    "▁c": 3,
    "at": 4,
    "▁": 5,
    "c": 6,
    "a": 7,
    "t": 8,
    "▁die": 9,
    "▁Kat": 10,
    "ze": 11,
    "s": 12,
    "猫": 13,
}
IDS |= {"<pad>": 14}


@pytest.fixture
def marian(tmp_path):
    """As Marian's: two models of SentencePiece, and the ids of the pieces of both in one
    vocabulary.
    """
    pieces(tmp_path / "source.spm", SOURCE)
    pieces(tmp_path / "target.spm", TARGET)
    (tmp_path / "vocab.json").write_text(json.dumps(IDS), "utf-8")
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"source_lang": "en", "target_lang": "de"})
    )
    MarianConfig(
        vocab_size=15, pad_token_id=14, eos_token_id=0, decoder_start_token_id=14
    ).save_pretrained(tmp_path)
    return tmp_path


def test_ids_are_those_of_transformers(gpt2):
    """Padding is none of them, and what spells a special token is text."""
    tokenizer = HuggingFaceTokenizer(str(gpt2)).train()
    theirs = AutoTokenizer.from_pretrained(gpt2)
    for text in (*TEXTS[:4], ""):
        assert tokenizer.encode(text) == theirs(text).input_ids
    assert (
        tokenizer.encode_batch(TEXTS)
        == tokenizer.encode_targets(TEXTS)
        == [tokenizer.encode(text) for text in TEXTS]
    )
    assert tokenizer.lossless
    assert [tokenizer.decode(tokenizer.encode(text)) for text in TEXTS] == TEXTS
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.unk_id) == (0, 0, None)
    assert tokenizer.pad_id == len(theirs) == tokenizer.vocab_size - 1
    assert not {tokenizer.pad_id, tokenizer.eos_id} & {
        i for text in TEXTS for i in tokenizer.encode(text)
    }
    assert tokenizer.decode([*tokenizer.encode("the"), tokenizer.eos_id, tokenizer.pad_id]) == "the"


def test_answers_start_as_the_decoder_does(tmp_path):
    tokenizer = HuggingFaceTokenizer(str(framed(tmp_path, T5Config, "$A </s>"))).train()
    assert (tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id, tokenizer.unk_id) == (0, 0, 1, 3)


def test_what_stands_before_every_text(tmp_path):
    """BART's start of a text, which is not what its decoder starts with."""
    folder = str(framed(tmp_path, BartConfig, "<s> $A </s>"))
    tokenizer = HuggingFaceTokenizer(folder).train()
    theirs = AutoTokenizer.from_pretrained(folder)
    for text in ("the cat", ""):
        assert [*tokenizer.encode(text), tokenizer.eos_id] == theirs(text).input_ids
        assert [*tokenizer.encode_targets([text])[0], tokenizer.eos_id] == theirs(
            text_target=text
        ).input_ids
    ids, offsets = tokenizer.encode_with_offsets("the cat")
    assert (ids, offsets) == ([2, 4, 5], [(0, 0), (0, 3), (4, 7)])
    assert tokenizer.decode([0, 2, 4, 5, 1]) == "the cat"


def test_a_model_that_reads_more_behind_a_text_is_refused(tmp_path):
    with pytest.raises(ValueError, match="reads a text as '<unk> </s> <s>'"):
        HuggingFaceTokenizer(str(framed(tmp_path, BartConfig, "$A </s> <s>"))).train()


def test_each_side_of_marian_has_its_pieces(marian):
    """Worked out by hand: the most probable pieces; ids by what a piece spells, also where the
    other side alone has it.
    """
    tokenizer = HuggingFaceTokenizer(str(marian)).train()
    assert (
        tokenizer.pad_id,
        tokenizer.bos_id,
        tokenizer.eos_id,
        tokenizer.unk_id,
        tokenizer.vocab_size,
    ) == (14, 14, 0, 1, 15)
    assert tokenizer.encode("the cat") == [IDS["▁the"], IDS["▁c"], IDS["at"]], "-4 beats -9"
    assert tokenizer.encode("  the   cats ") == tokenizer.encode("the cats") == [2, 3, 4, 12]
    assert tokenizer.encode("the dog") == [2, 1], "a piece that the vocabulary lacks"
    assert tokenizer.encode("猫") == [IDS["▁"], IDS["猫"]], "no piece of the source's"
    assert tokenizer.encode("xyz the") == [IDS["▁"], 1, 2], "what is unknown is one token"
    assert 0 not in tokenizer.encode("the </s>")
    assert tokenizer.encode_targets(["die Katze", "cat"]) == [[9, 10, 11], [5, 6, 4]]
    assert tokenizer.decode([14, 9, 10, 11, 0, 14]) == "die Katze"
    ids, offsets = tokenizer.encode_with_offsets("the cat")
    assert (ids, ["the cat"[start:end] for start, end in offsets]) == (
        [2, 3, 4],
        ["the", " c", "at"],
    )


def best_score(scores, text):
    """Of the most probable way to spell `text` with these pieces, by looking at all; what no piece
    covers costs 10 more than the worst.
    """
    unknown = min(scores.values()) - 10
    best = [0.0] + [-math.inf] * len(text)
    for end in range(1, len(text) + 1):
        for start in range(end):
            score = scores.get(text[start:end], unknown if end - start == 1 else -math.inf)
            best[end] = max(best[end], best[start] + score)
    return best[-1]


@pytest.mark.slow
@given(
    st.lists(st.text("abc猫", min_size=1, max_size=5), min_size=1, max_size=4).map(" ".join),
    st.randoms(use_true_random=False),
)
def test_pieces_are_the_most_probable(text, chance):
    """Source: Kudo 2018, equation 3."""
    words = {"".join(chance.choices("▁abc", k=chance.randint(1, 3))) for _ in range(12)} | {"▁"}
    scores = {piece: -chance.uniform(1, 9) for piece in sorted(words)}
    with TemporaryDirectory() as folder:
        pieces(Path(folder, "x.spm"), scores)
        found = read_pieces(Path(folder, "x.spm")).encode(text).tokens
    spelled = "▁" + text.replace(" ", "▁")
    assert "".join(found) == spelled
    unknown = min(scores.values()) - 10
    total = sum(scores[piece] if piece in scores else unknown * len(piece) for piece in found)
    assert total == pytest.approx(best_score(scores, spelled), abs=1e-4)


def test_marian_as_transformers_has_it(marian):
    """But for text that spells a special token, which stays text here."""
    tokenizer = HuggingFaceTokenizer(str(marian)).train()
    theirs = AutoTokenizer.from_pretrained(marian)
    for text in ("the cat", " cats  the dog", "xyz 猫", "at a s", ""):
        assert tokenizer.encode(text) == theirs(text, add_special_tokens=False).input_ids
        assert (
            tokenizer.encode_targets([text])[0]
            == theirs(text_target=text, add_special_tokens=False).input_ids
        )
    assert tokenizer.eos_id not in tokenizer.encode("the </s>")


@pytest.mark.parametrize("kind", ["gpt2", "marian"])
def test_saving_changes_nothing(kind, request, tmp_path):
    folder = request.getfixturevalue(kind)
    tokenizer = HuggingFaceTokenizer(str(folder)).train()
    path = tmp_path / "saved" / "tokenizer.json"
    tokenizer.save(path)
    shutil.copytree(
        folder, tmp_path / "again" / "folder", ignore=shutil.ignore_patterns("saved", "again")
    )
    others = [
        load_tokenizer(path),
        TokenizerFile(str(path)).train(),
        pickle.loads(pickle.dumps(tokenizer)),
        copy.deepcopy(tokenizer),
    ]
    for again in (*others, HuggingFaceTokenizer(str(tmp_path / "again" / "folder")).train()):
        assert again.digest == tokenizer.digest
        assert (again.kind, again.lossless, again.vocab_size) == (
            tokenizer.kind,
            tokenizer.lossless,
            tokenizer.vocab_size,
        )
        assert (again.pad_id, again.bos_id, again.eos_id, again.unk_id) == (
            tokenizer.pad_id,
            tokenizer.bos_id,
            tokenizer.eos_id,
            tokenizer.unk_id,
        )
        assert again.encode_batch(TEXTS) == tokenizer.encode_batch(TEXTS)
        assert again.encode_targets(TEXTS) == tokenizer.encode_targets(TEXTS)


def test_what_is_no_tokenizer_is_refused_in_one_line(gpt2, marian):
    (marian / "source.spm").write_bytes(b"no model")
    with pytest.raises(ValueError, match=r"source\.spm is no model of SentencePiece"):
        HuggingFaceTokenizer(str(marian)).train()


@pytest.mark.parametrize(
    "name", ["config.json", "generation_config.json", "tokenizer_config.json", "vocab.json"]
)
def test_a_key_that_stands_twice_is_refused_in_every_file_of_a_model(marian, name):
    """`transformers` would use the last, and so other beams, ids or pieces than a reader sees."""
    path = marian / name
    [(key, value), *others] = json.loads(path.read_text()).items() if path.exists() else [("a", 1)]
    pairs = [f"{json.dumps(k)}: {json.dumps(v)}" for k, v in [(key, value), *others, (key, value)]]
    path.write_text(f"{{{', '.join(pairs)}}}")
    read = HuggingFaceTokenizer(str(marian)).train if name == "vocab.json" else model_config
    with pytest.raises(ValueError, match="stands twice"):
        read(*([] if name == "vocab.json" else [str(marian)]))
