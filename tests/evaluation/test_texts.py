"""Texts scored in one call equal what the libraries themselves give."""

import subprocess
import sys
import warnings

import jiwer
import pytest
import sacrebleu

import lslm_lightning
from lslm_lightning import score
from lslm_lightning.metrics.bleu import Bleu
from lslm_lightning.metrics.names import metric_named, metrics_by_name

OUTPUTS = ["the cat sat on a mat", "it rains today", "a dog", "birds sing in the old tree"]
REFERENCES = [
    "the cat sat on the mat",
    "it is raining today",
    "a small dog",
    "birds sing in an old tree",
]


def test_scores_equal_those_of_the_libraries() -> None:
    found = score(OUTPUTS, REFERENCES, ["bleu", "chrf", "wer"], language="en")
    assert found["bleu"].value == pytest.approx(sacrebleu.corpus_bleu(OUTPUTS, [REFERENCES]).score)
    assert found["chrf"].value == pytest.approx(sacrebleu.corpus_chrf(OUTPUTS, [REFERENCES]).score)
    assert found["wer"].value == pytest.approx(100 * jiwer.wer(REFERENCES, OUTPUTS))
    assert found["bleu"].low < found["bleu"].value < found["bleu"].high


def test_several_references_and_metric_objects() -> None:
    several = [[first, first.replace("the", "that")] for first in REFERENCES]
    found = score(OUTPUTS, several, Bleu("en"), language="en", n_resample=0)
    transposed = [list(each) for each in zip(*several, strict=True)]
    assert found["bleu"].value == pytest.approx(sacrebleu.corpus_bleu(OUTPUTS, transposed).score)
    assert found["bleu"].low is None


def test_a_language_that_is_not_stated_is_told_from_the_references() -> None:
    chinese = ["今天天气很好，我们去公园。", "他在图书馆看书。"]
    signature = score(chinese, chinese, "bleu", n_resample=0)["bleu"].signature
    assert "tok:zh" in signature
    assert score(chinese, chinese, "wer", n_resample=0)["wer"].value == 0


@pytest.mark.parametrize("name", metrics_by_name())
def test_every_name_gives_a_metric_of_this_name(name: str) -> None:
    assert metric_named(name, "en").name == name
    assert metric_named(name.upper().replace("_", "-"), "en").name == name


def test_the_table_and_the_text_show_every_metric() -> None:
    found = score(OUTPUTS, REFERENCES, ["bleu", "rougeL"], language="en")
    assert list(found.table().index) == ["bleu", "rougeL"]
    assert found.table().loc["bleu", "value"] == found["bleu"].value
    assert [line.partition(":")[0] for line in str(found).splitlines()] == ["bleu", "rougeL"]


@pytest.mark.parametrize(
    ("outputs", "references", "metrics", "said"),
    [
        ("one text", ["one text"], "bleu", "outputs must be a list of texts"),
        (["a"], "a", "bleu", "references must be a list"),
        (["a", "b"], ["a"], "bleu", "2 outputs and 1 references"),
        (["a"], [None], "bleu", r"references\[0\] must be a list of texts"),
        ([3], ["a"], "bleu", r"outputs\[0\] must be a text, but is 3"),
        (["a"], ["a"], "bleuu", "did you mean 'bleu'"),
        (["a"], [[]], "bleu", "no reference"),
        ([], [], "bleu", "no examples"),
        (["a"], ["a"], [], "metrics must be a name"),
        (["a"], ["a"], None, "metrics must be a name"),
        (["a"], ["a"], ["bleu", 3], "metrics must be a name"),
    ],
)
def test_what_cannot_be_scored_is_refused(outputs, references, metrics, said) -> None:
    with pytest.raises(ValueError, match=said):
        score(outputs, references, metrics)


def test_a_number_of_samples_below_none_is_refused() -> None:
    with pytest.raises(ValueError, match="n_resample=-1 must be"):
        score(OUTPUTS, REFERENCES, "bleu", n_resample=-1)


@pytest.mark.parametrize(("given", "meant"), [("cmn", "zh"), ("ZH_hans", "zh-Hans"), ("deu", "de")])
def test_a_language_has_one_meaning_however_it_is_spelled(given: str, meant: str) -> None:
    texts = (
        (["今天下雨。"], ["今天下雨了。"])
        if meant.startswith("zh")
        else (["Es regnet"], ["Es regnete"])
    )
    ours, same = (
        score(*texts, "bleu", language=code, n_resample=0)["bleu"] for code in (given, meant)
    )
    assert (ours.value, ours.signature) == (same.value, same.signature)


@pytest.mark.parametrize("language", ["klingon!!", "", "englisch", "e"])
def test_what_is_no_language_is_refused(language: str) -> None:
    with pytest.raises(ValueError, match=f"language={language!r} must be a code"):
        score(["a"], ["a"], "chrf", language=language)


def test_sanity_checks_are_warnings() -> None:
    with pytest.warns(UserWarning, match="empty"):
        score(["", *OUTPUTS[1:]], REFERENCES, "chrf", language="en", n_resample=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        score(OUTPUTS, REFERENCES, "chrf", language="en", n_resample=0)


@pytest.mark.slow
def test_the_package_loads_nothing_large_until_it_is_asked() -> None:
    code = (
        "import sys, lslm_lightning; assert not {'torch', 'numpy', 'lightning'} & "
        "set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    code = "import sys; from lslm_lightning import score; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="it offers"):
        _ = lslm_lightning.scores
