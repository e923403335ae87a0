"""Detection of the encoding of bytes that are not UTF-8, and messages that explain how to convert
them.
"""

import codecs
import re
import unicodedata
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

BOMS = {  # the longer first: that of UTF-32 begins like one of UTF-16
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
MAGIC = {
    b"\x1f\x8b": "a gzip file; let its name end in .gz, or unpack it",
    b"BZh91AY&SY": "a bzip2 file; let its name end in .bz2, or unpack it",
    b"\xfd7zXZ\0": "an xz file; let its name end in .xz, or unpack it",
    b"\x28\xb5\x2f\xfd": "a Zstandard file; let its name end in .zst, or unpack it",
    b"PK\x03\x04": (
        "a zip archive, or a spreadsheet or document of an office program; unpack it, "
        "or save it as CSV"
    ),
    b"\xd0\xcf\x11\xe0": "a spreadsheet or document of an office program; save it as CSV or text",
    b"PAR1": "a Parquet file; let its name end in .parquet",
    b"ARROW1": "an Arrow file; let its name end in .arrow",
}
BOM_GB18030 = b"\x84\x31\x95\x33"
WIDE = ("UTF-16LE", "UTF-16BE", "UTF-32LE", "UTF-32BE")
LATIN = {  # letters outside of ASCII by encoding, a word a language
    "cp1252": "àâæçèéêëîïôœùûü äöüß áéíñóúü áâãàçéêíóôõú àèéìîòù åäöæø áðéíóúýþæö éëïöü àçèéíïòóúü",
    "cp1250": "ąćęłńóśźż áčďéěíňóřšťúůýž áäčďéíĺľňóôŕšťúýž áéíóöőúüű ăâîşţ čćđšž äöüß",
    "iso8859_2": "ąćęłńóśźż áčďéěíňóřšťúůýž áäčďéíĺľňóôŕšťúýž áéíóöőúüű ăâîşţ čćđšž äöüß",
    "cp1254": "çğıöşüâîû",
    "cp1257": "ąčęėįšųūž āčēģīķļņšūž äõöüšž",
}
SCRIPTS = {  # ranges of letters by encoding
    "cp1251": "а-яёґєіїўђјљњћџ",
    "koi8_r": "а-яё",
    "koi8_u": "а-яёєіїґ",
    "mac_cyrillic": "а-яёєіїўђјљњћџ",
    "iso8859_5": "а-яёєіїўђјљњћџ",
    "cp866": "а-яёєїў",
    "cp1253": "ά-ώ",
    "cp1255": "\u0591-\u05f4",
    "iso8859_6": "\u0600-\u06ff",
    "cp1256": "\u0600-\u06ff\u200c-\u200f",
    "cp874": "\u0e01-\u0e3a\u0e40-\u0e4e",
}
# bytes of the commoner characters of encodings with two bytes a character: level 1 of their
# standards, signs, letters
COMMON = {
    "gb18030": rb"[\xb0-\xd7\xa1-\xa9][\xa1-\xfe]",
    "big5": rb"[\xa1-\xc5][\x40-\x7e\xa1-\xfe]|\xc6[\x40-\x7e]",
    "cp932": rb"[\x81-\x84\x88-\x97][\x40-\x7e\x80-\xfc]|\x98[\x40-\x72]",
    "euc_jp": rb"[\xb0-\xcf\xa1-\xa8][\xa1-\xfe]",
    "cp949": rb"[\xb0-\xc8\xa1-\xac][\xa1-\xfe]",
}
NAMES = {  # in messages, and for iconv
    "gb18030": ("GB 18030", "GB18030"),
    "big5": ("Big5", "BIG5"),
    "cp932": ("Shift-JIS", "CP932"),
    "euc_jp": ("EUC-JP", "EUC-JP"),
    "cp949": ("EUC-KR", "CP949"),
    "iso2022_jp": ("ISO-2022-JP", "ISO-2022-JP"),
    "iso8859_2": ("ISO 8859-2", "ISO-8859-2"),
    "iso8859_5": ("ISO 8859-5", "ISO-8859-5"),
    "iso8859_6": ("ISO 8859-6", "ISO-8859-6"),
    "koi8_r": ("KOI8-R", "KOI8-R"),
    "koi8_u": ("KOI8-U", "KOI8-U"),
    "mac_cyrillic": ("Mac Cyrillic", "MAC-CYRILLIC"),
    "cp866": ("DOS 866", "CP866"),
    "cp874": ("Windows-874", "CP874"),
}
TYPOGRAPHY = frozenset("“”„‘’‚«»‹›–—…€°§·©®™×•¿¡ºª\u00a0£¥½¼¾²³\u00ad")
# characters outside of ASCII, in Latin script or another, below which nothing is sure
N_LATIN = 3
N_OTHER = 12
MARGIN = 0.12
WIDE_MARGIN = 0.3  # for a reading that looks unusual
SAMPLE = 1 << 16


class DecodedBytes(NamedTuple):
    """Result of decoding bytes in one candidate encoding; a higher score is likelier."""

    encoding: str
    text: str
    score: float
    is_usual: bool = True  # in letter case and in how often its characters are used


def not_utf8(where: str, data: bytes, at: int, offset: int = 0, known: str = "") -> str:
    """Return the error message for bytes of a text file that are NUL or not UTF-8.

    Args:
        where: file and line.
        data: bytes from the beginning of that line, or of the file, and some that follow.
        at: index in `data` of the first invalid byte.
        offset: byte offset of `data` in the file.
        known: preceding text that was valid UTF-8 and not ASCII.
    """
    byte = f"{where}: byte {offset + at} (0x{data[at]:02x}) is "
    if kind := next(
        (kind for magic, kind in MAGIC.items() if not offset and data.startswith(magic)), None
    ):
        return f"{byte}no part of a text: the file is {kind}"
    if wide := None if offset else _wide(data):
        return f"{byte}no part of a text in UTF-8: the file is {wide[:6]}; {_convert(wide)}"
    if not offset and data.startswith(BOM_GB18030):
        return f"{byte}not UTF-8: the file is GB 18030; {_convert('GB18030')}"
    if data[at] == 0:
        return f"{byte}NUL, which no text has; the file is damaged, or no text file"
    if data[at : at + 2] == b"\x1b$":
        return (
            f"{byte}an escape sequence: the file is ISO-2022-JP or a like encoding; "
            f"{_convert('ISO-2022-JP')}"
        )
    if re.match(rb"\xed[\xa0-\xbf][\x80-\xbf]", data[at : at + 3]):
        return (
            f"{byte}half of a surrogate pair, which UTF-8 has not (CESU-8, or damaged); write "
            "the file anew as UTF-8"
        )
    shown = f"{data[at : at + 8].hex(' ')}"
    if _is_utf8_elsewhere(data, known):
        return (
            f"{byte}not UTF-8, though the text around it is: bytes {shown} are damaged or of "
            "another encoding; correct that line"
        )
    readings, is_sure = detect(data[:SAMPLE])
    if is_sure:
        called, name = _names(readings[0].encoding)
        sample = _around(readings[0].text)
        return (
            f"{byte}not UTF-8: the file reads as {called}, {sample!r}; if that is right, "
            f"{_convert(name)}"
        )
    may = " or ".join(
        f"{_names(each.encoding)[0]} ({_around(each.text, 12)!r})" for each in readings[:3]
    )
    which = f"; it may be {may}" if may else ""
    return (
        f"{byte}not UTF-8, and its encoding cannot be told from the bytes {shown}{which}: find "
        "out how the file was written,"
        f" and convert it to UTF-8"
    )


def detect(data: bytes) -> tuple[list[DecodedBytes], bool]:
    """Return the most likely decodings of bytes, best first, and whether the first is certain."""
    from charset_normalizer import from_bytes

    # these are no part of a character, so that none is cut
    data = data[: max(map(data.rfind, (b"\n", b" ", b'"', b","))) + 1] or data
    order = [*LATIN, *SCRIPTS, *COMMON]
    matches = {
        name: match
        for match in from_bytes(data, cp_isolation=order, threshold=0.3)
        for name in match.could_be_from_charset
    }
    latin = next((matches[name] for name in LATIN if name in matches), None)
    best: dict[str, DecodedBytes] = {}
    for encoding in order:
        # of Latin letters, ours are told apart by language
        match = latin if encoding in LATIN else matches.get(encoding)
        text = _decoded(data, encoding) if match else None
        if match is None or text is None:
            continue
        familiar = _familiarity(encoding, text)
        score = familiar - match.chaos + match.coherence
        if familiar > 0.5 and (text not in best or score > best[text].score):
            is_usual = not _is_in_capitals(text) and match.chaos < 0.1 and familiar > 0.75
            best[text] = DecodedBytes(encoding, text, score, is_usual)
    ranked = sorted(best.values(), key=lambda each: -each.score)
    margin = MARGIN if ranked and ranked[0].is_usual else WIDE_MARGIN
    close = [each for each in ranked if each.score > ranked[0].score - margin]
    return close, len(close) == 1 and _is_enough(close[0])


def _is_in_capitals(text: str) -> bool:
    """Return whether most letters of a text are capitals outside of ASCII, as where KOI8-R reads
    Hebrew.
    """
    n_capital = sum(c.isupper() and not c.isascii() for c in text)
    return 2 * n_capital > sum(map(str.isalpha, text))


def _decoded(data: bytes, encoding: str) -> str | None:
    """Return the decoded text; None if the bytes are invalid in this encoding."""
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None


def _names(encoding: str) -> tuple[str, str]:
    """Return the name of an encoding for messages, and its name for iconv."""
    return NAMES.get(encoding, (f"Windows-{encoding[2:]}", encoding.upper()))


def _is_enough(reading: DecodedBytes) -> bool:
    """Return whether a decoded text has enough non-ASCII characters to identify the encoding."""
    n = sum(not character.isascii() for character in reading.text)
    return n >= (N_LATIN if reading.encoding in LATIN else N_OTHER)


def _familiarity(encoding: str, text: str) -> float:
    """Return the fraction of non-ASCII characters that are usual in texts of this encoding, minus a
    penalty for characters in unusual positions.
    """
    if encoding in COMMON:
        encoded = [c.encode(encoding) for c in text if not c.isascii()]
        share = sum(re.fullmatch(COMMON[encoding], c) is not None for c in encoded) / max(
            1, len(encoded)
        )
        return share + (0.5 if len(encoded) >= N_OTHER else 0.0)  # seldom by chance
    n_inner_capital = sum(
        one.islower() and two.isupper() and not two.isascii() for one, two in pairwise(text)
    )
    text = text.lower()
    other = [c for c in text if not c.isascii() and c not in TYPOGRAPHY]
    if encoding in LATIN:
        if len(other) > 2 * len(re.findall(r"[a-z]", text)):
            return 0.0
        # a sign inside a word, or one that opens a sentence behind a letter
        sign = r"(?<=[^\W\d_])(?:[«»“”„‹›€§©®™…£¥¼½¾](?=[^\W\d_])|[¡¿])"
        inner = len(re.findall(sign, text))
        known = max(sum(c in letters for c in other) for letters in LATIN[encoding].split())
        return (known - inner) / len(other) if other else 1.0 - inner
    letters = rf"[{SCRIPTS[encoding]}]"
    # signs of Thai
    misplaced = len(
        re.findall(r"(?<![\u0e01-\u0e2e\u0e31-\u0e4e])[\u0e31\u0e34-\u0e3a\u0e47-\u0e4e]", text)
    )
    mixed = (
        misplaced
        + len(re.findall(rf"(?<=[a-z]){letters}|{letters}(?=[a-z])", text))
        + n_inner_capital
    )
    return (len(re.findall(letters, text)) - mixed) / len(other) if other else 0.0


def _wide(data: bytes) -> str | None:
    """Return iconv's name of UTF-16 or UTF-32 if bytes are in one of these encodings, else None.

    Bytes without a byte order mark must contain NULs and be plausible text in exactly one of the
    encodings.
    """
    if bom := next((name for mark, name in BOMS.items() if data.startswith(mark)), None):
        return bom
    sample = data[: SAMPLE - SAMPLE % 4]
    if 4 * sample.count(0) < len(sample) and _is_printable(sample.replace(b"\0", b"")):
        return None
    plausible = [name for name in WIDE if _is_text(sample, name)]
    return plausible[0] if b"\0" in sample and len(plausible) == 1 else None


def _is_printable(data: bytes) -> bool:
    """Return whether bytes are valid UTF-8 without control characters except tab and line ends."""
    try:
        return all(
            unicodedata.category(character) != "Cc" or character in "\t\r\n"
            for character in data.decode()
        )
    except UnicodeDecodeError:
        return False


def _is_text(data: bytes, encoding: str) -> bool:
    """Return whether bytes are plausible text in an encoding; the last character may be cut off."""
    width = 4 if encoding.startswith("UTF-32") else 2
    try:
        text = data[: len(data) - len(data) % width].decode(encoding)
    except UnicodeDecodeError as error:
        if error.start < len(data) - 4:
            return False
        text = data[: error.start].decode(encoding)
    kinds = [unicodedata.category(character) for character in text if character not in "\t\r\n"]
    return bool(kinds) and not any(kind in ("Cc", "Cn", "Co", "Cs") for kind in kinds)


def _is_utf8_elsewhere(data: bytes, known: str) -> bool:
    """Return whether the surrounding lines contain several non-ASCII characters in valid UTF-8.

    Args:
        known: preceding text that was valid UTF-8.
    """
    n = sum(not character.isascii() for character in known)
    n_wrong = 0
    for text in _texts(data):
        n += sum(not character.isascii() for character in text or "")
        n_wrong += text is None
    return n >= 3 * n_wrong and n >= 3


def _texts(data: bytes) -> Iterator[str | None]:
    """Yield each line of the first `SAMPLE` bytes as text; None for a line that is not UTF-8."""
    for line in data[:SAMPLE].split(b"\n")[: -1 if len(data) > SAMPLE else None]:
        try:
            yield line.decode()
        except UnicodeDecodeError:
            yield None


def _around(text: str, n: int = 30) -> str:
    """Return up to `n` characters of a text around its first non-ASCII character."""
    at = next(
        (
            i
            for i, character in enumerate(text)
            if not character.isascii() and character not in TYPOGRAPHY
        ),
        0,
    )
    start = max(0, at - n // 3, text.rfind("\n", 0, at) + 1)
    return text[start : start + n].partition("\n")[0].strip("\r")


def _convert(name: str) -> str:
    """Return advice with the iconv command that converts a file from encoding `name` to UTF-8."""
    return f"convert it: iconv -f {name} -t UTF-8 FILE > NEW_FILE"
