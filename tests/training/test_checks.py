"""Settings that must fit together."""

import pytest

from lslm_lightning.training.checks import LONGEST, check_lengths, longest_answer


@pytest.mark.parametrize(
    ("longest_target", "min_length", "limit"),
    [
        (10, 0, 15),
        (11, 0, 17),
        (1, 0, 2),
        (0, 0, 1),
        (170, 0, 255),
        (200, 0, LONGEST),
        (10**6, 0, LONGEST),
        (10, 40, 40),
        (0, 300, 300),
    ],
)
def test_answers_may_be_half_as_long_again_as_training_targets(longest_target, min_length, limit):
    assert longest_answer(longest_target, min_length) == limit
    check_lengths(min_length, limit)
