"""Rendering of the page as one document, with the hashes of its script and style that its content
security policy allows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from re import findall

from markupsafe import Markup

from lslm_lightning.localization import CHINESE, ENGLISH, interface_language
from lslm_lightning.reports.page import TEMPLATES as REPORTS
from lslm_lightning.reports.page import csp_digest, template_environment
from lslm_lightning.reports.words import page_language, words
from lslm_lightning.serving.limits import ServingLimits
from lslm_lightning.serving.page.answers import (
    ATTENTION,
    BOUNDS,
    CUT,
    EMPTY,
    FAINT,
    MOST_DRAWN,
    NO_ANSWER,
    NOT_DRAWN,
    faint,
    legend_of_shades,
    percent_sign,
)
from lslm_lightning.serving.page.functions import (
    FIELD_OF,
    FUNCTIONS,
    N_ALTERNATIVE,
    N_TOP,
    PageFunction,
)
from lslm_lightning.serving.page.problems import DETAILED, most_megabytes, problem_words
from lslm_lightning.serving.protocol import ServedModelInfo

TEMPLATES = Path(__file__).parent / "templates"
SCRIPTS = ("blocks.js", "sound.js", "page.js")
OTHER_LANGUAGE = {ENGLISH: (CHINESE, "中文"), CHINESE: (ENGLISH, "English")}


@dataclass(frozen=True)
class Filled:
    """State of a form that was sent without JavaScript.

    Attributes:
        function: name of the function.
        values: what was given, by name of the field; without a key.
        blocks: answer as blocks of a report.
        error: reason why there is none, in the language of the interface.
        detail: what more the server says of it, in English.
    """

    function: str
    values: Mapping[str, str]
    blocks: Sequence[object] = ()
    error: str = ""
    detail: str = ""


@cache
def script() -> str:
    """Return the script of the page."""
    return "".join((TEMPLATES / name).read_text("utf-8") for name in SCRIPTS)


@cache
def style(language: str) -> str:
    """Return the style of the page: that of reports, and what forms need."""
    files = [REPORTS / "style.css", TEMPLATES / "serving.css"]
    if language == CHINESE:
        files.append(REPORTS / "chinese.css")
    return "".join(file.read_text("utf-8") for file in files)


def security_policy() -> str:
    """Return the content security policy of the page in the language of the interface: its own
    script and style, requests to its own server, and no markup made by the script.
    """
    return (
        "default-src 'none'; "
        f"script-src 'sha256-{csp_digest(script())}'; "
        f"style-src 'sha256-{csp_digest(style(interface_language()))}'; "
        "connect-src 'self'; img-src data:; media-src blob:; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )


def script_words() -> dict[str, str]:
    """Return the words of the script by their English, in the language of the interface."""
    texts = findall(r'\bt\("([^"]+)"', script())
    return {text: words(text) for text in (*texts, ATTENTION, CUT, EMPTY, NO_ANSWER, NOT_DRAWN)}


def language_name(code: str) -> str:
    """Return the name of a BCP 47 code in the language of the interface; the code itself if CLDR
    has no name.
    """
    from babel import Locale, UnknownLocaleError  # slow to import

    try:
        return Locale.parse(code, sep="-").get_display_name(interface_language()) or code
    except (UnknownLocaleError, ValueError):
        return code


def language_pair(model: ServedModelInfo) -> str:
    """Return the languages of a model, "English → German"; one of them if they are the same, and
    "" if they are unknown.
    """
    codes = dict.fromkeys(filter(None, (model.source_language, model.target_language)))
    return " → ".join(map(language_name, codes))


def described_model(model: ServedModelInfo) -> str:
    """Return the name of a model with its languages, if they are known."""
    pair = language_pair(model)
    brackets = "（{}）" if interface_language() == CHINESE else " ({})"
    return model.name + (brackets.format(pair) if pair else "")


def render_page(
    models: Sequence[ServedModelInfo],
    limits: ServingLimits,
    is_ready: bool,
    needs_key: bool,
    filled: Filled | None = None,
) -> str:
    """Return the page in the language of the interface.

    Args:
        models: models that are served.
        limits: limits of requests.
        is_ready: False while the engine starts.
        needs_key: whether the server demands a key.
        filled: form that was sent, with its answer.
    """
    language = interface_language()
    other, other_name = OTHER_LANGUAGE[language]
    forms = [
        (function, able, [model for model in every if model not in able])
        for function in FUNCTIONS
        if (every := function.all_models(models))
        for able in [function.models(models)]
    ]
    shown = {function.task for function, _, _ in forms}
    sendable = {function.name for function, able, _ in forms if able}
    return (
        template_environment("html", language, TEMPLATES)
        .get_template("serving.html")
        .render(
            language=page_language(),
            other=other,
            other_name=other_name,
            code=language,
            forms=forms,
            sendable=sendable,
            others=[model.name for model in models if model.task not in shown],
            is_ready=is_ready,
            needs_key=needs_key,
            filled=filled,
            n_alternative=N_ALTERNATIVE,
            described=described_model,
            given=partial(given, filled),
            has_ability=has_ability,
            style=Markup(style(language)),
            script=Markup(script()),
            about=about(models, limits),
            unscripted_mb=most_megabytes(limits, has_sound=True, needs_key=needs_key),
            has_less_unscripted=needs_key and limits.body_mb < limits.sound_mb,
        )
    )


def given(filled: Filled | None, function: PageFunction, name: str, standard: object = "") -> str:
    """Return the value of a field of a form: what was given, or else the standard one."""
    if filled is None or filled.function != function.name:
        return str(standard)
    return filled.values.get(name, "")


def has_ability(models: Sequence[ServedModelInfo], ability: str) -> bool:
    """Return whether a model has an ability."""
    return any(ability in model.abilities for model in models)


def about(models: Sequence[ServedModelInfo], limits: ServingLimits) -> dict[str, object]:
    """Return what the script knows: models, words, limits, and bounds of shades."""
    return {
        "words": script_words(),
        "problems": problem_words(),
        "fieldOf": FIELD_OF,
        "detailed": DETAILED,
        "megabytes": {"sound": limits.sound_mb, "text": limits.body_mb},
        "models": {
            model.name: {
                "name": model.name,
                "abilities": sorted(model.abilities),
                "source": model.source_language,
                "target": model.target_language,
            }
            for model in models
        },
        "bounds": BOUNDS,
        "percent": {"least": FAINT, "faint": faint(), "sign": percent_sign()},
        "legend": [words(text) for text in legend_of_shades()],
        "nTop": N_TOP,
        "attention": ATTENTION,
        "cut": CUT,
        "empty": EMPTY,
        "noAnswer": NO_ANSWER,
        "mostDrawn": MOST_DRAWN,
        "notDrawn": NOT_DRAWN,
    }
