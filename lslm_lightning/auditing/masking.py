"""Masking of texts that a finding shows, so that a report does not repeat what it warns of."""

import re

N_SHOWN = 24  # characters at the beginning of a text that stay readable
HIDDEN = re.compile(r"[\w.%+-]+@[\w-]+(?:\.[\w-]+)*|\+?\d(?:[\d ()./-]*\d)?")


def masked(text: str, n_shown: int = N_SHOWN) -> str:
    """Return the beginning of a text for a report: addresses of e-mail and numbers are replaced by
    "•••", white space by single spaces, and everything after `n_shown` characters by its length.

    >>> masked("Call 555-0199 or write to ann@example.com today", 30)
    'Call ••• or write to ••• today'
    """
    hidden = HIDDEN.sub("•••", " ".join(text.split()))
    rest = len(hidden) - n_shown
    if rest <= 0:
        return hidden
    return f"{hidden[:n_shown].rstrip()} … (+{rest:,})"
