"""Marks that tell words of the interface from data where both occur side by side."""

from collections.abc import Iterable


class Term(str):
    """Words of the interface among data, such as "this run" among names of systems: shown in the
    language of the interface.
    """

    __slots__ = ()


class Verbatim(str):
    """Data among words of the interface, such as the name of a system as a heading: never
    translated.
    """

    __slots__ = ()


class Joined(str):
    """Texts of the interface joined by a separator, such as ", ": each is translated on its own."""

    parts: tuple[str, ...]
    separator: str

    def __new__(cls, parts: Iterable[str], separator: str = ", ") -> "Joined":
        parts = tuple(parts)
        joined = super().__new__(cls, separator.join(parts))
        joined.parts = parts
        joined.separator = separator
        return joined


def verbatim(name: str) -> str:
    """Return a name that is never translated, unless it is a `Term`."""
    return name if isinstance(name, Term) else Verbatim(name)
