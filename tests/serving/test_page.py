"""Page of `lslm serve` as a document: what it allows, what it shows, what its forms answer."""

import asyncio
import re
from dataclasses import replace
from html import escape, unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from lslm_lightning.localization import interface_in
from lslm_lightning.reports.page import csp_digest
from lslm_lightning.reports.words import words
from lslm_lightning.serving.errors import ApiError
from lslm_lightning.serving.limits import ServingLimits
from lslm_lightning.serving.page.answers import EMPTY, MOST_DRAWN, NOT_DRAWN
from lslm_lightning.serving.page.document import script_words, security_policy
from lslm_lightning.serving.page.problems import PROBLEMS, explained, problem_words
from lslm_lightning.serving.protocol import ServedAnswer
from tests.localization.pages import latin_words
from tests.serving.http_server import KEY, KEYS, Served
from tests.serving.page_answers import HOSTILE, by_task
from tests.serving.small_engine import MODELS, SmallEngine, model

FORMS = {
    "translate": {"text": "一 二 三", "alternatives": "2"},
    "summarize": {"text": "一 二 三"},
    "ask": {"question": "谁是 小明？", "passage": "这是 小明 。"},
    "continue": {"text": "一", "max_tokens": "2"},
}
WRONG = {  # fields of a form, and the one that the message names by its label
    "translate": [({"text": " "}, "text"), ({"text": "x", "alternatives": "9"}, "alternatives")],
    "ask": [({"question": "谁", "passage": ""}, "passage")],
    "continue": [
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": "nan"}, "temperature"),
        ({"seed": "-1"}, "seed"),
        ({"max_tokens": "9" * 99}, "max_tokens"),
    ],
    "summarize": [({"text": "refuse"}, "text"), ({"text": "x", "model": "letters"}, "model")],
    "transcribe": [({"model": "frames"}, "model"), ({}, "sound")],
    "dance": [({}, "")],
}


def client(engine: SmallEngine | None = None, language: str = "en", **more) -> TestClient:
    page = Served(engine=engine or SmallEngine(answers=by_task), **more).client
    page.headers["Accept-Language"] = language
    return page


def sent(page: TestClient, function: str, **fields: str):
    return page.post("/", data={"function": function, **fields})


class Elements(HTMLParser):
    """Elements of a page as (tag, attributes)."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, {name: value or "" for name, value in attributes}))

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.found if name == tag]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_policy_allows_the_script_and_style_of_the_page_alone(language: str) -> None:
    response = client(language=language).get("/")
    rules = dict(
        rule.split(" ", 1) for rule in response.headers["content-security-policy"].split("; ")
    )
    assert rules["default-src"] == "'none'"
    for tag, rule in (("script", "script-src"), ("style", "style-src")):
        own = re.findall(rf"<{tag}>(.*?)</{tag}>", response.text, re.DOTALL)
        assert [f"'sha256-{csp_digest(text)}'" for text in own] == rules[rule].split()
    assert rules["require-trusted-types-for"] == "'script'"
    attributes = [name for _, own in Elements(response.text).found for name in own]
    assert not [name for name in attributes if name == "style" or name.startswith("on")]


def test_nothing_comes_from_elsewhere() -> None:
    page = client().get("/").text
    addresses = [
        own[name]
        for _, own in Elements(page).found
        for name in ("href", "src", "action", "formaction", "data")
        if name in own
    ]
    assert addresses
    assert not [each for each in addresses if not each.startswith(("#", "?lang=", "data:"))]
    assert "url(" not in page
    assert "@import" not in page
    assert "innerHTML" not in page


def test_every_model_that_can_do_it_is_offered() -> None:
    elements = Elements(client().get("/").text)
    assert {own["data-function"] for own in elements.all("form")} == {*FORMS, "transcribe"}
    offered = {own["value"] for own in elements.all("option")}
    offered |= {own["value"] for own in elements.all("input") if own["name"] == "model"}
    assert offered == {each.name for each in MODELS if each.modality != "frames"}
    alone = Elements(
        client(SmallEngine(tuple(each for each in MODELS if each.task == "summarization")))
        .get("/")
        .text
    )
    assert [own["data-function"] for own in alone.all("form")] == ["summarize"]


def test_hostile_text_stays_text() -> None:
    engine = SmallEngine(
        (*(replace(each, name=each.name + HOSTILE) for each in MODELS), model(HOSTILE, "own")),
        by_task,
    )
    page = client(engine)
    tags = {tag for tag, _ in Elements(page.get("/").text).found}
    for function in FORMS:
        fields = dict.fromkeys(("text", "question", "passage"), f"hostile </textarea>{HOSTILE}")
        response = sent(page, function, **fields)
        assert response.status_code == 200
        elements = Elements(response.text)
        assert len(elements.all("script")) == 2
        assert not elements.all("img")
        assert {tag for tag, _ in elements.found} - tags <= {"article", "dl", "dt", "dd"} | {
            *("figure", "figcaption", "svg", "g", "rect", "text", "mark", "small"),
            *("table", "caption", "thead", "tbody", "tr", "th", "td", "details", "summary"),
        }
        for value in (f"model {HOSTILE}", HOSTILE):
            refused = sent(page, function, model=value, **fields)
            assert refused.status_code in (400, 404)
            assert len(Elements(refused.text).all("script")) == 2


class Texts(HTMLParser):
    """Text of a page, without its script and style."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text = ""
        self.feed(re.sub(r"<(script|style)[ >].*?</\1>", "", page, flags=re.DOTALL))
        self.close()

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("function", FORMS)
def test_forms_work_without_a_script(function: str) -> None:
    engine = SmallEngine(answers=by_task)
    response = sent(client(engine), function, **FORMS[function])
    assert response.status_code == 200
    [asked] = engine.requests
    answers = asyncio.run(engine.answer(asked)).answers
    assert len(answers) == 1 + int(FORMS[function].get("alternatives", 0))
    text = Texts(response.text).text
    for each in answers:
        assert each.text in text
    if answers[0].span is not None:
        passage = FORMS[function]["passage"]
        assert f"</span>{passage[slice(*answers[0].span)]}</mark>" in response.text
    for token in answers[0].tokens:
        assert f">{escape(token.text)}</span>" in response.text


def test_attention_is_drawn_as_far_as_it_can_be_seen() -> None:
    for n, is_drawn in ((MOST_DRAWN, True), (MOST_DRAWN + 1, False)):
        response = sent(client(), "translate", text="a " * n)
        assert len(Elements(response.text).all("rect")) == (n * n if is_drawn else 0)
        assert (NOT_DRAWN in response.text.partition("<script")[0]) != is_drawn


def test_a_sound_is_read_from_a_file_that_exists_while_it_is_asked_for() -> None:
    page = client()
    sound = ("a.wav", b"RIFF" * 1000, "audio/wav")
    response = page.post("/", data={"function": "transcribe"}, files={"sound": sound})
    assert "4000 bytes" in response.text


@pytest.mark.parametrize("language", ["en", "zh"])
def test_an_empty_answer_is_said_to_be_empty(language: str) -> None:
    silent = (ServedAnswer(" ", "stop", 1, -0.5),)
    page = client(SmallEngine(answers=lambda model, request: silent), language)
    sound = {"files": {"sound": ("a.wav", b"RIFF")}, "data": {"function": "transcribe"}}
    with interface_in(language):
        expected = words(EMPTY)
    for response in (page.post("/", **sound), sent(page, "summarize", text="x")):
        assert escape(expected) in response.text.partition("<script")[0]
    assert expected not in page.get("/").text.partition("<script")[0]


def test_a_path_in_place_of_a_sound_is_not_read(tmp_path: Path) -> None:
    engine = SmallEngine(answers=by_task)
    for path in (__file__, str(tmp_path / "nowhere")):
        response = sent(client(engine), "transcribe", sound=path)
        assert response.status_code == 400
        assert path not in response.text
    assert engine.requests == []


def test_each_line_is_translated() -> None:
    engine = SmallEngine(answers=by_task)
    response = sent(client(engine), "translate", text="a b\r\n\r\nc d", alternatives="1")
    assert [each.source for each in engine.requests] == ["a b", "c d"]
    assert "b a\n\nd c<" in response.text
    assert "b\n\nd<" in response.text


def label_on(page: str, function: str, field: str) -> str:
    """Return the label of a field as a page shows it; of a choice with one option, none is shown,
    and it is that of another form.
    """
    found = re.findall(rf'<label for="(\w+)-{field}">([^<]+)</label>', page)
    return dict(found).get(function) or found[0][1]


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("function", WRONG)
def test_a_wrong_field_is_named_and_keeps_what_was_typed(function: str, language: str) -> None:
    """By its label; what another part of the server says in English names the parameter."""
    engine = SmallEngine(answers=by_task)
    page = client(engine, language)
    for fields, named in WRONG[function]:
        response = sent(page, function, **fields)
        assert response.status_code in (400, 404)
        [message] = alerts(response.text)
        words, *detail = unescape(message.partition(": ")[2]).split("<span")
        if named and (label := label_on(page.get("/").text, function, named)):
            assert f"“{label}”" in words or words.startswith(f"{named}=")
            assert f"“{label}”" in words or language == "en"
        assert bool(detail) <= (language == "zh")
        assert escape(fields.get("text", "")) in response.text
    assert len(engine.requests) == (function == "summarize")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_small_probability_is_not_shown_as_none(language: str) -> None:
    """Percentages have one decimal; in Chinese nothing stands before their sign."""
    words = Texts(sent(client(language=language), "continue", text="a", max_tokens="60").text).text
    words = words.partition("Most tokens" if language == "en" else "最多词元数")[2]
    sign = "\u00a0%" if language == "en" else "%"
    assert f"50.0{sign}" in words
    assert f"0.1{sign}" in words
    assert f"<{sign[:-1]}0.1{sign}" in words
    assert not re.search(r"[^.\d]0(\.0+)?\s*%", words)
    assert re.search(r"\d\s%", words) is None or language == "en"


def test_the_rules_of_the_server_hold_for_forms_too() -> None:
    engine = SmallEngine(answers=by_task)
    page = client(engine, limits=ServingLimits(rate=1.0, characters=9, max_tokens=9), keys=KEYS)
    for key, status in (("", 401), (f"{KEY}?", 401), (KEY, 200), (KEY, 429)):
        response = sent(page, "summarize", text="x", key=key)
        assert response.status_code == status
        assert KEY not in response.text
        assert len(re.findall(r'role="alert"[^>]*>[^<]', response.text)) == (status != 200)
    assert "retry-after" in response.headers
    assert len(engine.requests) == 1
    page = client(engine, limits=ServingLimits(body_mb=99e-6, characters=9, max_tokens=9))
    assert sent(page, "summarize", text="x" * 10).status_code == 400
    assert sent(page, "continue", max_tokens="10").status_code == 400
    assert sent(page, "summarize", text="x" * 100).status_code == 413
    assert len(engine.requests) == 1
    assert 'type="password"' not in page.get("/").text


DETAIL = re.compile(r'<span class="detail" lang="en" dir="ltr">.*?</span>', re.DOTALL)


def alerts(page: str) -> list[str]:
    """Return the errors that a page shows, each after the function of its form."""
    found = re.findall(r'(?:data-function="(\w+)"|role="alert"[^>]*>(.*?)</p>)', page, re.DOTALL)
    function, shown = "", []
    for name, error in found:
        function = name or function
        shown += [f"{function}: {error}"] if error else []
    return shown


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_body_that_is_not_read_is_answered_by_the_page(language: str) -> None:
    """In its language, below the form that was sent, with what can be sent there."""
    limits = ServingLimits(body_mb=0.002, sound_mb=0.004)
    sound = {"files": {"sound": ("a.wav", b"x" * 3000)}, "data": {"function": "transcribe"}}
    small = {**sound, "files": {"sound": ("a.wav", b"x" * 1000)}}
    known = {"API", "JavaScript", "MB", "HTTPS", "localhost", "English", "lslm", "serve"}
    for key in (None, KEY):
        page = client(language=language, limits=limits, keys=KEYS if key else None)
        shown = page.get("/").text
        note = "0.002 MB" in shown.partition('id="transcribe-sound"')[2].partition("</div>")[0]
        assert note == (key is not None)
        form = next(
            own for own in Elements(shown).all("form") if own.get("data-function") == "transcribe"
        )
        address = f"/{form['action'].partition('#')[0]}"
        found = page.post(address, **sound)
        assert found.status_code == (200 if key is None else 413)
        if key is not None:
            [error] = alerts(found.text)
            assert error.startswith("transcribe: ")
            assert "0.002 MB" in error
            if language == "zh":
                assert latin_words(f"<p>{error.partition(': ')[2]}</p>", known) == []
            sent = {**small, "data": {**small["data"], "key": key}}
            assert "1000 bytes" in page.post(address, **sent).text


@pytest.mark.parametrize("code", PROBLEMS)
def test_an_error_of_the_server_is_said_in_the_words_of_the_page(code: str) -> None:
    error = ApiError(429, "message for programs", code=code, retry_after=7)
    with interface_in("zh"):
        words, detail = explained(error, 25.0)
        assert re.search("[一-鿿]", words)
        assert "message" not in words
        assert "{" not in words
        assert detail in ("", "message for programs")
        assert words.format(megabytes=25, seconds=7) == words
        assert problem_words()[code].format(megabytes=25, seconds=7) == words
    with interface_in("en"):
        assert explained(error, 25.0) in ((words_of(code), ""), ("message for programs", ""))


def words_of(code: str) -> str:
    return PROBLEMS[code].format(megabytes=25, seconds=7)


def test_a_page_whose_models_are_not_ready_says_so() -> None:
    engine = SmallEngine(())
    engine.is_ready = False
    response = client(engine).get("/")
    assert response.status_code == 503
    assert "retry-after" in response.headers


@pytest.mark.parametrize(
    ("query", "accepted", "language"),
    [
        ("", "de, zh-CN;q=0.8, en;q=0.5", "zh-CN"),
        ("", "en;q=0.5, zh;q=0.1", "en"),
        ("", "zh;q=0", "en"),
        ("", "fr, x;q=high", "en"),
        ("?lang=zh", "en", "zh-CN"),
        ("?lang=fr", "zh", "zh-CN"),
    ],
)
def test_the_reader_chooses_the_language(query: str, accepted: str, language: str) -> None:
    page = client(language=accepted).get(f"/{query}").text
    assert Elements(page).all("html") == [{"lang": language}]


def test_every_text_is_chinese_in_chinese() -> None:
    """Names of models and fields, and the link to the English page, alone are in Latin letters."""
    known = {"lslm", "serve", "English", "HTTPS", "localhost", "API", "log", "so"}
    known |= {"JavaScript", "MB"}
    models = (*(replace(each, name=f"{i}") for i, each in enumerate(MODELS)), model("9", "own"))
    engine = SmallEngine(models, by_task)
    page = client(engine, "zh", keys=KEYS)
    pages = [page.get("/").text]
    pages += [sent(page, function, **FORMS[function], key=KEY).text for function in FORMS]
    engine.is_ready = False
    pages.append(page.get("/").text)
    engine.is_ready = True
    for each in pages:
        assert latin_words(each, known) == []
    for function, cases in WRONG.items():
        for fields, _ in cases:
            shown = DETAIL.sub("", sent(page, function, **fields, key=KEY).text)
            shown = shown.replace("&#39;", " ")
            assert alerts(shown) != []
            names = {*(word for text in fields.values() for word in text.split()), "letters"}
            assert latin_words(shown, known | names) == []
    with interface_in("zh"):
        spoken = script_words()
        assert len(spoken) > 20
        for english, chinese in spoken.items():
            assert re.search("[一-鿿]", chinese), english
            assert set(re.findall(r"\{\w+\}", chinese)) == set(re.findall(r"\{\w+\}", english))


def test_the_policy_depends_on_the_language_of_the_style_alone() -> None:
    policies = []
    for language in ("en", "zh"):
        with interface_in(language):
            policies.append(re.sub(r"style-src '[^']+'", "", security_policy()))
    assert policies[0] == policies[1]
