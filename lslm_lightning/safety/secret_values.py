"""Values of secrets: whether they are distinct from other text, and how they are written."""

import base64
import html
import json
import re
from urllib.parse import quote, quote_plus, unquote

MASK = "***"  # replaces a secret
LONG = 12  # length from which a value is replaced inside words too
SHORTEST = 4  # length from which a value is replaced outside of its context
PLAIN = frozenset({"", "none", "null", "true", "false", "yes", "no", "on", "off", "~", MASK})


def is_distinct(value: str) -> bool:
    """Return whether a value is distinct enough from other text to be hidden wherever it occurs."""
    if len(value) < SHORTEST or value.lower() in PLAIN or set(value) <= {"*"}:
        return False
    if re.fullmatch(r"[-+]?[\d.,]*(?:[eE][-+]?\d+)?", value):  # a number
        return len(value) >= LONG
    kinds = [r"[a-z]", r"[A-Z]", r"\d", r"[^A-Za-z\d\s]"]
    return len(value) >= 8 or sum(bool(re.search(kind, value)) for kind in kinds) > 1


def spellings(value: str) -> set[str]:
    """Return all spellings of a value: as it is, and as addresses, JSON, Python, HTML and headers
    encode it.
    """
    encoded = {quote(value, safe=""), quote(value), quote_plus(value)}
    encoded |= {re.sub(r"%..", lambda match: match[0].lower(), form) for form in encoded}
    in_code = {json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    in_code |= {repr(value)[1:-1], html.escape(value), str(html.escape(value, quote=False))}
    in_code |= {html.escape(value).replace("&#x27;", "&#39;").replace("&quot;", "&#34;")}
    in_code |= {value.replace("'", "'\"'\"'"), value.replace("'", "''")}
    found = {value, unquote(value), *encoded, *in_code}
    if len(value) >= LONG:
        found |= {basic(value), basic(value).rstrip("=")}
    return {form for form in found if is_distinct(form)}


def bounded(form: str) -> str:
    """Return a pattern that matches a spelling. If the spelling is short or has only letters, it
    does not match inside a word.
    """
    pattern = re.escape(form)
    if len(form) >= LONG and not form.isalpha():
        return pattern
    return rf"(?<![A-Za-z0-9]){pattern}(?![A-Za-z0-9])"


def basic(text: str) -> str:
    """Return a text in base64, as in a header of basic authorization."""
    return base64.b64encode(text.encode("utf-8", "surrogatepass")).decode()
