"""Examples in the training text are found; similar ones are not."""

import pytest

from lslm_lightning.contracts import Example
from lslm_lightning.evaluation.contamination import cached_text_index, contaminated, index_texts

TRAINED = [
    "The quick brown fox jumps over the lazy dog while the cat sleeps.",
    "Good morning!",
    "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。",
]


@pytest.mark.parametrize(
    ("source", "reference", "expected"),
    [
        # case and signs aside
        ("the quick brown fox jumps over the lazy dog while the cat sleeps", "x", True),
        ("x y z", TRAINED[0], True),  # the answer
        ("Good morning", "x", True),  # short, but all of a training text
        ("morning", "x", False),  # short, and a part of one
        ("春眠不觉晓，处处闻啼鸟", "x", True),
        ("春天到了，处处都能听见鸟叫的声音，昨夜有风雨", "x", False),
        ("A quick brown dog jumps over a lazy fox while no cat sleeps", "x", False),
        ("", "x", False),
    ],
)
def test_contamination(source, reference, expected):
    [found] = contaminated([Example("1", source, (reference,))], index_texts(TRAINED))
    assert found == expected


def test_half_of_the_words_decide():
    new = " ".join(f"new{i}" for i in range(40))
    assert not contaminated([Example("1", f"{TRAINED[0]} {new}", ("x",))], index_texts(TRAINED))[0]
    assert contaminated([Example("1", f"{TRAINED[0]} new words", ("x",))], index_texts(TRAINED))[0]


def test_nothing_was_trained_on():
    assert not contaminated([Example("1", "a b", ("c",))], index_texts([])).any()


def test_training_texts_are_read_once(tmp_path):
    """Learned again only where the cache has nothing that can be read; another key is another
    text.
    """
    examples = [
        Example("1", TRAINED[0], ("x",)),
        Example("2", "Good morning", ("x",)),
        Example("3", "something new", ("x",)),
    ]

    def texts(read):
        read.append(True)
        yield from TRAINED

    first = []
    again = []
    mended = []
    other = []
    expected = contaminated(examples, cached_text_index(texts(first), "a", tmp_path))
    assert expected.tolist() == [True, True, False]
    assert (
        contaminated(examples, cached_text_index(texts(again), "a", tmp_path)) == expected
    ).all()
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:100])
    assert (
        contaminated(examples, cached_text_index(texts(mended), "a", tmp_path)) == expected
    ).all()
    cached_text_index(texts(other), "b", tmp_path)
    assert [bool(read) for read in (first, again, mended, other)] == [True, False, True, True]


@pytest.mark.parametrize(
    "text",
    [
        "รัฐบาลประกาศแผนพลังงานใหม่สำหรับเมืองใหญ่และเมืองเล็ก",
        "ភាសាខ្មែរប្រទេសកម្ពុជាក្រុងភ្នំពេញទឹកស្រីក្នុងផ្ទះធំរដ្ឋាភិបាលប្រកាសផែនការថ្មី",
        "བོད་སྐད་ཡིག་གཞན་ཡིན་མི་ཆུ་རྒྱལ་ཁབ་དུས་ཚོད་",
    ],
)
def test_texts_without_spaces_are_found_by_their_parts(text):
    """A line of Thai is no single word: most of it in another line is found, a few words are
    not.
    """
    longer = f"{text[-4:]}{text}{text[:4]}"
    known = index_texts([f"x {longer} y"])
    assert known.contains(text)
    assert not known.contains(text[::-1])
    assert not known.contains(text[:8])


def test_few_words_of_thai_that_occur_everywhere_are_no_contamination():
    common = ["รัฐบาลประกาศ", "แผนพลังงาน", "สำหรับเมือง"]
    common += ["และการศึกษา", "ในประเทศไทย", "ของประชาชน"]
    known = index_texts(["".join(pair) for pair in zip(common, common[1:] + common[:1])] * 3)
    assert not known.contains("".join(common[::2] + common[1::2]))
