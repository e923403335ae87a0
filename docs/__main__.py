"""`python -m docs [FOLDER]`: build the site in both languages; any warning is an error."""

import argparse
import shutil
import sys
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

from sphinx.cmd.build import main as run_sphinx

from docs.gallery import making
from docs.generate import filled_in
from lslm_lightning.garbage import collect_rarely

HOME = Path(__file__).parent
LANGUAGES = ("en", "zh")
LANDING = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>lslm-lightning</title>
<meta http-equiv="refresh" content="0; url=en/index.html">
<p><a href="en/index.html">English</a> · <a href="zh/index.html" lang="zh-CN">中文</a></p>
</html>
"""


def build(output: Path) -> int:
    """Build the pages of both languages at the same time; return 0 if both are built.

    Args:
        output: folder of the site; its first page is index.html.
    """
    output.mkdir(parents=True, exist_ok=True)
    for language in LANGUAGES:  # generated once, for the processes that are forked
        for page in sorted((HOME / language).rglob("*.md")):
            filled_in(page.read_text("utf-8"), language)
    with ProcessPoolExecutor(len(LANGUAGES), making.process_context()) as processes:
        if any([*processes.map(build_language, LANGUAGES, repeat(output))]):
            return 1
    for language in LANGUAGES:
        if (made := making.MADE / language).is_dir():
            shutil.copytree(made, output / language / "gallery", dirs_exist_ok=True)
    (output / "index.html").write_text(LANDING, "utf-8")
    print(f"site {output / 'index.html'}", flush=True)
    return 0


def build_language(language: str, output: Path) -> int:
    """Build the pages of one language and return Sphinx's exit status."""
    folders = [
        "-c",
        HOME,
        "-d",
        output / ".doctrees" / language,
        HOME / language,
        output / language,
    ]
    anew = ["-E", "-a"]  # what is generated may differ though no page was edited
    options = ["-q", "-W", "--keep-going", *anew, "-b", "html", "-t", language]
    return run_sphinx([*options, *map(str, folders)])


def main() -> int:
    """Make the reports of the gallery, build the site, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m docs", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=HOME / "_build")
    parser.add_argument(
        "--old-gallery", action="store_true", help="take the reports of the gallery as they are"
    )
    given = parser.parse_args()
    collect_rarely()  # trees of pages are no garbage until the end
    if not given.old_gallery:
        making.make()
    return build(given.folder.absolute())


if __name__ == "__main__":
    sys.exit(main())
