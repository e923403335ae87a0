"""Text that is safe to open in a spreadsheet."""

from lslm_lightning.safety.display import safe_text


def escape_csv_formula(text: str) -> str:
    """Prefix a text with an apostrophe if a spreadsheet would compute it as a formula (OWASP, CSV
    Injection).

    A formula is also recognized after white space, and with full-width characters.
    """
    begins = text.lstrip().startswith(tuple("=+-@＝＋－＠"))
    return (
        f"'{safe_text(text)}" if begins or text.startswith(("\t", "\r", "\n")) else safe_text(text)
    )
