"""A file of ratings that is damaged is named, whatever is wrong in it."""

import json

import pytest

from lslm_lightning.metrics.human import HumanRatings

GOOD = {"format": 1, "method": "direct", "digest": "ab", "ratings": []}
RATING = {"example": "a", "output": "b", "standard": 1}


@pytest.mark.parametrize(
    "change",
    [
        {"ratings": [{"example": "a"}]},
        {"ratings": [RATING | {"standard": "good"}]},
        {"ratings": [RATING | {"example": []}]},
        {"ratings": 3},
        {"format": 99},
    ],
    ids=str,
)
def test_a_damaged_file_is_named(tmp_path, change):
    path = tmp_path / "ratings.json"
    path.write_text(json.dumps(GOOD | {"ratings": [RATING]}))
    assert HumanRatings(str(path)).ratings == {("a", "b"): [1.0]}
    path.write_text(json.dumps(GOOD | change))
    with pytest.raises(ValueError, match=r"ratings\.json is no file of human ratings"):
        HumanRatings(str(path))
