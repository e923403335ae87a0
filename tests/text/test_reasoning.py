"""What is reasoning and what is the answer, in the forms that models write."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lslm_lightning.text.reasoning import has_reasoning, strip_reasoning


@pytest.mark.parametrize(
    ("written", "answer"),
    [
        ("<think>The user wants a translation.\nred is 红</think>\n红", "红"),
        ("The opening mark stands in the prompt.</think>\n\n红", "红"),
        ("<think>\n\n</think>\n\n红", "红"),
        ("<think>no end", ""),
        ("<thinking>a</thinking>红<THINK>b</THINK>", "红"),
        ("[THINK]why[/THINK]红", "红"),
        (
            (
                "<|channel|>analysis<|message|>red is "
                "红<|end|><|start|>assistant<|channel|>final<|message|>红<|return|>"
            ),
            "红",
        ),
        ("<|channel|>analysis<|message|>red is", ""),
        ("analysisWe need Chinese.assistantfinal红", "红"),
    ],
)
def test_reasoning_is_seen_and_stripped(written, answer):
    assert has_reasoning(written)
    assert strip_reasoning(written) == answer


@given(st.text(st.characters(exclude_characters="<[|"), max_size=30))
def test_a_text_without_reasoning_stays(text):
    if not text.startswith("analysis"):
        assert not has_reasoning(text)
        assert strip_reasoning(text) == text.strip()


@pytest.mark.parametrize(
    "text",
    [
        "I think so.",
        "a < b and c > d",
        "Analysis of the final assistant",
        "<b>bold</b>",
        "[1] think",
    ],
)
def test_words_about_thinking_are_no_reasoning(text):
    assert not has_reasoning(text)
    assert strip_reasoning(text) == text
