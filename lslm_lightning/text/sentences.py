"""Rule-based sentence splitting without a model or downloads."""

import re
from collections.abc import Sequence

import regex

from lslm_lightning.text.languages import base_language, script_of_language

_ENGLISH = """mr mrs ms dr prof rev hon gen col lt sgt capt sen rep gov pres st jr sr inc ltd
    co corp llc dept univ est assn bros vs v cf al approx ext tel e.g i.e a.m p.m u.s u.k u.n d.c
    ph.d jan feb mar apr jun jul aug sep sept oct nov dec"""
_GERMAN = """bzw ca dr evtl fr ggf hr hrn inkl max min mio mrd prof st str tel vgl d.h i.d.r
    o.ä s.o s.u u.a u.ä v.a z.b"""
_FRENCH = """apr av bd cf dr env j.-c m me mlle mme mmes mm pr st ste tél"""
# Words that take a full stop without ending a sentence, lower case, without it. "etc." and its like
# are missing: they often do end one.
_ABBREVIATIONS = {
    code: frozenset(words.split())
    for code, words in (("en", _ENGLISH), ("de", _GERMAN), ("fr", _FRENCH))
}
# These do so only before a number: "No. 5", but "He said no. Then...".
_BEFORE_NUMBER = frozenset(
    (
        "abs",
        "art",
        "bd",
        "ch",
        "eq",
        "eqs",
        "fig",
        "figs",
        "no",
        "nos",
        "nr",
        "p",
        "pp",
        "s",
        "sec",
        "vol",
    )
)

_CLOSER = r"[\"'”“’」』）》】)\]»›]"
_CJK = r"\u3040-\u9fff\uff00-\uffef"
_AMBIGUOUS = r".!?…．﹒․"  # these may also stand inside a word or a number
_END = rf"""
      [。！？｡]+ {_CLOSER}*                             # needs no space after it
    | …{{2,}} [。！？!?]* {_CLOSER}*                    # a Chinese ellipsis is two
    | [\p{{Sentence_Terminal}}--[{_AMBIGUOUS}]]+ [.!?]* {_CLOSER}*
    | [.!?…{{more}}]+ {_CLOSER}* (?:\s?»)? (?=\s|$|[{_CJK}])  # needs one, or a change of script
"""
_ENDS = regex.compile(_END.replace("{more}", ""), regex.VERBOSE | regex.VERSION1)
# Source: CLDR's segmentation of Greek, in which ; is the question mark.
_GREEK_ENDS = regex.compile(_END.replace("{more}", ";\u037e"), regex.VERBOSE | regex.VERSION1)
# Tibetan ends clauses and sentences with a shad, which Unicode calls Terminal_Punctuation but not
# Sentence_Terminal. two with a space between them end a section
_SHAD = r"[\p{Terminal_Punctuation}&&\p{Script=Tibt}]"
_TIBETAN_ENDS = regex.compile(
    rf"{_SHAD}(?:\s*{_SHAD})* | {_END.replace('{more}', '')}", regex.VERBOSE | regex.VERSION1
)
# Thai, Lao and scripts like them have no sign for the end of a sentence: white space between two of
# their letters ends one, except beside a sign of repetition or abbreviation.
_SPACE_ENDS = ("Thai", "Laoo", "Tale", "Talu", "Tavt")
_SPACED = "".join(rf"\p{{Script={script}}}" for script in _SPACE_ENDS)
_THAI_ENDS = regex.compile(
    rf"(?<=[{_SPACED}--[ๆໆ]]) \s+ (?=[{_SPACED}--[ๆฯໆຯ]]) | {_END.replace('{more}', '')}",
    regex.VERBOSE | regex.VERSION1,
)
_OPENERS = "\"'“‘«‹([{¿¡-–—*•"


def split_sentences(text: str, language: str = "en") -> list[str]:
    """Return the sentences of a text, stripped of surrounding white space; nothing else is lost.

    A line break ends a sentence: LF, CR, VT, FF, U+0085, U+2028, U+2029 and U+001C to U+001E.
    Characters that only end sentences (Unicode's Sentence_Terminal: 。 । ؟ ። ။ and the like) and a
    Chinese ellipsis do so anywhere, together with a closing quotation mark. The characters . ! ? …
    must be followed by white space, and a full stop also by a possible start of a sentence.
    Abbreviations are known for English, German and French. In Tibetan a shad ends a sentence. Thai,
    Lao and similar scripts have no such character: white space between two of their letters ends a
    sentence.

    Args:
        language: any language code.
    """
    base = base_language(language)
    script = script_of_language(language)
    ends = (
        _GREEK_ENDS
        if base == "el"
        else _TIBETAN_ENDS
        if script == "Tibt"
        else _THAI_ENDS
        if script in _SPACE_ENDS
        else _ENDS
    )
    return [sentence for line in text.splitlines() for sentence in _split_line(line, base, ends)]


def rules_of_sentences(language: str) -> str:
    """Return a name for the rules that `split_sentences` applies to a language, for score
    signatures (texts that state how a score was computed).
    """
    base = base_language(language)
    script = script_of_language(language)
    is_western = script in ("", "Latn", "Cyrl", "Hans", "Hant", "Hani", "Jpan", "Kore")
    return f"{'rules' if is_western else 'sterm'}-{base}"


def joins_with_space(language: str) -> bool:
    """Return whether a language puts a space between sentences; Chinese and Japanese do not."""
    return script_of_language(language) not in (
        "Hans",
        "Hant",
        "Hani",
        "Hanb",
        "Jpan",
        "Hira",
        "Kana",
        "Hrkt",
        "Bopo",
    )


def join_sentences(sentences: Sequence[str], language: str) -> str:
    """Return the sentences joined into one text, with spaces if the language puts them there."""
    return (" " if joins_with_space(language) else "").join(sentences)


def _split_line(line: str, language: str, ends: "regex.Pattern[str]") -> list[str]:
    """Return the sentences of one line.

    Args:
        ends: pattern that matches possible ends of sentences.
    """
    sentences = []
    start = 0
    for end in ends.finditer(line):
        if end[0].isspace() or not _is_inner(line, start, end, language):
            sentences.append(line[start : end.end()].strip())
            start = end.end()
    sentences.append(line[start:].strip())
    return [sentence for sentence in sentences if sentence]


def _is_inner(line: str, start: int, end: regex.Match[str], language: str) -> bool:
    """Return whether a possible end of a sentence is within the sentence, as after an abbreviation.

    Args:
        start: offset in `line` at which the sentence begins.
        end: match of the possible end.
    """
    following = line[end.end() :].lstrip().lstrip(_OPENERS)
    # "e.g. this", "wait… what", '"Really?" he said', and abbreviations nobody listed
    if _is_small(following[:1]):
        return True
    if end[0] != "." or not following:
        return False
    word = re.split(r"[\s(\[“\"'«]", line[start : end.start()])[-1]
    if language == "de" and word.isdigit() and len(word) < 3:  # an ordinal: "am 3. Oktober"
        return True
    is_initial = len(word) == 1 and word.isupper() and word != "I"
    is_numbered = following[0].isdigit() and word.lower() in _BEFORE_NUMBER
    return is_initial or is_numbered or word.lower() in _ABBREVIATIONS.get(language, ())


def _is_small(character: str) -> bool:
    """Return whether a character is a lower-case letter that cannot begin a sentence.

    Georgian letters are excluded, since Georgian sentences begin in lower case.
    """
    return character.islower() and not character.upper() != character == character.title()
