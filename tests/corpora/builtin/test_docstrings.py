"""Docstrings of installed packages: parsed, never imported, nothing twice, no module in two splits,
and the same rows on every Python.
"""

import ast
import inspect
import sys
from pathlib import Path

import pytest

from lslm_lightning.corpora.builtin import docstrings
from lslm_lightning.corpora.builtin.docstrings import name_in_words, split_by_module, summary_rows
from lslm_lightning.corpora.builtin.sources import (
    DocumentedObject,
    _objects,
    clean_docstring,
    distribution_modules,
    documented_objects,
)
from lslm_lightning.corpora.lookup import open_corpus

pytestmark = pytest.mark.slow

SOURCE = '''
raise SystemExit("imported!")

class Box(dict, metaclass=type):
    """A box that holds things.

    It is made of paper.
    """

    async def open(self, /, force: "bool | None"=False,
                   *, by=r"hand", **more: dict[
                       str, int]) -> None:  # a comment
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
    found = [(item.name, item.signature) for item in documented_objects([("box", source)])]
    assert found == [
        ("box.Box", "(dict)"),
        (
            "box.Box.open",
            '(self, /, force: "bool | None" = False, *, by=r"hand", '
            "**more: dict[ str, int]) -> None",
        ),
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
    assert len(list(documented_objects(modules))) == 4


def test_a_pair_is_made_of_name_signature_body_and_summary(source: Path) -> None:
    rows = summary_rows(documented_objects([("box", source)]))
    assert [row["id"] for row in rows] == ["box.Box", "box.Box.open", "box.Box.open.inner"]
    assert rows[1] == {
        "id": "box.Box.open",
        "module": "box",
        "name": "open",
        "text": "Opens the box for its owner.\n\nNothing happens if it is open.",
        "body": "Nothing happens if it is open.",
        "document": (
            "Open of box\n"
            'box.Box.open(self, /, force: "bool | None" = False, *, by=r"hand", **more: dict[ str, '
            "int]) -> None\n"
            "Nothing happens if it is open."
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
    assert name_in_words(DocumentedObject("box", name, "", "()")) == words


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
    assert [row["id"] for row in summary_rows(documented_objects(modules))][3:] == ["more.C2"]


def test_signatures_are_those_of_the_source() -> None:
    for signature in (
        "()",
        "(a, b)",
        "(a, b=1, /)",
        "(a, /, b, c=(1, 2))",
        "(*args)",
        "(a, *args: int, b, c: 'str' = \"é\", **kwargs)",
        "(*, b: list[int] | None = None)",
        "(a=lambda x: {'x': x}) -> tuple[()]",
    ):
        source = f'def f{signature}:\n    """Do it."""\n'
        tree = ast.parse(source)
        lines = [line.encode() for line in source.split("\n")]
        assert [item.signature for item in _objects(tree, lines, "m", "m")] == [signature]


@pytest.mark.parametrize(
    "text",
    ["one", "  one\n    two\n      three\n    ", "\n    a\n\n    b", "a\n\tb\n\t  c", " \n ", ""],
)
def test_docstrings_are_cleaned_as_inspect_does(text: str) -> None:
    assert clean_docstring(text) == inspect.cleandoc(text).strip()


def test_line_ends_change_nothing(source: Path, tmp_path: Path) -> None:
    windows = tmp_path / "windows.py"
    windows.write_bytes(SOURCE.replace("\n", "\r\n").encode("utf-8-sig"))
    modules = [[("box", source)], [("box", windows)]]
    assert len({tuple(documented_objects(each)) for each in modules}) == 1


def test_modules_of_distributions_are_found() -> None:
    modules = dict(distribution_modules("networkx"))
    assert {"networkx", "networkx.classes.graph"} <= modules.keys()
    assert not any(".tests" in name or ".test_" in name for name in modules)
    assert list(distribution_modules("not-installed")) == []


@pytest.fixture(scope="module")
def library() -> list[dict]:
    """Rows of two packages."""
    modules = [*distribution_modules("networkx"), *distribution_modules("nltk")]
    return summary_rows(documented_objects(modules))


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


def test_it_is_made_once_and_its_cache_follows_the_versions(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def make() -> dict:
        made.append(1)
        rows = summary_rows(documented_objects([("box", source)]))
        return {"train": rows[:1], "val": rows[1:2], "test": rows[2:]}

    monkeypatch.setattr(docstrings, "_make_splits", make)
    for version in ("1", "1", "2"):
        monkeypatch.setattr(docstrings, "installed_versions", lambda _, v=version: {"sympy": v})
        docstrings._splits.cache_clear()
        corpus = open_corpus("docstrings")
        assert corpus.rows("test")[0]["name"] == "inner"
        assert f"sympy {version}" in corpus.note
    assert len(made) == 2
    assert len({corpus.digest(split) for split in ("train", "val", "test")}) == 3
    docstrings._splits.cache_clear()


def test_columns_are_fixed() -> None:
    with pytest.raises(
        ValueError,
        match=(
            r"corpus docstrings: columns=\{'text': 'body'\} cannot be set; its rows have text, "
            r"document"
        ),
    ):
        open_corpus("docstrings", {"text": "body"})
