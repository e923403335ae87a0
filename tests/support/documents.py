"""Documents of the project, both READMEs and the pages of the site, and the code in them."""

import re
import shlex
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
SITE = ROOT / "docs"
READMES = ("README.md", "README.zh-CN.md")
PAGES = tuple(sorted(str(path.relative_to(SITE / "en")) for path in (SITE / "en").rglob("*.md")))
PAIRS = (READMES, *((f"docs/en/{page}", f"docs/zh/{page}") for page in PAGES))
DOCUMENTS = tuple(name for pair in PAIRS for name in pair)
CODE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MISTAKES = "docs/en/troubleshooting.md"  # has commands that fail, each with its message
MISTAKE = re.compile(r"^```sh\n(.*?)^```\n+```text\n(.*?)^```", re.M | re.S)
FAILS = re.compile(r"^<!-- fails -->\n```sh\n(.*?)^```$", re.M | re.S)
CELL = re.compile(r"(?<!\\)[|]")  # where cells of a table begin
SAVED = re.compile(
    r"`((?:\w+/)*\w+\.(?:yaml|py))`[^\n]*\n+```(?:yaml|python)\n(.*?)^```$", re.M | re.S
)


@cache
def text_of(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def blocks(name: str, language: str) -> list[str]:
    """Code blocks of a document without comments and trailing blanks."""
    found = [code for kind, code in CODE.findall(text_of(name)) if kind == language]
    return [re.sub(r"[ ]+(#.*)?$", "", block, flags=re.MULTILINE) for block in found]


def commands(name: str) -> list[list[str]]:
    """The words of every `lslm ...` line of the shell blocks of a document, without those that are
    shown to fail.
    """
    shows_mistakes = Path(name).name == Path(MISTAKES).name
    failing = {*FAILS.findall(text_of(name))}
    if shows_mistakes:
        failing |= {script for script, _ in MISTAKE.findall(text_of(name))}
    shown = (block for block in blocks(name, "sh") if block not in failing)
    return commands_in("\n".join(shown))


def commands_in(script: str) -> list[list[str]]:
    """The words of every `lslm ...` line of a script; of a pipe the end, without what stands before
    the command, and without the files that it reads and writes.
    """
    text = re.sub(r" [<>] \S+", "", script.replace("\\\n", " "))
    ends = [re.search(r"(?:^|[|] |=\S+ )(lslm .*)", line) for line in text.splitlines()]
    return [shlex.split(re.sub(r"\$\([^)]*\)", "RUN", end[1]))[1:] for end in ends if end]


def saved_files(name: str) -> dict[str, str]:
    """The files that a document tells its reader to save: the line above the code names them."""
    return dict(SAVED.findall(text_of(name)))


def shape(name: str) -> list[str]:
    """Levels of headings, kinds of code, figures, tables and markers of a page, in order."""
    found = []
    in_code = ""
    for line in text_of(name).splitlines():
        if line.startswith(("```", ":::")):
            in_code = "" if in_code and line.strip("`:") == "" else line
            found.append(line if "toctree" not in line else "toctree")
        elif in_code:
            continue
        elif heading := re.match(r"#+ ", line):
            found.append(heading[0])
        elif line.startswith("|"):
            found.append(f"row of {len(CELL.split(line))}")
        elif line.startswith("<!--"):
            found.append(line)
        found += re.findall(r"!\[[^]]*\]\(([^)]*)\)", line)
    return found
