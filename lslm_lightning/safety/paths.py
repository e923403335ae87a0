"""Names that come from elsewhere, and where they lead as paths."""

import re


def is_inside(name: str) -> bool:
    """Whether a relative path, as POSIX or Windows reads it, can only lead to what is in the folder that it starts from."""
    parts = re.split(r"[/\\]", name)
    is_absolute = not parts[0] or re.match("[A-Za-z]:", name) is not None
    return not is_absolute and ".." not in parts and "\0" not in name
