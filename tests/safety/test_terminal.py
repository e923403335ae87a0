"""No escape sequence, no markup and no secret reaches a terminal, whoever prints."""

import io
import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from rich.progress import TextColumn
from rich.table import Table
from rich.text import Text

from lslm_lightning.__main__ import main
from lslm_lightning.safety.redaction import learn_secret
from lslm_lightning.safety.terminal import GuardedStream, console, guarded_output, progress

HOSTILE = "\x1b]0;title\x07 \x1b[2Jx\x9b31m \r\x08y \u202ez \U000e0061"
SHOWN = "[U+001B]]0;title[U+0007] [U+001B][2Jx[U+009B]31m [U+000D][U+0008]y [U+202E]z [U+E0061]"


@contextmanager
def guarded() -> Iterator[io.StringIO]:
    """Capture what reaches the terminal inside this context."""
    both = io.StringIO()
    both.isatty = lambda: True
    with redirect_stdout(both), redirect_stderr(both), guarded_output():
        yield both


def by_print() -> None:
    print(HOSTILE)


def by_error() -> None:
    print(HOSTILE, file=sys.stderr)


def by_log() -> None:
    handler = logging.StreamHandler()
    handler.emit(logging.LogRecord("x", logging.WARNING, "", 0, HOSTILE, (), None))


def by_lines() -> None:
    sys.stdout.writelines([HOSTILE])


def by_traceback() -> None:
    import traceback

    try:
        raise ValueError(HOSTILE)
    except ValueError:
        traceback.print_exc()


def by_console() -> None:
    console().print(HOSTILE, soft_wrap=True)


def by_rich_text() -> None:
    console().print(Text(HOSTILE, "yellow"), soft_wrap=True)


@pytest.mark.parametrize(
    "say", [by_print, by_error, by_log, by_lines, by_traceback, by_console, by_rich_text]
)
def test_nothing_moves_the_cursor(say):
    learn_secret("a-secret-of-mine")
    with guarded() as terminal:
        say()
        print("a-secret-of-mine")
    text = terminal.getvalue().replace("\x1b[33m", "").replace("\x1b[0m", "")  # rich's own yellow
    assert SHOWN in text or say is by_rich_text, "rich drops some of them"
    assert "x[U+009B]31m" in text
    assert not set("\x1b\x07\x9b\r\x08\u202e") & set(text)
    assert "a-secret" not in text


def test_tables_show_markup_and_emoji_codes_as_they_are():
    table = Table("[bold]head", HOSTILE)
    table.add_row("[red]a[/red] :smile: [link=http://evil]b[/link]", Text("\x1b[8mhidden"))
    with guarded() as terminal:
        drawn = console()
        drawn.width = 200
        drawn.print(table)
    text = terminal.getvalue()
    assert "[red]a[/red] :smile: [link=http://evil]b[/link]" in text
    assert "[bold]head" in text
    assert "[U+001B][8mhidden" in text
    assert "\x1b]" not in text
    assert "\x1b[8m" not in text


def test_bars_move_the_cursor_and_others_meanwhile_do_not():
    from tqdm import tqdm

    with guarded() as terminal:
        output = console(stderr=True)
        output._force_terminal = True
        with progress(TextColumn("{task.description}", markup=False), output=output) as bars:
            bars.add_task("a \x1b[2J bar")
            print("\x1b[31mred\x1b]0;t\x07")
            assert isinstance(sys.stdout, GuardedStream)
        for _ in tqdm([1, 2], "\x1b]0;t\x07\x1b[6n", file=sys.stderr):
            pass
    text = terminal.getvalue()
    assert "[U+001B][31mred[U+001B]]0;t[U+0007]" in text
    assert "a [U+" in text
    assert "\x1b[2J" not in text
    assert not any(part in text for part in ("\x1b]0", "\x07", "\x1b[6n"))
    assert "\r" in text, "bars are drawn"


def test_streams_are_as_before_afterwards():
    before = sys.stdout, sys.stderr
    with guarded(), guarded_output():
        assert sys.stdout.isatty()
        assert not isinstance(sys.stdout._stream, GuardedStream)
    assert (sys.stdout, sys.stderr) == before


@pytest.mark.parametrize(
    "words",
    [["tr\x1b[31mian"], ["data", "check", "a\x1b]0;t\x07"], ["data", "check", "--x\x1b[2J", "y"]],
)
def test_errors_of_commands(capfd, project, words):
    try:
        status = main(words)
    except SystemExit as ending:
        status = ending.code
    assert status
    printed = capfd.readouterr()
    assert "\x1b" not in printed.out + printed.err
    assert "\x07" not in printed.out + printed.err


@pytest.mark.slow
def test_a_catalogue_of_a_stranger(capfd, project, monkeypatch):
    (project / "configs").mkdir()
    (project / "configs/corpora.yaml").write_text(
        'mine:\n  task: translation\n  languages: [en, de]\n  licence: "[red]free[/red] :x: '
        '\\e[31m"\n'
        "  citation: none\n  splits: {test: [test.en, test.de]}\n  format: parallel\n  files: "
        "{test.en: {}, test.de: {}}\n"
    )
    monkeypatch.setenv("COLUMNS", "300")
    status = main(["data", "list"])
    printed = capfd.readouterr()
    assert "\x1b" not in printed.out + printed.err
    if status == 0:
        assert "[red]free[/red] :x: [U+001B][31m" in printed.out


@pytest.mark.slow
def test_no_other_code_makes_a_console_or_writes_beside_the_guard():
    """Every table and bar comes from `safety.terminal`, and nothing is written to a file
    descriptor.
    """
    root = Path(__file__).parents[2]
    files = [*(root / "lslm_lightning").rglob("*.py"), *(root / "tasks").rglob("*.py")]
    forbidden = re.compile(
        r"\bConsole\(|\brich\.print\b|rich\.markup|(?<!\w)sys\.__std|std(out|err)\.buffer"
        r"|os\.write\([12],|mkstemp|mkdtemp\("
    )
    lines = [
        (path.relative_to(root), line)
        for path in files
        for line in path.read_text("utf-8").splitlines()
    ]
    found = [f"{path}: {line.strip()}" for path, line in lines if forbidden.search(line)]
    own = (
        "lslm_lightning/safety/terminal.py",
        "lslm_lightning/safety/output.py",
        "lslm_lightning/configuration/pipes.py",
    )
    assert [each for each in found if not each.startswith(own)] == []


def test_the_whole_configuration_is_printed_without_secrets():
    source = "print_config = lambda text: __import__('sys').stdout.write(text)"
    module = {"__name__": "jsonargparse._actions"}
    exec(source, module)
    with guarded() as terminal:
        module["print_config"]("a:\n  api_key: abc\n  pad_token: <pad>\n")
    assert terminal.getvalue() == "a:\n  api_key: ***\n  pad_token: <pad>\n"
