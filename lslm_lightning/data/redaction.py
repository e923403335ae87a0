"""Choice of the personal data that placeholders replace in training texts."""

from pathlib import Path

from lslm_lightning.corpora.text_lines import read_entries
from lslm_lightning.long_options import listed_names
from lslm_lightning.text.personal_data import KINDS, PersonalDataFinder


def chosen_finder(
    kinds: str | None, names: str | Path | None, kinds_setting: str, names_setting: str
) -> PersonalDataFinder | None:
    """Return what finds the personal data that are to be redacted; None if none are.

    Args:
        kinds: names of kinds, separated by commas, or "all"; None for none.
        names: file of names of people, one a line; None for none.
        kinds_setting: setting that gives the kinds, for messages.
        names_setting: setting that gives the file, for messages.

    Raises:
        ValueError: a kind is unknown, or kinds and names do not fit together.
        OSError: the file of names cannot be read.
    """
    if kinds is None:
        if names is not None:
            raise ValueError(f"{names_setting}={names} needs {kinds_setting}: add it")
        return None
    chosen = KINDS if kinds == "all" else listed_names(kinds)
    if not chosen:
        raise ValueError(
            f"{kinds_setting}={kinds!r} names nothing: give all, or some of {', '.join(KINDS)}"
        )
    if names is None and kinds != "all" and "name" in chosen:
        raise ValueError(
            f"{kinds_setting}={kinds} redacts names: give a file of them with {names_setting}"
        )
    if names is not None and "name" not in chosen:
        raise ValueError(
            f"{kinds_setting}={kinds} has no name, so {names_setting}={names} is not used: add "
            f"name, or leave {names_setting} out"
        )
    return PersonalDataFinder(chosen, read_entries(Path(names)) if names is not None else ())
