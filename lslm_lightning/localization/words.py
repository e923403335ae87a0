"""Marks that tell words of the interface from data where both occur side by side."""


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


def verbatim(name: str) -> str:
    """Return a name that is never translated, unless it is a `Term`."""
    return name if isinstance(name, Term) else Verbatim(name)
