"""Terminal output with invisible characters made visible, with secrets masked, and with messages in
the language of the interface.

`guarded_output` guards all output of a command, of libraries too. `console` draws tables.
"""

import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from lslm_lightning.localization import MESSAGES, translated
from lslm_lightning.safety.display import safe_text
from lslm_lightning.safety.redaction import redacted, without_known
from lslm_lightning.safety.visible_text import visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn

DRAWING = ("rich.", "tqdm.")  # modules that move the cursor and choose colours
# cursor, erasing, colours: neither titles nor queries
DRAWN = re.compile(r"(\x1b\[[?\d;]*[A-KSTfhlmu]|\r)")
PARSERS = ("jsonargparse.", "argparse")  # modules that print settings
OWN = ("__main__", "lslm_lightning", "tasks", "lslm_tasks")  # packages whose lines are messages
PROGRAM = re.compile(r"lslm( [a-z-]+)?: ")
# modules whose standard output is the output of models
ANSWERING = ("lslm_lightning.commands.generate", "lslm_lightning.commands.log_prob")


class GuardedStream:
    """Text stream that writes invisible characters as code points, masks secrets, and translates
    the lines that this package prints. Texts of several lines (help, settings) are translated where
    they are made.

    Control sequences pass only if a library that draws progress bars writes them.

    Args:
        stream: stream to write to.
        is_data: True if the text may be the output of a model; only known secrets are masked then.
    """

    def __init__(self, stream: TextIO, is_data: bool) -> None:
        self._stream = stream
        self._answering = ANSWERING if is_data else ()
        self._hide = without_known if is_data else redacted

    def write(self, text: str) -> int:
        """Write the text; return its number of characters."""
        writer = sys._getframe(1).f_globals.get("__name__") or ""
        shown = redacted(text) if writer.startswith(PARSERS) else self._hide(text)
        if writer.partition(".")[0] in OWN and writer not in self._answering:
            shown = translated_line(shown)
        parts = DRAWN.split(shown) if writer.startswith(DRAWING) else [shown]
        self._stream.write(
            "".join(part if i % 2 else visible(part) for i, part in enumerate(parts))
        )
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def translated_line(text: str) -> str:
    """Return a message of one line in the language of the interface, behind the name of the
    command; other texts are unchanged.
    """
    name = PROGRAM.match(text)
    start = name.end() if name else 0
    return text if "\n" in text.strip() else text[:start] + translated(text[start:], MESSAGES)


@contextmanager
def guarded_output() -> Iterator[None]:
    """Guard standard output and standard error inside this context."""
    os.environ.setdefault("PYTHON_COLORS", "0")  # control sequences of tracebacks would be shown
    before = sys.stdout, sys.stderr
    if not isinstance(sys.stdout, GuardedStream):
        sys.stdout = GuardedStream(sys.stdout, is_data=True)
    if not isinstance(sys.stderr, GuardedStream):
        sys.stderr = GuardedStream(sys.stderr, is_data=False)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def console(stderr: bool = False) -> "Console":
    """Return a rich console for tables that shows every text literally: no markup, no emoji codes,
    no control sequences. Printed lines, and the titles and headings of tables, are shown in the
    language of the interface.
    """
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment
    from rich.table import Table
    from rich.text import Text

    def in_language(shown: Any) -> Any:
        if isinstance(shown, str):
            return translated(shown, MESSAGES)
        if isinstance(shown, Text):
            other = translated(shown.plain, MESSAGES)
            return shown if other == shown.plain else Text(other, shown.style)
        if isinstance(shown, Table):
            shown.title = in_language(shown.title)
            for column in shown.columns:
                column.header = in_language(column.header)
        return shown

    class PlainConsole(Console):
        def print(self, *objects: Any, **settings: Any) -> None:
            super().print(*map(in_language, objects), **settings)

        def render_str(self, text: str, **settings: object) -> Text:
            shown = safe_text(text)
            return super().render_str(shown, **settings)  # type: ignore[arg-type]  # passed on

        def render(
            self, renderable: RenderableType, options: ConsoleOptions | None = None
        ) -> Iterable[Segment]:
            if isinstance(renderable, Text):
                shown = safe_text(renderable.plain)
                if shown != renderable.plain:
                    renderable = Text(
                        shown,
                        renderable.style,
                        justify=renderable.justify,
                        overflow=renderable.overflow,
                        no_wrap=renderable.no_wrap,
                        end=renderable.end,
                    )
            return super().render(renderable, options)

    return PlainConsole(stderr=stderr, markup=False, emoji=False, highlight=False)


def progress(*columns: "ProgressColumn", output: "Console") -> "Progress":
    """Return rich progress bars on the console `output`. Text printed meanwhile appears above them,
    with invisible characters made visible.
    """
    from rich.progress import Progress

    class GuardedProgress(Progress):
        def start(self) -> None:
            before = sys.stdout, sys.stderr
            super().start()
            if sys.stdout is not before[0]:  # rich's, which would obey colours
                sys.stdout = GuardedStream(sys.stdout, is_data=True)
            if sys.stderr is not before[1]:
                sys.stderr = GuardedStream(sys.stderr, is_data=False)

    to_terminal = sys.stdout.isatty()  # a file or a pipe gets what is meant for it
    return GuardedProgress(
        *columns, console=output, refresh_per_second=2, redirect_stdout=to_terminal
    )
