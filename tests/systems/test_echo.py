"""Echoed tokens must be those of the text that was sent, or it is not scored."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lslm_lightning.systems.echo import BoundaryError, EchoError, match, read_echo, score_passage

NAT = 0.5  # of each token


def echoed(tokens, logprobs=None, **more):
    """A reply as it is kept: the first token has no probability."""
    return {
        "tokens": tokens,
        "logprobs": [None, *[-NAT] * (len(tokens) - 1)] if logprobs is None else logprobs,
    } | more


def pieces(text, cuts):
    """The text, cut at these characters."""
    at = [0, *sorted({cut % max(1, len(text)) for cut in cuts} - {0}), len(text)]
    return [text[first:second] for first, second in pairwise(at)]


@given(
    st.text(min_size=1, max_size=20),
    st.text(min_size=1, max_size=30),
    st.lists(st.integers(0, 50)),
    st.integers(0, 3),
)
def test_the_sum_is_that_of_the_passages_own_tokens(context, passage, cuts, n_written):
    """Whatever the tokens, and whatever a server writes behind them."""
    tokens = [*pieces(context, []), *pieces(passage, cuts)]
    logprobs = [None, *[-1.0 - i for i in range(len(tokens) - 1)]]
    nats, n_token = score_passage(
        echoed([*tokens, *"Z" * n_written], [*logprobs, *[-0.01] * n_written]), context, passage
    )
    assert n_token == len(tokens) - 1
    assert nats == pytest.approx(-math.fsum(logprobs[1:]))


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=2, max_size=12), st.data())
def test_a_text_with_one_character_more_less_or_another_is_not_believed(text, data):
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(
        st.sampled_from(
            [
                text[:at] + text[at + 1 :],
                text[:at] + "☃" + text[at + 1 :],
                text[:at] + "☃" + text[at:],
            ]
        )
    )
    if other.startswith(text):
        return
    with pytest.raises(EchoError, match=r"token|returned"):
        score_passage(echoed(["\n", *other]), "\n", text)


@pytest.mark.parametrize(
    "tokens",
    [
        ["\n", "bytes:\\xe4\\xbd", "bytes:\\xa0", "好", "."],  # OpenAI, davinci
        ["\n", "bytes:\\xe4", "bytes:\\xbd\\xa0", "bytes:\\xe5\\xa5\\xbd", "."],
        ["\n", "<0xE4>", "<0xBD>", "<0xA0>", "好."],  # SentencePiece
        ["\n", "\ufffd", "\ufffd", "好", "."],  # transformers' decoder
        ["\n", "\ufffd", "\ufffd好", ".", "\ufffd"],
        ["\n", "", "你", "好", "."],  # vLLM, where a token alone is no character
        ["\n", "", "", "好", "."],  # llama-cpp-python, which leaves such tokens out
    ],
)
def test_tokens_that_are_parts_of_characters(tokens):
    nats, n_token = score_passage(echoed(tokens), "\n", "你好.")
    n = 4 if tokens[-1] != "\ufffd" else 3
    assert (nats, n_token) == (n * NAT, n)


def test_parts_of_the_last_character_are_all_scored():
    assert score_passage(echoed(["\n", "a", "\ufffd", "\ufffd", "\ufffd"]), "\n", "a你") == (
        4 * NAT,
        4,
    )


@pytest.mark.parametrize("first", ["<s>", "<|begin_of_text|>", "[BOS]", "", "▁"])
def test_a_token_before_the_text_is_none_of_it(first):
    """vLLM and llama.cpp put `<s>` in front; then the first token of the text has a probability,
    too.
    """
    assert score_passage(
        echoed([first, "\n", "a", " b"], [None, -9.0, -1.0, -2.0]), "\n", "a b"
    ) == (3.0, 2)


def test_the_pieces_of_sentencepiece():
    assert score_passage(
        echoed(["<s>", "▁", "x", "▁a", "▁b"], [None, -9, -9, -1, -2]), "x", " a b"
    ) == (3.0, 2)


@pytest.mark.parametrize(
    ("tokens", "logprobs", "reason"),
    [
        (["Z"], [-0.1], "begin 'Z', and the text"),  # no echo
        (["b", "c"], [None, -1], "begin 'b'"),  # the beginning was cut
        (["\n", "a", "b"], [None, -1, -1], "end 1 characters before the text does"),
        (
            ["\n", "a", "b", "C"],
            [None, -1, -1, -1],
            "after 3 characters its token is 'C'.* goes on 'c'",
        ),
        (["\n", "a", "b", "c"], [None, -1, None, -1], "token 3, 'b', has no probability"),
        (["\n", "a", "b", "c"], [None, -1, 0.5, -1], "has 0.5 for a log probability"),
        (["\n", "a", "b", "c"], [None, -1, float("nan"), -1], "has nan"),
        (["\n", "a", "b", "c"], [None, -1, "-1", -1], "has '-1'"),
        (["\n", "a", "b", "c"], [None, -1, -float("inf"), -1], "do not know it"),
        (["\n", "a", "b", "c"], [None, -1, -9999.0, -1], "-9999, by which servers say"),
        (["\n", "a", "b", "c"], [None, -1, -1], "4 tokens and 3 probabilities"),
        # vLLM with --return-tokens-as-token-ids
        (["token_id:198", "token_id:64"], [None, -1], "begin 'token_id:198'"),
        ([], [], "no tokens with probabilities"),
    ],
)
def test_what_is_not_the_text_has_a_reason(tokens, logprobs, reason):
    with pytest.raises(EchoError, match=reason):
        score_passage(echoed(tokens, logprobs), "\n", "abc")


def test_another_form_of_unicode_is_named():
    with pytest.raises(EchoError, match="another form of Unicode"):
        score_passage(echoed(["\n", "caf", "é"]), "\n", "cafe\u0301")


def test_probabilities_of_one_were_filled_in():
    with pytest.raises(EchoError, match="probability of 1 to each of 9 tokens"):
        score_passage(echoed([*"\n123456789"], [None, *[0.0] * 9]), "\n", "123456789")
    assert score_passage(echoed([*"\n12"], [None, 0.0, 1e-7]), "\n", "12") == (0.0, 2)  # rounding


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tokens", "start"), [(["a\n\nb"], 0), (["a", "\n\n", "b"], 1), (["a", "\n", "\nb"], None)]
)
def test_a_token_on_both_sides_is_told_with_the_character_where_it_begins(tokens, start):
    if start is None:
        assert score_passage(echoed(tokens), "a\n", "\nb") == (NAT, 1)
        return
    with pytest.raises(BoundaryError) as error:
        score_passage(echoed(tokens), "a\n", "\nb")
    assert error.value.start == start


def test_the_boundary_counts_characters_and_not_bytes():
    with pytest.raises(BoundaryError) as error:
        score_passage(echoed(["你好", "，世", "界"]), "你好，", "世界")
    assert error.value.start == 2


def test_characters_of_several_bytes_have_one_place_each():
    spans = match(["你", "\ufffd", "\ufffd", "b"], "你好b", 3)
    assert [tuple(span) for span in spans][::3] == [(0, 3), (6, 7)]
    assert (spans[1].start, spans[2].end) == (3, 6)
    assert spans[1].end == spans[2].start


# Shapes

LEGACY = {
    "tokens": ["\n", "a", " b"],
    "token_logprobs": [None, -1.0, -2.0],
    "text_offset": [0, 1, 2],
}


@pytest.mark.parametrize(
    ("body", "choice"),
    [
        ({}, {"logprobs": LEGACY}),
        # shifted; the tokens say it better
        ({}, {"logprobs": LEGACY | {"text_offset": [9, 10, 11]}}),
        (
            {},
            {
                "logprobs": {name: LEGACY[name] for name in ("tokens", "token_logprobs")}
                | {"token_ids": [1, 2, 3]}
            },
        ),
        # Together
        (
            {"prompt": [{"text": "\na b", "logprobs": LEGACY}]},
            {"logprobs": {"tokens": ["Z"], "token_logprobs": [-0.1]}},
        ),
        (
            {},
            {
                "prompt_logprobs": [  # vLLM, without a token before the text
                    None,
                    {"64": {"logprob": -1.0, "rank": 3, "decoded_token": "a"}},
                    {"293": {"logprob": -2.0, "rank": 1, "decoded_token": " b"}},
                ]
            },
        ),
        (
            {},
            {
                "logprobs": {
                    "content": [
                        {"token": "\n", "logprob": None, "bytes": [10]},
                        {"token": "a", "logprob": -1.0, "bytes": [97]},
                        {"token": "\ufffd", "logprob": -2.0, "bytes": [32, 98]},
                    ]
                }
            },
        ),
        ({}, {"logprobs": {name: LEGACY[name] for name in ("token_logprobs", "text_offset")}}),
    ],
)
def test_every_shape_of_a_reply(body, choice):
    assert score_passage(read_echo(body, choice), "\n", "a b") == (3.0, 2)


@pytest.mark.parametrize(
    ("body", "choice"),
    [
        ({}, {}),
        ({}, {"logprobs": None}),
        # llama.cpp
        (
            {
                "completion_probabilities": [
                    {"content": "Z", "probs": [{"tok_str": "Z", "prob": 0.9}]}
                ]
            },
            {"logprobs": None},
        ),
        ({}, {"logprobs": {"content": [{"token": "Z", "logprob": -0.1, "bytes": [90]}]}}),
        (
            {},
            {
                "prompt_logprobs": [
                    None,
                    {
                        "1": {"logprob": -1, "decoded_token": "a"},
                        "2": {"logprob": -3, "decoded_token": "b"},
                    },
                ]
            },
        ),
        ({}, {"logprobs": {"token_logprobs": [None, -1.0, -2.0], "text_offset": [1, 2, 3]}}),
        ({}, {"logprobs": {"token_logprobs": [None, -1.0, -2.0], "tokens": [198, 64, 275]}}),
        ({}, {"prompt_logprobs": [None, {"64": -1.0}, {"293": -2.0}]}),
    ],
)
def test_shapes_that_say_nothing_of_the_text(body, choice):
    with pytest.raises(EchoError):
        score_passage(read_echo(body, choice), "\n", "a b")


def test_replies_that_an_older_version_kept():
    """Places in characters, and the text, stripped, but no tokens."""
    kept = {
        "text": "你好 b",
        "logprobs": [None, -1.0, -2.0, -4.0, -0.1],
        "offsets": [0, 1, 2, 4, 5],
    }
    assert score_passage(
        {**kept, "logprobs": kept["logprobs"][:4], "offsets": [0, 1, 2, 3]}, "\n", "你好 b"
    ) == (7.0, 3)
    assert score_passage({**kept, "text": "ab b", "offsets": [0, 1, 2, 3, 5]}, "\n", "ab b") == (
        7.0,
        3,
    )
    for wrong in (
        {"text": "你好"},
        {"offsets": [3, 4, 5, 6, 7]},
        {"offsets": [0, 1, 4, 7, 8]},
        {"offsets": [5]},
    ):
        with pytest.raises(EchoError):
            score_passage(kept | wrong, "\n", "你好 b")


@pytest.mark.parametrize("offsets", [[0, 1.5], [0, "1"], [0, None], {"0": 1}, -1.5, "01"])
def test_places_of_tokens_that_are_no_numbers_are_a_reason(offsets):
    with pytest.raises(EchoError):
        score_passage({"offsets": offsets, "logprobs": [None, -1.0]}, "a", "b")


def test_hundreds_of_parts_of_characters_in_a_row_are_matched():
    """A tokenizer for English gives two to three incomplete characters for each Chinese one."""
    text = "你好" * 100
    tokens = ["\n", *["\ufffd"] * (2 * len(text))]
    found = score_passage(
        {"tokens": tokens, "logprobs": [None, *[-1.0] * (2 * len(text))]}, "\n", text
    )
    assert found == (400.0, 400)
