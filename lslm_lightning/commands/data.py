"""`lslm data`: list, download, check and prepare corpora."""

from lslm_lightning.commands import prepare
from lslm_lightning.commands.arguments import Parser
from lslm_lightning.experiments.corpora import (
    check_corpus,
    columns_given,
    fetch_files,
    list_corpora,
)
from lslm_lightning.experiments.endings import suggest_command
from lslm_lightning.experiments.invocation import command_line
from lslm_lightning.safety.terminal import console as plain_console

DESCRIPTION = """List corpora, fetch their files, check them, prepare texts of any size.

  lslm data list
  lslm data fetch chinese-poetry-ci
  lslm data check data/mine
  lslm data prepare "texts/*.jsonl.gz" --output prepared/texts"""
ABOUT = {  # of each command, what it does and examples
    "list": (
        "list all corpora: languages, rows, licence, where their files are",
        "  lslm data list",
    ),
    "fetch": (
        "download missing files from their public source, and verify all",
        "  lslm data fetch chinese-poetry-ci",
    ),
    "check": (
        "verify the files; show columns, first rows, lengths of each split, and a config",
        (
            "  lslm data check multi30k\n  lslm data check data/mine.csv --columns '{document: "
            "article, summary: highlights}'\n  lslm data check numbers --data spoken.SpokenData"
        ),
    ),
}


def main(argv: list[str]) -> int:
    """List, download, check or prepare corpora; return the exit status, 1 if `check` found
    faults.
    """
    parser = Parser("lslm data", description=DESCRIPTION)
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="list | fetch NAME | check NAME | prepare SOURCE"
    )
    for name, (summary, examples) in ABOUT.items():
        command = commands.add_parser(name, help=summary, description=f"{summary}\n\n{examples}")
        if name == "fetch":
            known = "a corpus that `lslm data list` shows"
            command.add_argument("name", metavar="NAME", help=known)
    check = commands.choices["check"]
    known = "a corpus that `lslm data list` shows, a path or a hub id"
    check.add_argument("name", metavar="NAME", help=known)
    check.add_argument(
        "--columns",
        type=columns_given,
        default={},
        metavar="MAPPING",
        help="fields and their columns, as in '{en: english, de: german}'",
    )
    of_task = "data class of a task of your own, such as spoken.SpokenData: which fields it reads"
    check.add_argument("--data", metavar="CLASS", help=of_task)
    prepare.add_arguments(
        commands.add_parser(
            "prepare",
            help="tokenize texts of any size to token ids, on all cores",
            allow_abbrev=False,
        )
    )
    arguments = parser.parse_args(argv[1:])
    console = plain_console()
    if arguments.command == "prepare":
        from lslm_lightning.experiments.preparation import prepare_texts

        with suggest_command(f"To continue: {command_line(argv)}"):
            return prepare_texts(console, arguments)
    if arguments.command == "list":
        return list_corpora(console)
    if arguments.command == "fetch":
        return fetch_files(console, arguments.name)
    return check_corpus(console, arguments.name, arguments.columns, arguments.data)
