"""Values of options that are no numbers, and lists of names."""

import pytest

from lslm_lightning.commands.arguments import Parser
from lslm_lightning.exit_status import SettingsError
from lslm_lightning.long_options import listed_names


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("--margin=0,5", ["--margin='0,5'", "decimal point", "mean 0.5?"]),
        ("--margin=half", ["--margin='half'", "decimal point"]),
        ("--margin=1,000,5", ["--margin='1,000,5'", "decimal point"]),
        ("--items=2.5", ["--items='2.5'", "whole number"]),
        ("--items=1,000", ["--items='1,000'", "mean 1000?"]),
        ("--items=10.0", ["--items='10.0'", "mean 10?"]),
        ("--items=many", ["--items='many'", "whole number"]),
    ],
)
def test_what_is_no_number_is_named_with_the_rule(given, words):
    parser = Parser("lslm x")
    parser.add_argument("--margin", type=float, action="append")
    parser.add_argument("--items", type=int)
    with pytest.raises(SettingsError) as error:
        parser.parse_args([given])
    for word in words:
        assert word in str(error.value)
    if "mean" in words[-1]:
        suggested = words[-1].split()[1].rstrip("?")
        parser.parse_args([f"{given.partition('=')[0]}={suggested}"])
    else:
        assert "did you mean" not in str(error.value)


def test_names_in_a_list_may_have_spaces_around_them():
    assert listed_names("bias, canaries,  robustness ,") == ["bias", "canaries", "robustness"]
    assert listed_names(" , ") == []
