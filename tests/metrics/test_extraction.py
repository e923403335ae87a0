"""The greedy choice of sentences is that of the metric asked for each candidate, only faster."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lslm_lightning.contracts import Prediction
from lslm_lightning.metrics.extraction import Gain, best_sentences
from lslm_lightning.metrics.rouge import Rouge
from lslm_lightning.text.sentences import join_sentences, split_sentences
from tests.support.metrics import statistics_of

# Words that share stems, and whatever may grow together where no space is: letters, numbers,
# accents, jamo, a sigma that knows its end.
ENGLISH = st.lists(
    st.sampled_from(
        ["the", "cat", "cats", "running", "runs", "sat.", "Mat!", "3.5", "U.S.", "é", "-"]
    ),
    min_size=1,
    max_size=6,
)
NASTY = (
    st.text("猫狗跑。！…，.’」a1Σ3５．\u3099か\u1100\u1161あ 」A", min_size=1, max_size=6)
    .map(str.strip)
    .filter(bool)
)
DOCUMENTS = {
    "en": st.lists(ENGLISH.map(" ".join), max_size=6),
    **dict.fromkeys(("zh", "th", "de"), st.lists(NASTY, max_size=5)),
}


def slow_gain(sentences, references, language):
    metrics = [Rouge("1", language), Rouge("2", language)]
    text = join_sentences(sentences, language)
    return sum(m.score(statistics_of(m, Prediction("", text), references)) for m in metrics)


def slow_choice(sentences, references, language, k):
    def gain(places):
        return slow_gain([sentences[i] for i in sorted(places)], references, language)

    chosen = []
    best = 0.0
    while len(chosen) < k:
        tried = {i: gain([*chosen, i]) for i in range(len(sentences)) if i not in chosen}
        if not tried or max(tried.values()) <= best:
            break
        best = max(tried.values())
        chosen.append(min(i for i, value in tried.items() if value == best))
    return sorted(chosen)


@pytest.mark.slow
@pytest.mark.parametrize("language", DOCUMENTS)
@given(st.data())
def test_gains_are_those_of_the_metric_to_the_last_bit(language, data):
    sentences = data.draw(DOCUMENTS[language].filter(bool))
    references = data.draw(st.lists(DOCUMENTS[language].map(" ".join), min_size=1, max_size=2))
    chosen = sorted(data.draw(st.sets(st.sampled_from(range(len(sentences))), min_size=1)))
    assert Gain(sentences, references, language)(chosen) == slow_gain(
        [sentences[i] for i in chosen], references, language
    )


@pytest.mark.slow
@pytest.mark.parametrize("language", DOCUMENTS)
@given(st.data())
def test_the_fast_choice_is_the_slow_one(language, data):
    sentences = data.draw(DOCUMENTS[language])
    references = data.draw(st.lists(DOCUMENTS[language].map(" ".join), min_size=1, max_size=2))
    k = data.draw(st.integers(1, 4))
    assert best_sentences(sentences, references, language, k) == slow_choice(
        sentences, references, language, k
    )


def test_by_hand():
    sentences = split_sentences("The cat sat. Dogs ran far away. It rained in Berlin.")
    assert best_sentences(sentences, ["In Berlin it rained on dogs."], "en", 1) == [2]
    assert best_sentences(sentences, ["Dogs ran far away and it rained."], "en", 3) == [1, 2]
    assert best_sentences(sentences, ["Nothing"], "en", 3) == []
    assert best_sentences(sentences, [], "en", 3) == []
    assert best_sentences([], ["x"], "en", 3) == []


def test_chinese_is_counted_by_sentence_where_no_word_grows_over_a_seam():
    assert Gain(["今天下雨。", "OK！", "2023年很好", "猫"], ["猫"], "zh").counted is not None
    assert Gain(["有3，", "5个"], ["猫"], "zh").counted is None
    assert Gain(["用 iPhone", "Plus 好"], ["猫"], "zh").counted is None
