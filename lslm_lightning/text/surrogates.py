"""Halves of surrogate pairs, which JSON can write and no text can hold."""


def lone_surrogate(text: str) -> int | None:
    """Return the character offset of the first half of a surrogate pair, which UTF-8 cannot encode;
    None in a text without one.
    """
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return error.start
    return None
