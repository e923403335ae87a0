"""Argument parser of the commands that do not use LightningCLI."""

import argparse
import re
from difflib import get_close_matches
from typing import NoReturn

from lslm_lightning.exit_status import SettingsError
from lslm_lightning.localization.help_layout import HelpLayout
from lslm_lightning.long_options import number_message

RUN = "a run directory or MLflow id, models:/NAME@best, or a quoted pattern for the newest run"
TRUST_HELP = (
    "let the run name any class, which then runs its code; needed for all runs that name classes "
    "outside of this project and torch, your own runs too"
)


class Parser(argparse.ArgumentParser):
    """Argument parser that prints one-line error messages with a suggestion for an unknown option,
    and help with examples first.

    Args:
        description: summary and examples, which stand above the usage; a blank line and paragraphs
            of details, which stand below the options.
    """

    def __init__(
        self,
        prog: str | None = None,
        description: str | None = None,
        allow_abbrev: bool = True,
        color: bool | None = None,  # which Python 3.14 gives to parsers of subcommands
    ) -> None:
        super().__init__(prog, description=description, allow_abbrev=allow_abbrev)
        self.formatter_class = HelpLayout
        self._positionals.title = "Arguments"
        self._optionals.title = "Options"
        if color is not None:
            self.color = color

    def format_help(self) -> str:
        """Return the help: summary, examples, usage, options by group, details."""
        layout = HelpLayout(f"{self.prog} [OPTIONS]")
        found = re.match(r".*?\n\n( .*?\n)+?(\n|$)", f"{self.description or ''}\n", re.DOTALL)
        n_first = found.end() if found else None
        layout.add_text((self.description or "")[:n_first])
        named = [each for each in self._actions if each.required or not each.option_strings]
        layout.add_usage(self.usage, named, ())
        others = [each for each in self._action_groups if each is not self._optionals]
        for group in (*others, self._optionals):
            if group is self._optionals and len(others) > 1 and group.title == "Options":
                group.title = "Other options"
            layout.start_section(group.title)
            layout.add_text(group.description)
            layout.add_arguments(group._group_actions)
            layout.end_section()
        if n_first is not None:
            layout.add_text((self.description or "")[n_first:])
        return layout.format_help()

    def error(self, message: str) -> NoReturn:
        """Raise `SettingsError` with the message and, for an unknown option or a number that is
        none, a suggestion.
        """
        if found := re.search(r"argument (\S+): invalid (int|float) value: '(.*)'", message):
            raise SettingsError(number_message(*found.groups()))
        unknown = re.search(r"unrecognized arguments: (--[^ =]+)", message)
        near = get_close_matches(unknown[1], self._option_string_actions, 1) if unknown else []
        if wrong := re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message):
            near = get_close_matches(wrong[1], re.findall(r"[\w-]+", wrong[2]), 1)
        advice = f"did you mean {near[0]}?" if near else f"{self.prog} --help"
        raise SettingsError(f"{' '.join(message.split())}; {advice}")
