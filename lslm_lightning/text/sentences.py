"""Where sentences end, by rules: the same everywhere, no model, no download."""

import re
from collections.abc import Sequence

from lslm_lightning.text.languages import WITHOUT_SPACES, base_language

_ENGLISH = """mr mrs ms dr prof rev hon gen col lt sgt capt sen rep gov pres st jr sr inc ltd co corp llc dept univ est assn bros vs v cf al
    approx ext tel e.g i.e a.m p.m u.s u.k u.n d.c ph.d jan feb mar apr jun jul aug sep sept oct nov dec"""
_GERMAN = """bzw ca dr evtl fr ggf hr hrn inkl max min mio mrd prof st str tel vgl d.h i.d.r o.ä s.o s.u u.a u.ä v.a z.b"""
_FRENCH = """apr av bd cf dr env j.-c m me mlle mme mmes mm pr st ste tél"""
# Words that take a full stop without ending a sentence, lower case, without it. "etc." and its like are missing: they often do end one.
_ABBREVIATIONS = {code: frozenset(words.split()) for code, words in (("en", _ENGLISH), ("de", _GERMAN), ("fr", _FRENCH))}
# These do so only before a number: "No. 5", but "He said no. Then...".
_BEFORE_NUMBER = frozenset(("abs", "art", "bd", "ch", "eq", "eqs", "fig", "figs", "no", "nos", "nr", "p", "pp", "s", "sec", "vol"))

_CLOSER = r"[\"'”“’」』）》】)\]»›]"
_CJK = r"\u3040-\u9fff\uff00-\uffef"
_END = re.compile(
    rf"""[。！？｡]+ {_CLOSER}*                          # needs no space after it
    | …{{2,}} [。！？!?]* {_CLOSER}*                    # a Chinese ellipsis is two
    | [.!?…।؟]+ {_CLOSER}* (?:\s?»)? (?=\s|$|[{_CJK}])  # needs one, or a change of script
    """,
    re.VERBOSE,
)
_OPENERS = "\"'“‘«‹([{¿¡-–—*•"


def split_sentences(text: str, language: str = "en") -> list[str]:
    """The sentences of `text`, without white space around them; only white space is lost. A line break ends a sentence.

    Chinese and Japanese end at 。！？ and ……, with the closing quote. Elsewhere . ! ? … must be followed by white space, and a full stop by
    what can begin a sentence. Abbreviations are known for English, German and French; any language code is accepted.
    """
    language = base_language(language)
    return [sentence for line in text.splitlines() for sentence in _split_line(line, language)]


def join_sentences(sentences: Sequence[str], language: str = "en") -> str:
    """One text, with spaces where the language has them."""
    return ("" if base_language(language) in WITHOUT_SPACES else " ").join(sentences)


def _split_line(line: str, language: str) -> list[str]:
    sentences, start = [], 0
    for end in _END.finditer(line):
        if not _is_inner(line, start, end, language):
            sentences.append(line[start : end.end()].strip())
            start = end.end()
    sentences.append(line[start:].strip())
    return [sentence for sentence in sentences if sentence]


def _is_inner(line: str, start: int, end: re.Match[str], language: str) -> bool:
    """Whether this sign stands inside a sentence after all."""
    following = line[end.end() :].lstrip().lstrip(_OPENERS)
    if following[:1].islower():  # "e.g. this", "wait… what", '"Really?" he said', and abbreviations nobody listed
        return True
    if end[0] != "." or not following:
        return False
    word = re.split(r"[\s(\[“\"'«]", line[start : end.start()])[-1]
    if language == "de" and word.isdigit() and len(word) < 3:  # an ordinal: "am 3. Oktober"
        return True
    is_initial = len(word) == 1 and word.isupper() and word != "I"
    is_numbered = following[0].isdigit() and word.lower() in _BEFORE_NUMBER
    return is_initial or is_numbered or word.lower() in _ABBREVIATIONS.get(language, ())
