"""Suggestions for paths that do not exist."""

from pathlib import Path

import pytest

from lslm_lightning.safety.paths import did_you_mean, nearest_path


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("configs/translation/cldr.yaml", "runs/toy/a-1/config.yaml", "数据/训练.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.touch()


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("configs/translation/cldr.yml", "configs/translation/cldr.yaml"),
        ("confgis/translation/cldr.yaml", "configs/translation/cldr.yaml"),
        ("confgis/translatoin/clrd.yaml", "configs/translation/cldr.yaml"),
        ("runs/toy/a-2", "runs/toy/a-1"),
        ("数居/训练.txt", None),  # half of two letters is another word
        ("数据/训炼.txt", "数据/训练.txt"),
        ("nothing/like/it", None),
        ("configs/translation/cldr.yaml/x", None),
        ("", "."),
        ("a" * 5000, None),
        ("configs/\0", None),
    ],
)
def test_each_part_is_compared_with_what_is_there(files, given, meant):
    assert nearest_path(given) == (None if meant is None else Path(meant))


def test_an_absolute_path_stays_absolute(files):
    here = Path.cwd()
    assert nearest_path(here / "configs/translatoin") == here / "configs/translation"


def test_a_name_is_sought_among_others_too(files):
    others = Path("configs").glob("*/*.yaml")
    assert did_you_mean("cldr.yml", others) == "; did you mean configs/translation/cldr.yaml?"
    assert did_you_mean("other.yml", []) == ""
