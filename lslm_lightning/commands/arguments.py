"""Arguments of the commands that are not LightningCLI's; argparse alone, so that --help answers at once."""

import argparse
import re
import sys
from difflib import get_close_matches
from typing import NoReturn

from lslm_lightning.commands.outcome import WRONG_ARGUMENTS


class Parser(argparse.ArgumentParser):
    """Errors in one line, with the nearest option for one that is not known."""

    def error(self, message: str) -> NoReturn:
        unknown = re.search(r"unrecognized arguments: (--[^ =]+)", message)
        near = get_close_matches(unknown[1], self._option_string_actions, 1) if unknown else []
        hint = f"did you mean {near[0]}?" if near else f"{self.prog} --help"
        print(f"lslm: {' '.join(message.split())}; {hint}", file=sys.stderr)
        raise SystemExit(WRONG_ARGUMENTS)
