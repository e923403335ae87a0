"""What must never be shown: keys and passwords in addresses, settings and errors."""

import os
import re

SECRET_NAMES = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD)S?$", re.IGNORECASE)  # of environment variables
SHORTEST = 8  # characters of a value that is taken for a secret


def redacted(text: str) -> str:
    """`text` without user names and passwords in addresses, keys in their queries, and what environment variables hold of secrets."""
    for name, value in os.environ.items():
        if SECRET_NAMES.search(name) and len(value) >= SHORTEST:
            text = text.replace(value, "***")
    text = re.sub(r"://[^/\s@]*@", "://***@", text)
    return re.sub(r"(?i)([?&][\w-]*(?:key|token|secret|password|signature|sig)=)[^&\s'\"]+", r"\1***", text)
