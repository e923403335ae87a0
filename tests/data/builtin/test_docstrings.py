"""The docstrings of what is installed: parsed, never imported, nothing twice, no module in two
splits.
"""

import ast
import sys
from pathlib import Path

import pytest

from lslm_lightning.data.builtin import docstrings
from lslm_lightning.data.builtin.docstrings import pairs, spelled, split_by_module, versions
from lslm_lightning.data.builtin.sources import (
    Documented,
    distribution,
    documented,
    standard_library,
)
from lslm_lightning.data.corpora import open_corpus

pytestmark = pytest.mark.slow

SOURCE = '''
raise SystemExit("imported!")

class Box(dict, metaclass=type):
    """A box that holds things.

    It is made of paper.
    """

    async def open(self, force: bool = False, *, by="hand") -> None:
        """Opens the box for its owner.

        Nothing happens if it is open.
        """
        def inner():
            """Finds the lid of the box.

            Only from within."""

def plain():
    """Does something that has no body."""
'''


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "box.py"
    path.write_text(SOURCE)
    return path


def test_objects_are_found_without_importing(source: Path) -> None:
    found = [(item.name, item.signature) for item in documented([("box", source)])]
    assert found == [
        ("box.Box", "(dict)"),
        ("box.Box.open", "(self, force: bool=False, *, by='hand') -> None"),
        ("box.Box.open.inner", "()"),
        ("box.plain", "()"),
    ]
    assert "box" not in sys.modules


@pytest.mark.parametrize(
    "broken", [b"def f(:", b"\x00", b"\xff\xfe", b"# coding: none\n", b"(" * 5000]
)
def test_files_that_do_not_parse_are_passed_over(
    broken: bytes, source: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.py").write_bytes(broken)
    modules = [("broken", tmp_path / "broken.py"), ("gone", tmp_path / "gone.py"), ("box", source)]
    assert len(list(documented(modules))) == 4


def test_a_pair_is_made_of_name_signature_body_and_summary(source: Path) -> None:
    rows = pairs(documented([("box", source)]))
    assert [row["id"] for row in rows] == ["box.Box", "box.Box.open", "box.Box.open.inner"]
    assert rows[1] == {
        "id": "box.Box.open",
        "module": "box",
        "name": "open",
        "text": "Opens the box for its owner.\n\nNothing happens if it is open.",
        "body": "Nothing happens if it is open.",
        "document": (
            "Open of box\nbox.Box.open(self, force: bool=False, *, by='hand') -> "
            "None\nNothing happens if it is open."
        ),
        "summary": ["Opens the box for its owner."],
    }


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("box.read_text_file", "Read text file"),
        ("box.HTTPServer.readLine2", "Read line 2 of http server"),
        ("box._Conv2d.__init__", "Init of conv 2 d"),
        ("box.X.inner.f", "F of inner of x"),
    ],
)
def test_a_name_is_spelled_out_in_words_that_a_summary_uses(name: str, words: str) -> None:
    assert spelled(Documented("box", name, "", ast.parse("def f(): 0").body[0])) == words


def test_equal_names_summaries_and_bodies_come_once(source: Path, tmp_path: Path) -> None:
    body = "It is\n    made, of PAPER"
    summary = "A box: that holds things"
    same_name = "Other words to begin with."
    texts = [
        f"A cardboard case for it.\n\n    {body}.",
        f"{summary}.\n\n    Another body.",
        "Any summary at all.\n\n    Any body.",
    ]
    (tmp_path / "more.py").write_text(
        "".join(f'class C{i}:\n    """{text}"""\n' for i, text in enumerate(texts))
    )
    (tmp_path / "box2.py").write_text(
        f'class C2:\n    """{same_name}\n\n    Yet another body."""\n'
    )
    modules = [("box", source), ("more", tmp_path / "more.py"), ("more", tmp_path / "box2.py")]
    assert [row["id"] for row in pairs(documented(modules))][3:] == ["more.C2"]


def test_the_standard_library_and_distributions_are_found() -> None:
    modules = dict(standard_library())
    assert {"json.decoder", "asyncio", "argparse"} <= modules.keys()
    assert not any(
        name.split(".")[0] in ("test", "site-packages", "idlelib") or ".tests." in name
        for name in modules
    )
    assert "pooch.core" in dict(distribution("pooch"))
    assert list(distribution("not-installed")) == []


@pytest.fixture(scope="module")
def library() -> list[dict]:
    return pairs(documented(standard_library()))


def test_no_module_is_in_two_splits(library: list[dict]) -> None:
    splits = split_by_module(library)
    modules = [{row["module"] for row in rows} for rows in splits.values()]
    assert sum(map(len, modules)) == len(set.union(*modules))
    assert sum(map(len, splits.values())) == len(library) == len({row["id"] for row in library})
    for rows in splits.values():
        for field in ("text", "body"):
            assert len({row[field] for row in rows}) == len(rows)


def test_the_test_text_is_as_long_as_promised(library: list[dict]) -> None:
    splits = split_by_module(library)
    size = {split: sum(len(row["text"].encode()) for row in rows) for split, rows in splits.items()}
    assert 400_000 < size["test"] < 500_000
    assert 200_000 < size["val"] < 250_000


def test_the_split_depends_on_names_alone(library: list[dict]) -> None:
    by_split = {
        split: {row["id"] for row in rows} for split, rows in split_by_module(library).items()
    }
    assert by_split == {
        split: {row["id"] for row in rows} for split, rows in split_by_module(library[::-1]).items()
    }


def test_it_is_made_once_and_its_digest_follows_the_versions(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def make() -> dict:
        made.append(1)
        rows = pairs(documented([("box", source)]))
        return {"train": rows[:1], "val": rows[1:2], "test": rows[2:]}

    monkeypatch.setattr(docstrings, "_make", make)
    digests = []
    for version in ("1", "1", "2"):
        monkeypatch.setattr(docstrings, "versions", lambda version=version: [f"Python {version}"])
        docstrings._splits.cache_clear()
        corpus = open_corpus("docstrings")
        assert corpus.rows("test")[0]["name"] == "inner"
        assert f"Python {version}" in corpus.note
        digests.append(corpus.digest("test"))
    docstrings._splits.cache_clear()
    assert len(made) == 2
    assert len({open_corpus("docstrings").digest(split) for split in ("train", "val", "test")}) == 3
    docstrings._splits.cache_clear()


def test_versions_are_those_installed() -> None:
    from importlib.metadata import version

    assert f"torch {version('torch')}" in versions()
    assert versions()[0].startswith("Python 3.")


def test_columns_are_fixed() -> None:
    with pytest.raises(
        ValueError,
        match=(
            r"corpus docstrings: columns=\{'text': 'body'\} cannot be set; its rows have text, "
            r"document"
        ),
    ):
        open_corpus("docstrings", {"text": "body"})
