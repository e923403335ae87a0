"""LibreTranslate's API, as its clients ask it, and texts inside documents."""

import asyncio
from html import unescape
from html.parser import HTMLParser

import pytest
from starlette.requests import Request

from lslm_lightning.experiments.generation import SearchSettings
from lslm_lightning.serving.markup import split_lines, split_markup
from lslm_lightning.serving.task_requests import read_object
from lslm_lightning.text.identification import likely_languages, tell_language
from tests.serving.http_server import Served
from tests.serving.small_engine import model
from tests.support.waiting import at_most

ASKED = {"q": "good day", "source": "en", "target": "zh"}
LANGUAGES = {"source": "en", "target": "zh"}
FORMS = ("json", "data", "params")
ENGLISH = "This is a sentence that was written in English"
GERMAN = "Das ist ein deutscher Satz, und niemand zweifelt daran"


@pytest.mark.parametrize("form", ["json", "data", "files"])
def test_a_request_is_json_or_a_form(site: Served, form: str) -> None:
    body = {form: ASKED} if form != "files" else {"data": ASKED, "files": {"x": b""}}
    reply = site.client.post("/translate", **body)
    assert reply.status_code == 200, reply.text
    assert reply.json() == {"translatedText": "GOOD DAY"}
    assert site.engine.requests[-1].model == "en-zh"


def test_a_list_is_translated_text_by_text(site: Served) -> None:
    asked = ASKED | {"q": ["a", "b\nc", ""], "alternatives": 2}
    found = site.client.post("/translate", json=asked).json()
    assert found["translatedText"] == ["A", "B\nC", ""]
    assert found["alternatives"] == [["A1", "A2"], ["B1\nC1", "B2\nC2"], []]


def test_fields_may_stand_in_the_address(site: Served) -> None:
    whole = site.client.post("/translate", params=ASKED)
    apart = site.client.post("/translate", params={"q": "good day"}, data={"q": "no"} | LANGUAGES)
    assert whole.json() == apart.json() == {"translatedText": "GOOD DAY"}
    empty = [site.client.post("/translate", **{form: ASKED | {"q": ""}}) for form in FORMS]
    assert [reply.status_code for reply in empty] == [400] * len(FORMS)


def test_the_time_for_the_fields_of_an_address_grows_with_their_number() -> None:
    names = [f"f{i}" for i in range(30_000)]
    query = "&".join(f"{name}=1" for name in names).encode()
    http = Request({"type": "http", "query_string": query, "headers": []})
    with at_most(1):
        found = asyncio.run(read_object(http))
    assert found == dict.fromkeys(names, "1")


def test_numbers_of_a_form_are_texts(site: Served) -> None:
    found = site.client.post("/translate", data=ASKED | {"alternatives": "1", "beam_size": "4"})
    assert found.json()["alternatives"] == ["GOOD DAY1"]
    settings = site.engine.requests[-1].settings
    assert settings == SearchSettings(search="beam", beam_size=4)


def test_alternatives_come_from_a_beam_search_unless_another_is_asked_for(site: Served) -> None:
    def search(**fields: object) -> object:
        site.client.post("/translate", json=ASKED | fields)
        return site.engine.requests[-1].settings.search

    assert search() is None
    assert search(alternatives=0) is None
    assert search(alternatives=1) == "beam"
    assert search(alternatives=1, temperature=0.5) == "sampling"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"q": None}, "q"),
        ({"q": []}, "q"),
        ({"q": 5}, "q"),
        ({"source": None}, "source"),
        ({"target": None}, "target"),
        ({"target": "xx"}, "target"),
        ({"source": "fr"}, "source"),
        ({"source": "auto", "q": GERMAN}, "source"),
        ({"format": "xml"}, "format"),
        ({"alternatives": -1}, "alternatives"),
        ({"alternatives": "abc"}, "alternatives"),
        ({"alternatives": 10**3}, "alternatives"),
        ({"format": "html", "alternatives": 1}, "alternatives"),
        ({"format": "html", "attention": True}, "attention"),
        ({"q": "a\nb", "attention": True}, "attention"),
        ({"model": "letters"}, "model"),
        ({"formality": "less"}, "formality"),
    ],
)
def test_a_wrong_field_is_refused_by_name(site: Served, change: dict, field: str) -> None:
    asked = {name: value for name, value in (ASKED | change).items() if value is not None}
    reply = site.client.post("/translate", json=asked)
    assert reply.status_code == 400
    assert field in reply.json()["error"]
    if change.get(field) and field in ("source", "target", "model"):
        assert (reply.json()["code"], reply.json()["param"]) == ("unsupported_value", field)
    assert not site.engine.requests


def test_an_unknown_model_is_not_found(site: Served) -> None:
    reply = site.client.post("/translate", json=ASKED | {"model": "nowhere"})
    assert reply.status_code == 404
    assert "en-zh" in reply.json()["error"]


def test_the_language_of_the_source_chooses_the_model(site: Served) -> None:
    asked = {"q": GERMAN, "source": "auto", "target": "en"}
    found = site.client.post("/translate", json=asked).json()
    assert site.engine.requests[-1].model == "de-en"
    assert found["detectedLanguage"]["language"] == "de"
    assert 80 < found["detectedLanguage"]["confidence"] <= 100
    several = site.client.post("/translate", json=asked | {"q": [GERMAN, GERMAN]}).json()
    assert [each["language"] for each in several["detectedLanguage"]] == ["de", "de"]


def test_a_text_in_no_certain_language_gets_the_only_model(site: Served) -> None:
    asked = {"q": "12:30", "source": "auto", "target": "zh"}
    found = site.client.post("/translate", json=asked).json()
    assert found["translatedText"] == "12:30"
    assert found["detectedLanguage"] == {"language": "en", "confidence": 0}


def test_a_model_whose_languages_are_unknown_translates_from_and_to_any(site: Served) -> None:
    site.engine.models = (model("any", "translation"),)
    asked = {"q": "a", "source": "fr", "target": "xx"}
    assert site.client.post("/translate", json=asked).json() == {"translatedText": "A"}


def test_attention_has_a_row_for_each_token(site: Served) -> None:
    one = site.client.post("/translate", json=ASKED | {"attention": True}).json()["attention"]
    assert "".join(one["source"]) == ASKED["q"]
    assert len(one["weights"]) == len(one["target"])
    assert all(sum(row) == pytest.approx(1) for row in one["weights"])
    two = site.client.post("/translate", json=ASKED | {"q": ["a", "b"], "attention": True}).json()
    assert [each["source"] for each in two["attention"]] == [["a"], ["b"]]


def test_languages_and_settings_are_what_clients_look_for(site: Served) -> None:
    cards = {card["code"]: card for card in site.client.get("/languages").json()}
    assert cards["en"]["targets"] == ["zh"]
    assert cards["de"]["targets"] == ["en"]
    assert cards["zh"]["targets"] == []
    settings = site.client.get("/frontend/settings").json()
    assert settings["language"]["source"]["code"] == "auto"
    assert settings["language"]["target"]["code"] in cards
    assert settings["charLimit"] > 0
    assert settings["keyRequired"] is False
    assert site.client.get("/spec").json()["paths"]["/translate"]


@pytest.mark.parametrize(("text", "code"), [(ENGLISH, "en"), (GERMAN, "de"), ("你好，世界", "zh")])
def test_detect_agrees_with_the_identification_of_corpora(
    site: Served, text: str, code: str
) -> None:
    for body in ({"json": {"q": text}}, {"data": {"q": text}}, {"json": {"q": [text, text]}}):
        found = site.client.post("/detect", **body).json()
        assert found[0]["language"] == code == tell_language([text]).code
        confidences = [each["confidence"] for each in found]
        assert confidences == sorted(confidences, reverse=True)
        assert all(0 <= confidence <= 100 for confidence in confidences)
    assert site.client.post("/detect", json={"q": "12 !"}).json()[0]["language"] == "und"
    assert site.client.post("/detect").status_code == 400
    assert site.client.get("/detect").status_code == 405


def test_probabilities_of_languages_add_up_to_at_most_one() -> None:
    found = likely_languages(ENGLISH, 1000)
    assert sum(probability for _, probability in found) <= 1 + 1e-5
    assert found[:3] == likely_languages(ENGLISH)


# Documents


class Reader(HTMLParser):
    """Collects tags and text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, tuple(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def read(document: str) -> Reader:
    reader = Reader()
    reader.feed(document)
    reader.close()
    return reader


DOCUMENTS = [
    "<p class='a b'>Hello &amp; <b>you</b>, &#20320;&lt;3</p>",
    "<ul><li>one</li>\n<li>two<br>three<br/>four</li></ul>",
    "<!doctype html><!-- a comment --><p title='a &quot;b&quot;'> spaces </p>",
    "no tags at all & an ampersand",
    "<p>unclosed <i>tags",
    "a < b and <3",
    "<p title=\"a > b\" class='>' id=it's>one</P ><br>two",
    "",
]
CLOSED = ["<![CDATA[x > y]]>", "</P >", "<!-- foo", "<div a='>", "<script>a</b>", "</>", "<?x"]
HOSTILE = [
    "<a a='",
    "<a",
    "<!--",
    "<![CDATA[",
    "<!",
    "<?",
    "</",
    "<pre>",
    "<p translate=",
    '<a b="',
]
HOSTILE += ["<script>", "&#9", "<a a= ", " "]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_tags_stay_and_texts_are_translated(document: str) -> None:
    found = split_markup(document)
    before = read(document)
    after = read(found.filled([text.upper() for text in found.texts]))
    assert after.tags == before.tags
    assert after.text.split() == before.text.upper().split()
    same = found.filled(found.texts)
    assert unescape(same).split() == unescape(document).split()


@pytest.mark.parametrize("raw", CLOSED)
def test_what_is_no_text_comes_back_as_it_was(raw: str) -> None:
    found = split_markup(f"<b>one</b>{raw}")
    assert found.texts == ["one"]
    assert found.filled(["two"]) == f"<b>two</b>{raw}"


@pytest.mark.parametrize("piece", HOSTILE)
def test_the_time_of_a_document_is_proportional_to_its_length(piece: str) -> None:
    for document in (piece * (50_000 // len(piece)), piece * 5000 + "</x>" * 5000):
        with at_most(0.3):
            split_markup(document)
    assert split_markup(f"&#{'9' * 5000};a").texts


def test_code_is_not_translated_and_answers_add_no_tags() -> None:
    found = split_markup("<script>if (a<b) x()</script><p>a</p><p translate='no'>b<i>c</i></p>d")
    assert found.texts == ["a", "d"]
    filled = found.filled(["<script>bad()</script>", "e"])
    assert [tag for tag, _ in read(filled).tags] == ["script", "p", "p", "i"]
    assert "<script>if (a<b) x()</script>" in filled
    nested = split_markup("<pre>a<pre>b</pre>c<br translate=no></pre>d<p TRANSLATE = 'no'/>e")
    assert nested.texts == ["d", "e"]


def test_markup_is_translated_through_the_api(site: Served) -> None:
    asked = ASKED | {"q": "<p>good <b>day</b></p>", "format": "html"}
    found = site.client.post("/translate", json=asked).json()
    assert found["translatedText"] == "<p>GOOD <b>DAY</b></p>"


@pytest.mark.parametrize("text", ["a\nb", "\n\n a \r\n\r\n\tb \n", "", "   ", "one line"])
def test_line_breaks_and_spaces_around_lines_stay(text: str) -> None:
    found = split_lines(text)
    assert found.filled(found.texts) == text
    assert not any(each.strip() != each or "\n" in each for each in found.texts)
    assert found.filled(each.upper() for each in found.texts) == text.upper()
