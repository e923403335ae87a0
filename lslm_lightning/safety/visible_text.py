"""Untrusted text made visible: characters that move the cursor, reorder text or are invisible.

All text passes through this module before it is written to a terminal, a report, a table for
spreadsheets, or the first line of a file.
"""

import re

_CONTROLS = [code for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n"]
_LINES = (0x2028, 0x2029)  # YAML, Python and JavaScript end a line there
_BIDI = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))  # embeddings, overrides and isolates
_UNSEEN = (
    *range(0x2061, 0x2065),  # mathematics
    *range(0x206A, 0x2070),  # deprecated
    0xFEFF,
    *range(0xFFF9, 0xFFFC),  # annotations
    *range(0x1D173, 0x1D17B),  # music
    *range(0xE0000, 0xE0080),  # tags, which spell ASCII
)
_SHOWN: dict[int, str | int] = {
    code: f"[U+{code:04X}]" for code in (*_CONTROLS, *_LINES, *_BIDI, *_UNSEEN)
}
_SHOWN |= dict.fromkeys(range(0xD800, 0xE000), 0xFFFD)  # halves of surrogate pairs
# A variation selector is seen by what is before it: a second one, or one that nothing precedes, is
# not
_SELECTORS = "\ufe00-\ufe0f\U000e0100-\U000e01ef"
_HIDDEN_SELECTORS = re.compile(rf"(?<=[{_SELECTORS}])[{_SELECTORS}]+|(?:(?<=\s)|^)[{_SELECTORS}]+")
_FLAGS = re.compile(
    "\U0001f3f4(?:"
    + "|".join(  # England, Scotland, Wales: the only emoji that have tags
        "".join(chr(0xE0000 + ord(c)) for c in name) for name in ("gbeng", "gbsct", "gbwls")
    )
    + ")\U000e007f"
)


def visible(text: str) -> str:
    """Return the text with every control character, bidirectional control, line separator, tag and
    other invisible character replaced by its code point, such as [U+001B] for ESC.

    Line feeds and tabs stay, and CR LF becomes LF. Joiners, direction marks and variation selectors
    of emoji and Chinese characters stay, since scripts need them.
    """
    if text.isascii() and text.isprintable():
        return text
    text = text.replace("\r\n", "\n")
    text = _HIDDEN_SELECTORS.sub(lambda run: "".join(map(_code_point, run[0])), text)
    if "\U0001f3f4" not in text:
        return text.translate(_SHOWN)
    pieces = []
    end = 0
    for flag in _FLAGS.finditer(text):
        pieces += [text[end : flag.start()].translate(_SHOWN), flag[0]]
        end = flag.end()
    return "".join([*pieces, text[end:].translate(_SHOWN)])


def one_visible_line(text: str) -> str:
    """Return the visible text with spaces for line feeds, for a one-line comment in a file."""
    return visible(text).replace("\n", " ")


def _code_point(character: str) -> str:
    return f"[U+{ord(character):04X}]"
