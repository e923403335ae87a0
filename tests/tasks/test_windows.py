"""Windows lose nothing: places are exact to the character in every script, and every answer is in
some window.
"""

import json
from itertools import pairwise

import numpy as np
import pytest
import tokenizers
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from tokenizers import models, normalizers, pre_tokenizers, processors

from lslm_lightning.text.chinese import segment_with_offsets
from lslm_lightning.text.recipes import BytePair, Bytes, Characters, TokenizerFile, Unigram, Words
from tasks.question_answering.data import Question
from tasks.question_answering.extractive.features import (
    _SHIFTS,
    FEATURE_SIZES,
    analyze_words,
    sentence_share,
    token_features,
    word_features,
)
from tasks.question_answering.extractive.windows import (
    WindowReader,
    WindowSizes,
    visible_part,
    word_edges,
)
from tasks.question_answering.offsets import (
    nearest_occurrence,
    overlapping_tokens,
    span_text,
    widen,
)

TEXTS = [
    "The cat sat on the mat. It was in 1984, they say; the cats' mat was £5.\n",
    "你好，世界！iPhone 15 发布了，售价3.5万。",
    "ünïcödé e\u0301 A\u030a 🏽👩‍👩‍👧‍👦 👍🏽 नमस्ते İstanbul ﬁne ΑΣ",
] * 10


def wordpiece(folder) -> tokenizers.Tokenizer:
    """As BERT has it: lower case, without accents, cleaned, [CLS] and [SEP] around."""
    letters = sorted(
        {
            c
            for text in TEXTS
            for c in normalizers.BertNormalizer().normalize_str(text)
            if not c.isspace()
        }
    )
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        *letters,
        *(f"##{c}" for c in letters),
        "the",
        "##at",
        "cat",
    ]
    backend = tokenizers.Tokenizer(
        models.WordPiece(
            {word: i for i, word in enumerate(dict.fromkeys(words))}, unk_token="[UNK]"
        )
    )
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    path = folder / "tokenizer.json"
    backend.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    backend.save(str(path))
    return TokenizerFile(str(path)).train()


RECIPES = [
    BytePair(400),
    BytePair(400, lowercase=True),
    Bytes(),
    Unigram(450),
    Unigram(120, byte_fallback=False),
    Characters(),
    Words(),
]
KINDS = [*map(repr, RECIPES), "wordpiece"]
# whose tokens may hold several words
EXACT = [kind for kind in KINDS if kind != "Words(vocab_size=None, min_count=1)"]


@pytest.fixture(scope="module")
def every(tmp_path_factory):
    found = {repr(recipe): recipe.train(TEXTS) for recipe in RECIPES}
    return found | {"wordpiece": wordpiece(tmp_path_factory.mktemp("wordpiece"))}


SPELLED = [
    "cat",
    " ",
    "\n",
    "你",
    "。",
    "👩‍👩‍👧",
    "e\u0301",
    "\u0301",
    "İ",
    "ﬁ",
    "🏽",
    "naïve",
    "3.5",
    "<s>",
    "[SEP]",
    "\u200d",
    "\xa0",
]
piece = st.sampled_from(SPELLED)
passages = st.lists(piece | st.text(max_size=4), max_size=14).map("".join)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=150)
@given(text=passages)
@example(text="  leading  and trailing  ")
@example(text="e\u0301e\u0301 👩‍👩‍👧‍👦👍🏽")
@example(text="İİ ﬁ ΑΣ Σ")
def test_tokens_are_places_of_the_text_in_order(kind, every, text):
    _, offsets = every[kind].encode_with_offsets(text)
    assert all(0 <= start <= end <= len(text) for start, end in offsets)
    assert all(first <= second for first, second in pairwise(offsets))


# BERT's throws control characters away
@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "wordpiece"])
@settings(max_examples=150)
@given(text=passages)
@example(text="e\u0301e\u0301 👩‍👩‍👧‍👦👍🏽")
def test_every_visible_character_is_in_a_token(kind, every, text):
    _, offsets = every[kind].encode_with_offsets(text)
    covered = {i for start, end in offsets for i in range(start, end)}
    assert {i for i, c in enumerate(text) if not c.isspace()} <= covered


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=150)
@given(text=passages, data=st.data())
def test_an_answer_comes_back_in_what_its_tokens_say(kind, every, text, data):
    """The whole of it; and where it ends with tokens, itself."""
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(text))] * 2)))
    _, offsets = every[kind].encode_with_offsets(text)
    tokens = overlapping_tokens(offsets, start, end)
    assume(tokens is not None)
    found = span_text(text, offsets, *tokens)
    wanted = text[start:end].strip()
    if kind != "wordpiece":
        assert wanted in found
    if offsets[tokens[0]][0] == start and offsets[tokens[1]][1] == end:
        assert found == wanted


@pytest.mark.slow
@pytest.mark.parametrize("kind", EXACT)
@settings(max_examples=150)
@given(text=passages, data=st.data())
@example(text="The ﬁne İstanbul: 3.5万。", data=None)
def test_words_are_answers_exactly(kind, every, text, data):
    """Words that begin and end with tokens are an answer of whole words, and it says these to the
    character.
    """
    words = [span for _, span in segment_with_offsets(text)]
    assume(words)
    first, last = (
        (0, len(words) - 1)
        if data is None
        else sorted(data.draw(st.tuples(*[st.integers(0, len(words) - 1)] * 2)))
    )
    start = words[first][0]
    end = words[last][1]
    _, offsets = every[kind].encode_with_offsets(text)
    tokens = overlapping_tokens(offsets, start, end)
    assume(tokens is not None)  # of what BERT's throws away
    assume(
        visible_part(text, *offsets[tokens[0]])[0] == start
        and visible_part(text, *offsets[tokens[1]])[1] == end
    )
    assert span_text(text, offsets, *widen(*tokens, *word_edges(text, offsets))) == text[start:end]


@pytest.mark.parametrize("word", ["cafe\u0301", "नमस्ते", "A\u030a"])
def test_a_word_keeps_the_accents_that_a_tokenizer_takes_out(every, word):
    text = f"cat {word} the {word}"
    passage = WindowReader(
        every["wordpiece"], WindowSizes(40, 8, 8), overlap_features=False, whole_words=True
    ).text(text, "en")
    for start in (text.find(word), text.rfind(word)):
        tokens = widen(
            *overlapping_tokens(passage.offsets, start, start + len(word)),
            passage.begins,
            passage.ends,
        )
        assert span_text(text, passage.offsets, *tokens) == word


@pytest.mark.parametrize(
    "kind",
    [
        "BytePair(vocab_size=400, min_count=2, lowercase=False)",
        "Characters(min_count=1)",
        "wordpiece",
    ],
)
def test_usual_words_have_edges_of_their_own(kind, every):
    """The premise of the test above holds of real text: each word begins with a token, and ends
    with one.
    """
    _, offsets = every[kind].encode_with_offsets(TEXTS[0])
    begins, ends = word_edges(TEXTS[0], offsets)
    n = len(segment_with_offsets(TEXTS[0]))
    assert (begins.sum(), ends.sum()) == (n, n)


# Windows


def question(passage: str, asked: str = "Who?", answer: str | None = None) -> Question:
    start = None if answer is None else passage.find(answer)
    return Question(
        "1", f"{asked}\n{passage}", (answer or "",), asked=asked, passage=passage, starts=(start,)
    )


@pytest.mark.slow
@settings(max_examples=100)
@given(st.integers(0, 90), st.integers(20, 60), st.integers(1, 30), st.integers(0, 12))
def test_every_token_is_in_a_window_and_short_answers_whole(n, max_length, stride, n_asked):
    """A stride shorter than the room leaves an overlap; an answer no longer than that is whole in
    one of them.
    """
    tokenizer = Bytes().train()
    sizes = WindowSizes(max_length, stride, 8)
    assume(stride <= max_length - 8 - 3)
    passage = "x" * n
    asked = "q" * n_asked
    [(read, windows)] = WindowReader(
        tokenizer, sizes, overlap_features=False, whole_words=False
    ).read([question(passage, asked)])
    n_asked = min(n_asked, 8)
    room = max_length - n_asked - 3
    assert len(read.ids) == n
    assert {i for w in windows for i in range(w.first, w.first + w.n_passage)} == set(range(n))
    for w in windows:
        assert len(w.ids) <= max_length
        assert w.n_before == n_asked + 2
        assert w.ids.tolist() == [
            1,
            *tokenizer.encode(asked)[:8],
            2,
            *read.ids[w.first : w.first + w.n_passage],
            2,
        ]
    longest = room - stride + 1
    for start in range(n):
        last = min(n, start + longest) - 1
        assert any(w.first <= start and last < w.first + w.n_passage for w in windows)
    assert len(windows) == 1 + max(0, -(-(n - room) // stride)), "no more than are needed"


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        (
            (20, 10, 8),
            (
                "stride=10 must be at most 9, which is max_length=20 less max_question_length=8 "
                "and 3 special tokens"
            ),
        ),
        ((20, 0, 8), "stride=0 must be at least 1 token"),
        ((20, 1, 30), "stride=1 must be at most -13"),
    ],
)
def test_windows_that_would_leave_something_out_are_refused(sizes, words):
    with pytest.raises(ValueError, match=words):
        WindowSizes(*sizes).check(Bytes().train().frame())


def test_a_batch_says_what_is_what(every):
    tokenizer = every["wordpiece"]
    reader = WindowReader(tokenizer, WindowSizes(24, 4, 6), overlap_features=True, whole_words=True)
    [(_, windows)] = reader.read([question("the cat sat on the mat " * 4, "the cat")])
    batch = reader.batch([windows[0], windows[-1]], [(4, 6, True), (0, 0, True)])
    assert (batch.start.tolist(), batch.end.tolist(), batch.has_answer.tolist()) == (
        [4, 0],
        [6, 0],
        [True, True],
    )
    assert tokenizer.frame() == ([2], [3], [3], (0, 1))
    first = windows[0]
    asked = tokenizer.encode("the cat")
    assert batch.source[0, : first.n_before].tolist() == [2, *asked, 3]
    assert batch.kind[0].tolist() == [0] * first.n_before + [1] * (len(first.ids) - first.n_before)
    assert batch.of_passage.sum(1).tolist() == [w.n_passage + 1 for w in (windows[0], windows[-1])]
    assert batch.candidate[:, 0].all()
    assert not (batch.candidate & ~batch.of_passage[..., None]).any()
    assert not (batch.kind.bool() & batch.source_pad).any()
    assert (batch.n_token, batch.n_source_token) == (4, int((~batch.source_pad).sum()))
    empty = reader.batch([])
    assert (len(empty.source), empty.n_token, empty.n_source_token) == (0, 0, 0)


def test_the_nearest_place_is_taken():
    assert nearest_occurrence("a cat and a cat", "cat", 0) == 2
    assert nearest_occurrence("a cat and a cat", "cat", 9) == 12
    assert nearest_occurrence("a cat and a cat", "cat", 7) == 2, "of equals the first"
    assert nearest_occurrence("a cat", "cat", -1) == 2
    assert nearest_occurrence("a cat", "dog", 2) is None


# Hints


def hint(asked: str, passage: str, language: str = "en") -> list[list[int]]:
    """The hints on each word of the passage, a list for each kind."""
    own, other = (analyze_words(text, language) for text in (passage, asked))
    _, share = sentence_share(other, own)
    found = word_features(own, other, share)
    return [
        ((found >> shift) % size).tolist()
        for size, shift in zip(FEATURE_SIZES, _SHIFTS, strict=True)
    ]


def test_hints_by_hand():
    match, runs, repeats, shapes, sentence = hint(
        "Where do CATS sit, the black cats?", "The black cat sat. The CATS sit, 3 of A4."
    )
    #              The black cat sat . The CATS sit , 3 of A4 .
    assert match == [2, 3, 1, 0, 0, 2, 3, 3, 0, 0, 0, 0, 0]
    assert runs == [3, 3, 3, 0, 0, 1, 2, 2, 0, 0, 0, 0, 0]
    assert repeats == [1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 1]
    assert shapes == [3, 2, 2, 2, 0, 3, 4, 2, 0, 7, 2, 6, 0]
    # of where 1, do 1, cat 1/2, sit 1, the 1/2, black 1 the first sentence has 2 of 5, and so has
    # the second
    assert sentence == [3] * 13


def test_hints_in_chinese():
    match, runs, *_ = hint("谁住在罗马？", "安娜住在罗马。", "zh")
    assert match == [0, 0, 3, 3, 3, 3, 0]
    assert runs == [0, 0, 4, 4, 4, 4, 0]


def test_tokens_have_the_hints_of_their_words(every):
    words = analyze_words(" The  cats sat", "en")
    tokenizer = every["BytePair(vocab_size=400, min_count=2, lowercase=False)"]
    _, offsets = tokenizer.encode_with_offsets(" The  cats sat")
    found = token_features(words, np.array([1, 2, 3]), offsets)
    assert [
        found[i] for i, (start, end) in enumerate(offsets) if "c" in " The  cats sat"[start:end]
    ] == [2]
    assert sorted(set(found.tolist())) == [1, 2, 3]
    assert token_features(
        analyze_words("", "en"), np.zeros(0, dtype=np.int64), [(0, 1)]
    ).tolist() == [0]


@given(passages, passages)
def test_hints_are_below_their_sizes(asked, passage):
    for kind, size in zip(hint(asked, passage), FEATURE_SIZES, strict=True):
        assert all(0 <= value < size for value in kind)


def test_a_passage_read_twice_is_the_same(every):
    reader = WindowReader(
        every[KINDS[0]], WindowSizes(40, 8, 8), overlap_features=True, whole_words=True
    )
    both = [windows for _, windows in reader.read([question("The cat sat.", "Who sat?")] * 2)]
    assert json.dumps([w.ids.tolist() for w in both[0]]) == json.dumps(
        [w.ids.tolist() for w in both[1]]
    )
