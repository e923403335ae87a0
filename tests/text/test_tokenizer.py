"""Promises of every tokenizer: round trip, no special token out of text, equal after saving."""

import copy
import json
import pickle
from itertools import pairwise

import pytest
import tokenizers
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import models, processors

from lslm_lightning.text.recipes import BytePair, Bytes, Characters, Unigram, Words
from lslm_lightning.text.tokenizer import Frame, Tokenizer
from lslm_lightning.text.tokenizer_files import load_tokenizer

# A corpus that tempts: it is full of texts that spell special tokens.
CORPUS = [
    *[
        "<s> a </s> <pad> <unk> </s></s> <s><s> <0x41> it's the cat\n",
        "你好，世界！iPhone 15 发布了。\n",
        "the cat sat </s>\n\n  on the mat\t<pad>",
    ]
    * 20,
    "ünïcödé e\u0301 🏽👩‍👩‍👧 \x00\x1f\u2028 नमस्ते",
]
RECIPES = [
    BytePair(400),
    Bytes(),
    Unigram(400),
    Unigram(60, byte_fallback=False),
    Characters(),
    Words(),
]
TOKENIZERS = {repr(recipe): recipe.train(CORPUS) for recipe in RECIPES}
LOSSLESS = [tokenizer for tokenizer in TOKENIZERS.values() if tokenizer.lossless]
everyone = pytest.mark.parametrize("tokenizer", TOKENIZERS.values(), ids=TOKENIZERS.keys())

spelled = st.sampled_from(
    [
        "<s>",
        "</s>",
        "<pad>",
        "<unk>",
        "<0x41>",
        "<",
        "s>",
        "/s>",
        " ",
        "\n",
        "a",
        "▁",
        "你",
        "\u0301",
    ]
)
tempting = st.lists(spelled | st.text(max_size=3), max_size=12).map("".join)


@settings(max_examples=300)
@given(st.text() | tempting)
@example("  leading, trailing  ")
@example("\ufeff\ufffd\U0010ffff \r\n\x85\xa0\u3000")
def test_byte_level_text_comes_back(text):
    for tokenizer in LOSSLESS:
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_which_are_lossless():
    assert {tokenizer.kind for tokenizer in LOSSLESS} == {"byte-bpe", "bytes"}
    assert [tokenizer.unk_id for tokenizer in TOKENIZERS.values()] == [None, None, 3, 3, 3, 3]


@pytest.mark.slow
@settings(max_examples=200)
@given(tempting)
@example("</s>")
@example("a </s> b")
def test_text_never_becomes_a_special_token(text):
    for tokenizer in TOKENIZERS.values():
        assert not {tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id} & set(
            tokenizer.encode(text)
        )


@settings(max_examples=100)
@given(tempting)
def test_bytes_are_utf8(text):
    assert TOKENIZERS["Bytes()"].encode(text) == [byte + 3 for byte in text.encode()]


@everyone
def test_saving_changes_nothing(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "new" / "tokenizer.json")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["tokenizer.json"]
    for again in (
        load_tokenizer(tmp_path / "new" / "tokenizer.json"),
        pickle.loads(pickle.dumps(tokenizer)),
        copy.deepcopy(tokenizer),
    ):
        assert again.digest == tokenizer.digest
        assert (again.kind, again.lossless, again.unk_id) == (
            tokenizer.kind,
            tokenizer.lossless,
            tokenizer.unk_id,
        )
        assert again.encode("the </s> 世界") == tokenizer.encode("the </s> 世界")


@everyone
def test_batches_and_special_tokens(tokenizer):
    texts = [*CORPUS[:3], "", "</s>"]
    batch = tokenizer.encode_batch(texts)
    assert batch == [tokenizer.encode(text) for text in texts]
    assert batch[3] == []
    framed = [tokenizer.bos_id, *batch[0], tokenizer.eos_id, tokenizer.pad_id]
    assert tokenizer.decode(framed) == tokenizer.decode(batch[0])
    assert max(max(ids, default=0) for ids in batch) < tokenizer.vocab_size


@everyone
def test_offsets_point_into_the_text(tokenizer):
    text = " the cat ，你好 🏽 e\u0301 </s>\nx"
    ids, offsets = tokenizer.encode_with_offsets(text)
    assert ids == tokenizer.encode(text)
    assert len(ids) == len(offsets)
    if tokenizer.kind != "words":  # words leave the spaces out
        assert (offsets[0][0], offsets[-1][1]) == (0, len(text))
        assert all(
            start in (before_end, before_start)
            for (before_start, before_end), (start, _) in pairwise(offsets)
        )
    cat = [text[start:end] for start, end in offsets if start >= 4 and end <= 8]
    assert "".join(cat).strip() == "cat"


@everyone
def test_two_texts_are_framed_by_the_start_and_ends(tokenizer):
    assert tokenizer.frame() == Frame([1], [2], [2], (0, 1))


ENDS = [("<s>", 1), ("</s>", 2)]


@pytest.mark.parametrize(
    ("processor", "frame"),
    [
        (processors.BertProcessing(("</s>", 2), ("<s>", 1)), Frame([1], [2], [2], (0, 1))),
        (processors.RobertaProcessing(("</s>", 2), ("<s>", 1)), Frame([1], [2, 2], [2], (0, 0))),
        (
            processors.TemplateProcessing(pair="<s> <s> $A </s> $B:1", special_tokens=ENDS),
            Frame([1, 1], [2], [], (0, 1)),
        ),
        (
            processors.TemplateProcessing(pair="$A </s> $B:1 <s>", special_tokens=ENDS),
            Frame([1], [2], [2], (0, 1)),
        ),
    ],
)
def test_a_foreign_tokenizer_frames_as_it_does(processor, frame, tmp_path):
    """Where nothing stands before the first text, as in XLNet, frames are our own."""
    backend = tokenizers.Tokenizer.from_str(TOKENIZERS["Characters(min_count=1)"]._json)
    backend.post_processor = processor
    tokenizer = Tokenizer(backend)
    assert tokenizer.frame() == frame
    assert tokenizer.encode("a") == TOKENIZERS["Characters(min_count=1)"].encode("a"), (
        "ids are plain"
    )


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "tokenizer.json"
    TOKENIZERS["Bytes()"].save(path)
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        TOKENIZERS["Words(vocab_size=None, min_count=1)"].save(path)
    assert [file.name for file in tmp_path.iterdir()] == ["tokenizer.json"]
    assert load_tokenizer(path).kind == "bytes"


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[1, 2]", b'{"model": 1}', b"\xff\xfe", b"not json"]
)
def test_what_is_no_tokenizer_is_refused_in_one_line(content, tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"tokenizer\.json is not a tokenizer\.json") as error:
        load_tokenizer(path)
    assert "\n" not in str(error.value)


def test_a_torn_file_is_refused(tmp_path):
    path = tmp_path / "tokenizer.json"
    TOKENIZERS["Bytes()"].save(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="is not a tokenizer"):
        load_tokenizer(path)
    with pytest.raises(FileNotFoundError, match="is missing"):
        load_tokenizer(tmp_path / "other.json")


def test_a_tokenizer_without_roles_is_refused(tmp_path):
    path = tmp_path / "tokenizer.json"
    tokenizers.Tokenizer(
        models.WordLevel({"a": 0, "<unk>": 1, "<pad>": 2}, unk_token="<unk>")
    ).save(str(path))
    assert json.loads(path.read_text())["model"]["type"] == "WordLevel"
    with pytest.raises(ValueError, match="no token for bos and eos"):
        load_tokenizer(path)


def layout(**changes):
    """A tokenizer.json of four words, changed."""
    vocabulary = {"<pad>": 0, "<s>": 1, "</s>": 2, "a": 3}
    plain = json.loads(tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token="<s>")).to_str())
    return plain | changes


LENGTH_ZERO = {"type": "FixedLength", "length": 0}
CHARACTER_MAP = {"type": "Precompiled", "precompiled_charsmap": "/////w=="}
SPARE_PREFIX = {
    "type": "BPE",
    "vocab": {"<pad>": 0, "<s>": 1, "</s>": 2, "a": 3, "b": 4, "ab": 5},
    "merges": ["a b"],
    "continuing_subword_prefix": "####",
}
NO_UNKNOWN = {"type": "WordLevel", "vocab": layout()["model"]["vocab"], "unk_token": "none"}
NO_SUCH_TOKEN = {
    "type": "TemplateProcessing",
    "single": [],
    "pair": [{"SpecialToken": {"id": "Q", "type_id": 0}}],
    "special_tokens": {},
}


def use(path):
    tokenizer = load_tokenizer(path)
    return tokenizer.encode("a b"), tokenizer.encode_batch(["b"]), tokenizer.frame()


@pytest.mark.parametrize(
    "changes",
    [
        {"normalizer": CHARACTER_MAP},
        {"model": SPARE_PREFIX},
        {"pre_tokenizer": LENGTH_ZERO},
        {"post_processor": NO_SUCH_TOKEN},
        {"model": NO_UNKNOWN},
    ],
    ids=str,
)
def test_panics_of_the_rust_side_are_errors_of_one_line(changes, tmp_path):
    """A panic is no Exception: it would pass by every handler, as Ctrl-C does."""
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(layout(**changes)))
    with pytest.raises(ValueError, match=r"tokenizer\.json|Tokenizer\(") as error:
        use(path)
    assert "\n" not in str(error.value)


def test_a_nested_tokenizer_is_refused(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text("[" * 100_000)
    with pytest.raises(ValueError, match="is not a tokenizer"):
        load_tokenizer(path)


@pytest.mark.parametrize("roles", [{}, {"roles": {"pad": 10**12, "bos": 1, "eos": 2}}])
def test_ids_far_beyond_the_tokens_are_refused(roles, tmp_path):
    """A model would have a row for each of them."""
    path = tmp_path / "tokenizer.json"
    vocabulary = {"<pad>": 0, "<s>": 1, "</s>": 2, "a": 3 if roles else 2**32 - 1}
    plain = layout(model={"type": "WordLevel", "vocab": vocabulary, "unk_token": "a"})
    made = {"source": plain, "target": None, "ids": None, "before": [[], []], **roles}
    path.write_text(json.dumps(made if roles else plain))
    with pytest.raises(
        ValueError, match=r"tokens have ids up to .* a model would need a row for each"
    ):
        load_tokenizer(path)


@pytest.mark.parametrize(
    "change",
    [{"source": {}}, {"source": None}, {"roles": {}}, {"roles": {"pad": "x", "bos": 1, "eos": 2}}],
    ids=str,
)
def test_a_damaged_pretrained_tokenizer_is_refused(change, tmp_path):
    path = tmp_path / "tokenizer.json"
    roles = {"pad": 0, "bos": 1, "eos": 2}
    made = {"roles": roles, "source": layout(), "target": None, "ids": None, "before": [[], []]}
    path.write_text(json.dumps(made | change))
    with pytest.raises(ValueError, match="is not the tokenizer of a pretrained model"):
        load_tokenizer(path)
