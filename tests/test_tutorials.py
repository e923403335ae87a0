"""The tool that follows tutorials does what a reader would do, and stops where one would."""

from code import InteractiveConsole
from pathlib import Path
from types import CodeType

import pytest

from tests.support.documents import PAGES, SITE
from tests.tutorials import TutorialError, blocks_of, follow, not_printed

PAGE = """# Title

```sh
GREETING=hello
sleep 60 &
```

Save this as `mine.yaml`:

```yaml
a: 1
```

<!-- needs: network -->
```sh
exit 3
```

<!-- fails -->
```sh
echo "lslm: a=1 must be $GREETING" >&2
false
```

```text
lslm: a=… must be hello
```

```sh
kill $!
```

What changes is kept in `mine.yaml`:

```sh
cat mine.yaml
echo "$GREETING" >> said
```
"""


def follow_page(text: str, folder: Path) -> None:
    page = folder / "page.md"
    page.write_text(text, "utf-8")
    (folder / "empty").mkdir(exist_ok=True)
    follow(page, folder / "empty", folder / "state")


def test_a_page_is_followed_and_continued(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    follow_page(PAGE, tmp_path)
    assert "    a: 1\n" in capsys.readouterr().out
    more = '```sh\necho "$GREETING" again >> said\n```\n'
    follow_page(PAGE + more, tmp_path)
    assert (tmp_path / "empty/said").read_text() == "hello\nhello again\n"


def test_jobs_that_are_killed_as_they_start_end_no_block(tmp_path: Path) -> None:
    block = "```sh\nsleep 60 &\nkill $!\nwait $! || true\n```\n\n"
    with pytest.raises(TutorialError, match="the block failed with status 1"):
        follow_page(block * 9 + "```sh\nfalse\n```\n", tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [("false", "true", 21), ("must be $", "is $", 21), ("cat", "cat no-such", 36)],
)
def test_a_page_that_is_wrong_is_refused_with_the_line(
    old: str, new: str, line: int, tmp_path: Path
) -> None:
    with pytest.raises(TutorialError, match=f"line {line}: "):
        follow_page(PAGE.replace(old, new), tmp_path)


@pytest.mark.parametrize(
    ("shown", "missing"),
    [
        ("run demo-0123abcd\n…\nreport demo-0123abcd", []),
        ("step 2/2  9:17 elapsed  0:01 left  loss 1.5  9 tokens/s", []),
        ("step 2/2 … val 3", []),
        ("step 1/2\nrun demo-89abcdef", ["run demo-…"]),
        ("step 2/2  0:38 elapsed  0:00 left  loss 1.6", ["step 2/2  … elapsed  … left  loss 1.6"]),
    ],
)
def test_lines_that_were_not_printed_are_found(shown: str, missing: list[str]) -> None:
    printed = """run demo-89abcdef
step 1/2  0:10 elapsed
step 2/2  0:38 elapsed  0:00 left  loss 1.5  2,919 tokens/s  val 3
report demo-89abcdef
"""
    assert not_printed(printed, shown) == missing


class Parser(InteractiveConsole):
    """Interactive session that compiles what is pasted and runs none of it."""

    def runcode(self, code: CodeType) -> None:
        pass


@pytest.mark.parametrize("page", PAGES)
def test_python_blocks_can_be_pasted_into_a_session(
    page: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """There a statement with an indented block ends with an empty line, and only with one."""
    for block in blocks_of((SITE / "en" / page).read_text("utf-8")):
        if block.kind == "python" and block.file is None:
            session = Parser()
            unfinished = [session.push(line) for line in [*block.code.splitlines(), ""]][-1]
            assert not capsys.readouterr().err, f"line {block.line}"
            assert not unfinished, f"line {block.line}"
