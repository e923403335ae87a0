"""Detection of lone surrogates, which JSON can express but UTF-8 cannot encode."""


def lone_surrogate(text: str) -> int | None:
    """Return the character offset of the first lone surrogate in a text; None if there is none."""
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return error.start
    return None
