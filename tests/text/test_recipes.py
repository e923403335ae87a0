"""What each kind of tokenizer promises, and how foreign ones are adopted."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tokenizers
from jsonargparse import ArgumentParser
from tokenizers import decoders, models, normalizers, pre_tokenizers

from lslm_lightning.text.recipes import (
    BytePair,
    Bytes,
    Characters,
    Recipe,
    TokenizerFile,
    Unigram,
    Words,
)

CORPUS = ["the cat sat on the mat\n", "床前明月光，疑是地上霜。\n举头望明月，低头思故乡。"] * 10
TRAINED = [
    BytePair(300),
    BytePair(300, lowercase=True),
    Unigram(330),
    Unigram(40, byte_fallback=False),
    Characters(),
    Words(),
]


# ---- every kind


@pytest.mark.parametrize("recipe", [*TRAINED, Bytes()], ids=repr)
def test_special_tokens_come_first(recipe):
    tokenizer = recipe.train(CORPUS)
    assert (tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id) == (0, 1, 2)
    assert tokenizer.unk_id in (3, None)


@pytest.mark.parametrize("recipe", TRAINED, ids=repr)
@pytest.mark.parametrize("texts", [[], [""], ["  \n", "\t"]], ids=["none", "empty", "blank"])
def test_an_empty_corpus_is_refused(recipe, texts):
    with pytest.raises(ValueError, match="the corpus is empty"):
        recipe.train(iter(texts))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BytePair(vocab_size=258), "vocab_size=258 of BytePair must be at least 259"),
        (lambda: BytePair(min_count=0), "min_count=0 of BytePair must be at least 1"),
        (lambda: Unigram(vocab_size=260), "vocab_size=260 of Unigram must be at least 261"),
        (
            lambda: Unigram(vocab_size=4, byte_fallback=False),
            "vocab_size=4 of Unigram must be at least 5",
        ),
        (lambda: Characters(min_count=0), "min_count=0 of Characters"),
        (lambda: Words(vocab_size=4), "vocab_size=4 of Words must be at least 5"),
    ],
)
def test_sizes_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


DIGESTS = """
from lslm_lightning.text.recipes import *
colours = ("red", "green", "blue", "dark")
things = ("cat", "cats", "dog", "tree", "trees", "故乡")
texts = [f"{a} {b} {a}{b} 明月{b}" for a in colours for b in things] * 7
texts += [chr(code) for code in range(0x4e00, 0x4e30)]
unigrams = Unigram(330), Unigram(99, byte_fallback=False, coverage=1)
for recipe in (BytePair(400), *unigrams, Characters(), Words(vocab_size=20)):
    print(recipe.train(texts).digest)
"""


@pytest.mark.slow
def test_training_is_deterministic():
    outputs = set()
    for threads, seed in (("1", "0"), ("3", "7")):
        environment = os.environ | {
            "RAYON_NUM_THREADS": threads,
            "PYTHONHASHSEED": seed,
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        done = subprocess.run(
            [sys.executable, "-c", DIGESTS],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        outputs.add(done.stdout)
    assert len(outputs) == 1
    assert len(outputs.pop().split()) == 5


def test_vocabulary_sizes():
    assert BytePair(300).train(CORPUS).vocab_size == 300
    assert BytePair(5000, min_count=3).train(CORPUS).vocab_size < 400
    assert Unigram(300).train(CORPUS).vocab_size <= 300
    assert Bytes().train().vocab_size == 259
    assert Words(vocab_size=6).train(CORPUS).vocab_size == 6


def test_yaml_chooses_a_recipe_by_class_path():
    parser = ArgumentParser()
    parser.add_argument("--tokenizer", type=Recipe)
    chosen = parser.parse_args(
        ["--tokenizer=lslm_lightning.text.recipes.Words", "--tokenizer.min_count=4"]
    )
    assert parser.instantiate_classes(chosen).tokenizer == Words(min_count=4)


# ---- characters, words, unigram


def test_characters_keep_every_space_and_line_end():
    tokenizer = Characters().train(["a  b\n\n\tc \r\n"])
    text = "\n a\tb  c\r\n"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len(tokenizer.encode(text)) == len(text)
    assert tokenizer.encode("aQb") == [
        *tokenizer.encode("a"),
        tokenizer.unk_id,
        *tokenizer.encode("b"),
    ]
    assert tokenizer.decode(tokenizer.encode("aQb")) == "a<unk>b"


def test_rare_characters_are_unknown_and_frequent_ones_first():
    tokenizer = Characters(min_count=2).train(["bbbaac"])
    assert tokenizer.encode("bac") == [4, 5, 3]
    assert tokenizer.vocab_size == 6


def test_words_of_a_tokenized_corpus():
    tokenizer = Words(vocab_size=7).train([" the <unk> sat \n the cat \n", "the\u00a0mat \n"])
    assert tokenizer.encode("the dog\nthe <unk>\n") == [5, 3, 4, 5, 3, 4]  # the, <unk>, line end
    assert tokenizer.decode(tokenizer.encode("  the   the\n\n the")) == "the the\n\nthe"


def test_lowercase_words_are_the_same_wherever_they_stand():
    tokenizer = BytePair(400, lowercase=True).train(CORPUS)
    first = tokenizer.encode("The cat")
    within = tokenizer.encode("mat THE Cat")
    assert within[-len(first) :] == first
    assert not tokenizer.lossless
    for text in ("The CAT  sat,\n on É 龘 🏽 Straße <S>", "A", "明月 Moon\n"):
        assert tokenizer.decode(tokenizer.encode(text)) == text.lower()


def test_unigram_spells_the_unknown():
    tokenizer = Unigram(330).train(CORPUS)
    for text in ("床前明月光", "the 龘 🏽 mat", "unseen\tsigns\n"):
        assert tokenizer.decode(tokenizer.encode(text)) == text
        assert tokenizer.unk_id not in tokenizer.encode(text)
    strict = Unigram(40, byte_fallback=False).train(CORPUS)
    assert strict.decode(strict.encode("明月龘光")) == "明月<unk>光"


def test_unigram_of_many_characters():
    texts = ["".join(map(chr, range(0x4E00, 0x4E00 + 500))), *["明月光"] * 5000]
    with pytest.raises(ValueError, match="503 different characters make up 100"):
        Unigram(400, coverage=1).train(texts)
    tokenizer = Unigram(300, coverage=0.95).train(texts)
    assert tokenizer.decode(tokenizer.encode("一明")) == "一明"
    with pytest.raises(ValueError, match="coverage=0 of Unigram must be above 0"):
        Unigram(coverage=0)


# ---- existing


def saved(tmp_path: Path, backend: tokenizers.Tokenizer, special: list[str]) -> TokenizerFile:
    backend.add_special_tokens(special)
    backend.enable_truncation(2)
    backend.enable_padding(length=9)
    backend.save(str(tmp_path / "foreign.json"))
    return TokenizerFile(str(tmp_path / "foreign.json"))


def test_gpt2_style(tmp_path):
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), vocab_size=300, show_progress=False
    )
    backend.train_from_iterator(CORPUS, trainer)
    size = backend.get_vocab_size()
    tokenizer = saved(tmp_path, backend, ["<|endoftext|>"]).train()
    assert tokenizer.bos_id == tokenizer.eos_id == size
    assert tokenizer.pad_id == size + 1 == tokenizer.vocab_size - 1
    assert (tokenizer.lossless, tokenizer.kind) == (True, "byte-bpe")
    text = " the <|endoftext|> 明月 </s>"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert not {size, size + 1} & set(tokenizer.encode(text))


def test_bert_style(tmp_path):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat", "##s", "[", "]", "sep"]
    backend = tokenizers.Tokenizer(
        models.WordPiece({word: index for index, word in enumerate(words)}, unk_token="[UNK]")
    )
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    tokenizer = saved(tmp_path, backend, words[:4]).train()
    assert (tokenizer.pad_id, tokenizer.unk_id, tokenizer.bos_id, tokenizer.eos_id) == (0, 1, 2, 3)
    assert tokenizer.encode("The cats [SEP]") == [4, 5, 6, 7, 9, 8]  # not cut at 2, nothing added
    assert (tokenizer.lossless, tokenizer.kind) == (False, "wordpiece")


def test_sentencepiece_style(tmp_path):
    pieces = [
        ("<pad>", 0.0),
        ("</s>", 0.0),
        ("<unk>", 0.0),
        *[(piece, -2.0) for piece in ("▁", "<", "/", "s", ">", "▁a", "a")],
    ]
    backend = tokenizers.Tokenizer(models.Unigram(pieces, unk_id=2))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    tokenizer = saved(tmp_path, backend, ["<pad>", "</s>", "<unk>"]).train()
    assert (tokenizer.pad_id, tokenizer.eos_id, tokenizer.bos_id) == (0, 1, 10)
    # it would be, in the library as it comes
    assert not {0, 1, 10} & set(tokenizer.encode("a</s> </s> <pad><s>"))
    assert tokenizer.decode(tokenizer.encode("a </s>")).replace(" ", "") == "a</s>"


@pytest.mark.parametrize("recipe", [*TRAINED, Bytes()], ids=repr)
def test_adopting_our_own_changes_nothing(recipe, tmp_path):
    tokenizer = recipe.train(CORPUS)
    tokenizer.save(tmp_path / "tokenizer.json")
    assert TokenizerFile(str(tmp_path / "tokenizer.json")).train().digest == tokenizer.digest


def test_adopting_twice_changes_nothing_more(tmp_path):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the"]
    backend = tokenizers.Tokenizer(
        models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]")
    )
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    once = saved(tmp_path, backend, words[:4]).train()
    assert once.encode("the [SEP] the") == [4, 1, 1, 4]
    once.save(tmp_path / "adopted.json")
    assert TokenizerFile(str(tmp_path / "adopted.json")).train().digest == once.digest


def test_what_cannot_keep_the_promises_is_refused(tmp_path):
    recipe = saved(
        tmp_path,
        tokenizers.Tokenizer(models.WordLevel({"#": 0, "<unk>": 1}, unk_token="<unk>")),
        ["#"],
    )
    with pytest.raises(
        ValueError, match=r"foreign\.json: ordinary text becomes the special token '#'"
    ):
        recipe.train()
    recipe = saved(
        tmp_path, tokenizers.Tokenizer(models.BPE({"a": 0}, [])), ["<pad>", "<s>", "</s>"]
    )
    with pytest.raises(ValueError, match="drops or refuses characters it does not know"):
        recipe.train()
    (tmp_path / "foreign.json").write_text(json.dumps({"model": "gpt2"}))
    with pytest.raises(ValueError, match=r"foreign\.json is not a tokenizer\.json"):
        recipe.train()


def test_existing_is_known_by_content(tmp_path):
    for name in ("one.json", "two.json"):
        Characters().train(CORPUS).save(tmp_path / name)
    assert (
        TokenizerFile(str(tmp_path / "one.json")).key()
        == TokenizerFile(str(tmp_path / "two.json")).key()
    )
    Words().train(CORPUS).save(tmp_path / "two.json")
    assert (
        TokenizerFile(str(tmp_path / "one.json")).key()
        != TokenizerFile(str(tmp_path / "two.json")).key()
    )
