"""Page of `lslm serve` in a real browser."""

import io
import json
import re
import wave
from collections.abc import Iterator
from dataclasses import replace

import pytest

from lslm_lightning.serving.limits import ServingLimits
from tests.serving.http_server import KEY, KEYS, running_server
from tests.serving.page_answers import HOSTILE, by_task
from tests.serving.small_engine import MODELS, SmallEngine, log_p_of, model
from tests.support.browser import Browser

pytestmark = pytest.mark.browser

FORMS = {
    "translate": {"text": "A man in a blue jacket\non a ladder", "alternatives": "2"},
    "summarize": {"text": "one two three four five six seven"},
    "ask": {"question": "Who wrote about Paris?", "passage": "😀 It is set in Paris. Paris!"},
    "continue": {"text": "The dog", "max_tokens": "16"},
}
NUMBERS = ("alternatives", "max_tokens")
NOISE = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")
# Smallest contrast of all texts with what is behind them (WCAG 2.2, 1.4.3), composed by the browser
CONTRAST = """(() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const painted = colours => {
    for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
    return light(canvas.getImageData(0, 0, 1, 1).data);
  };
  let worst = [99, ""];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const owner = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !owner.checkVisibility()) continue;
    if (owner.closest("script, style, .spoken, :disabled")) continue;
    const behind = [];
    for (let each = owner; each; each = each.parentElement)
      behind.unshift(getComputedStyle(each).backgroundColor);
    const style = getComputedStyle(owner);
    const ink = owner instanceof SVGElement ? style.fill : style.color;
    const [a, b] = [painted(behind), painted([...behind, ink])];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < worst[0]) worst = [ratio, walker.currentNode.data];
  }
  return worst;
})()"""
FITS = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
NAMED = {"textbox", "button", "combobox", "spinbutton", "img", "image", "link", "region"}
NAMED |= {"navigation", "table", "searchbox", "checkbox"}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with running_server(keys=KEYS, engine=SmallEngine(answers=by_task)) as server:
        yield f"{server.url}/"


def fill(browser: Browser, function: str, fields: dict[str, str]) -> str:
    """Fill a form; return the expression that is its element."""
    form = f"document.querySelector('[data-function={function}]')"
    for name, value in fields.items():
        browser.evaluate(f"{form}.elements.{name}.value = {json.dumps(value)}")
    return form


def type_key(browser: Browser) -> None:
    browser.evaluate(f"key.value = {KEY!r}; key.dispatchEvent(new Event('input'))")


def send(browser: Browser, function: str, fields: dict[str, str]) -> str:
    """Send a form and wait for its end; return the text below it."""
    form = fill(browser, function, fields)
    browser.evaluate(f"{form}.requestSubmit()")
    browser.wait_for(f"{form}.querySelector('[data-stop]').hidden")
    return browser.evaluate(f"{form}.parentElement.querySelector('[data-result]').innerText")


@pytest.mark.parametrize(
    ("language", "width", "dark"),
    [("en", 1280, False), ("zh", 390, True), ("zh", 1280, False), ("en", 390, True)],
)
def test_every_function_answers(
    browser: Browser, address: str, language: str, width: int, dark: bool
) -> None:
    browser.open(f"{address}?lang={language}", width, dark)
    type_key(browser)
    fields = FORMS | {"translate": {"text": "A man in blue", "alternatives": "2"}}
    shown = {function: send(browser, function, fields[function]) for function in FORMS}
    assert shown["translate"].startswith("blue in man A")
    assert f"−{-log_p_of('blue in man'):.3f}" in shown["translate"]
    assert shown["summarize"] == "one two three four five six"
    assert "Paris" in shown["ask"]
    assert "The dog so 红 👍🏽 cat" in shown["continue"]
    assert browser.evaluate("document.querySelector('mark').innerText").endswith("Paris")
    unknown = send(browser, "ask", {"question": "Who is Ada?"})
    assert "4.5" in unknown
    assert "Ada" not in unknown
    assert browser.evaluate("document.querySelectorAll('.heat rect').length") == 16
    shades = browser.evaluate("[...document.querySelectorAll('.shades .text [title]')].length")
    assert shades == 16
    form = "document.querySelector('[data-function=continue]')"
    table = browser.evaluate(f"{form}.parentElement.querySelector('table').textContent")
    sign = "%" if language == "zh" else "\u00a0%"
    assert f"50.0{sign}" in table
    assert f"<{sign[:-1]}0.1{sign}" in table
    assert "0.000" in table
    assert re.search(r"[^.\d]0\.0+(?!\d)", table) is None
    assert [each for each in browser.events if each[0] in NOISE and "[DOM]" not in str(each)] == []
    asked = {
        parameters["request"]["url"]
        for method, parameters in browser.events
        if method == "Network.requestWillBeSent"
    }
    assert all(url.startswith((address, "data:")) for url in asked)
    assert browser.evaluate(FITS)
    browser.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    ratio, text = browser.evaluate(CONTRAST)
    assert ratio >= 4.5, text
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    roles = {node["nodeId"]: node["role"]["value"] for node in nodes if not node["ignored"]}
    assert {"textbox", "button", "combobox", "spinbutton", "main", "navigation"} <= {
        *roles.values()
    }
    unnamed = [
        node["role"]["value"]
        for node in nodes
        if node["nodeId"] in roles
        and node["role"]["value"] in NAMED
        and not node.get("name", {}).get("value")
    ]
    assert unnamed == []


def test_hostile_text_stays_text(browser: Browser) -> None:
    engine = SmallEngine(
        (*(replace(each, name=each.name + HOSTILE) for each in MODELS), model(HOSTILE, "own")),
        by_task,
    )
    with running_server(engine=engine) as server:
        browser.open(f"{server.url}/", 390)
        n_element = "document.querySelectorAll('script, img, iframe, object').length"
        before = browser.evaluate(n_element)
        for function, fields in FORMS.items():
            hostile = {name: f"hostile {HOSTILE}" for name in fields if name not in NUMBERS}
            assert HOSTILE.split()[0] in send(browser, function, hostile)
        send(browser, "summarize", {"text": f"refuse {HOSTILE}"})
        assert HOSTILE in browser.evaluate(
            "[...document.querySelectorAll('[role=alert]')].map(each => each.innerText).join('')"
        )
        assert browser.evaluate(n_element) == before
        assert browser.evaluate("window.hit") is None
        assert browser.evaluate(FITS)


def test_the_policy_forbids_other_scripts_and_other_servers(browser: Browser, address: str) -> None:
    browser.open(address)
    acts = """
      window.refused = [];
      addEventListener("securitypolicyviolation", e => refused.push(e.effectiveDirective));
      const script = document.createElement("script");
      for (const act of [
        () => { document.body.innerHTML = "<b>x</b>"; },
        () => { eval("window.hit = 1"); },
        () => { script.append("window.hit = 1"); document.body.append(script); },
      ]) try { act(); } catch (error) { refused.push(error.name); }
      const picture = new Image();
      picture.src = "http://127.0.0.1:9/x.png";
      fetch("http://127.0.0.1:9/").catch(error => refused.push(error.name));
    """
    browser.call("Runtime.evaluate", expression=acts, allowUnsafeEvalBlockedByCSP=False)
    for rule in ("connect-src", "img-src", "require-trusted-types-for"):
        browser.wait_for(f"refused.includes('{rule}')")
    assert {"TypeError", "EvalError"} <= {*browser.evaluate("refused")}
    assert browser.evaluate("window.hit") is None
    assert browser.evaluate("document.querySelector('b')") is None


def test_the_key_stays_in_the_tab(browser: Browser, address: str) -> None:
    browser.open(address)
    browser.evaluate("sessionStorage.clear(); key.value = ''")
    send(browser, "summarize", FORMS["summarize"])
    assert "key" in browser.evaluate("document.querySelectorAll('[data-error]')[1].innerText")
    type_key(browser)
    send(browser, "summarize", FORMS["summarize"])
    browser.call("Page.reload")
    browser.wait_for(f"document.readyState == 'complete' && key.value == {KEY!r}")
    send(browser, "summarize", FORMS["summarize"])
    sent = [
        parameters["headers"].get("Authorization", parameters["headers"].get("authorization"))
        for method, parameters in browser.events
        if method == "Network.requestWillBeSentExtraInfo"
        and parameters["headers"].get(":path", "summarize").endswith("summarize")
    ]
    assert f"Bearer {KEY}" in sent
    assert browser.evaluate("localStorage.length") == 0
    assert browser.evaluate("document.cookie") == ""
    assert KEY not in browser.evaluate("location.href")


def test_errors_of_the_server_are_chinese_on_the_chinese_page(browser: Browser) -> None:
    """What the server says of itself, in English, follows where it has numbers that help."""
    alert = "document.querySelector('[data-function=summarize] [role=alert]')"
    cases = [
        (ServingLimits(), "", "one", "密钥", False),
        (ServingLimits(characters=40), KEY, "a" * 41, "限制", True),
        (ServingLimits(), KEY, "refuse", "要摘要的文本", True),
        (ServingLimits(rate=0.01), KEY, "one", " 秒后重试", False),
    ]
    for limits, key, text, said, has_detail in cases:
        with running_server(limits, KEYS, engine=SmallEngine(answers=by_task)) as server:
            browser.open(f"{server.url}/?lang=zh")
            browser.evaluate(f"sessionStorage.clear(); key.value = {key!r}")
            for _ in range(1 + bool(limits.rate)):
                send(browser, "summarize", {"text": text})
            assert said in browser.evaluate(f"{alert}.firstChild.data")
            detail = browser.evaluate(f"{alert}.querySelector('[lang=en]')?.innerText")
            assert bool(detail) == has_detail
            whole = browser.evaluate(f"{alert}.innerText")
            latin = set(re.findall("[A-Za-z]+", whole.replace(detail or "", "")))
            assert latin <= {"API"}


def test_a_sound_that_is_too_large_is_not_sent(browser: Browser) -> None:
    limits = ServingLimits(sound_mb=0.001)
    with running_server(limits, engine=SmallEngine(answers=by_task)) as server:
        browser.open(f"{server.url}/?lang=zh")
        browser.evaluate(
            "const files = new DataTransfer();"
            "files.items.add(new File([new Uint8Array(1001)], 'a.wav'));"
            "document.querySelector('[type=file]').files = files.files"
        )
        browser.events.clear()
        send(browser, "transcribe", {})
        shown = browser.evaluate(
            "document.querySelector('[data-function=transcribe] [role=alert]').innerText"
        )
        assert "0.001 MB" in shown
        assert not [each for each in browser.events if each[0] == "Network.requestWillBeSent"]


def test_a_recording_is_sent_as_wav(browser: Browser, address: str) -> None:
    browser.open(address, dark=True)
    type_key(browser)
    record = "document.querySelector('[data-record] button')"
    browser.evaluate(f"{record}.click()")
    browser.wait_for(f"{record}.textContent === 'Stop recording'")
    browser.evaluate("new Promise(done => setTimeout(done, 500)).then(() => window.heard = true)")
    browser.wait_for("window.heard")
    browser.evaluate(f"{record}.click()")
    browser.wait_for("document.querySelector('canvas')")
    file = "document.querySelector('[type=file]').files[0]"
    browser.evaluate(
        f"{file}.arrayBuffer().then(data => {{ window.wav = [...new Uint8Array(data)] }})"
    )
    browser.wait_for("window.wav")
    data = bytes(browser.evaluate("window.wav"))
    with wave.open(io.BytesIO(data)) as sound:
        assert (sound.getnchannels(), sound.getframerate()) == (1, 16_000)
        assert sound.getnframes() > 0
        seconds = sound.getnframes() / 16_000
    label = browser.evaluate("document.querySelector('canvas').getAttribute('aria-label')")
    assert f"{seconds:.1f} s" in label
    assert send(browser, "transcribe", {}) == f"{len(data)} bytes"


def test_recording_is_refused_where_the_browser_forbids_it(browser: Browser, address: str) -> None:
    script = "Object.defineProperty(Navigator.prototype, 'mediaDevices', {value: undefined})"
    [added] = browser.call("Page.addScriptToEvaluateOnNewDocument", source=script).values()
    browser.open(address)
    assert browser.evaluate("document.querySelector('[data-record] button').disabled")
    assert "HTTPS" in browser.evaluate("document.querySelector('[data-record]').innerText")
    browser.call("Page.removeScriptToEvaluateOnNewDocument", identifier=added)


def test_the_keyboard_is_enough(browser: Browser, address: str) -> None:
    browser.open(address)
    browser.press("Tab")
    assert browser.evaluate("document.activeElement.className") == "skip"
    browser.press("Enter")
    assert browser.evaluate("document.activeElement.id") == "main"
    visited = []
    for _ in range(5):
        browser.press("Tab")
        visited.append(browser.evaluate("document.activeElement.id || document.activeElement.type"))
        width = browser.evaluate(
            "parseFloat(getComputedStyle(document.activeElement).outlineWidth)"
        )
        assert width >= 2
    assert visited[:3] == ["translate-model", "translate-text", "translate-alternatives"]
    type_key(browser)
    fill(browser, "summarize", FORMS["summarize"])
    browser.evaluate("document.getElementById('summarize-text').focus()")
    browser.press("Enter", control=True)
    browser.wait_for("document.querySelectorAll('.result .sample').length")


def test_a_running_answer_can_be_stopped(browser: Browser, address: str) -> None:
    browser.open(address)
    browser.evaluate(
        "window.fetch = (_, {signal}) => new Promise((_, fail) => "
        "signal.addEventListener('abort', () => fail(signal.reason)))"
    )
    form = fill(browser, "continue", FORMS["continue"])
    browser.evaluate(f"{form}.requestSubmit()")
    browser.wait_for(f"!{form}.querySelector('[data-stop]').hidden")
    browser.evaluate(f"{form}.querySelector('[data-stop]').click()")
    browser.wait_for(f"{form}.querySelector('[data-status]').textContent === 'Stopped.'")


def test_the_page_opens_when_the_models_are_ready(browser: Browser) -> None:
    engine = SmallEngine((), is_ready=False)
    with running_server(engine=engine) as server:
        browser.open(f"{server.url}/")
        assert browser.evaluate("document.querySelector('[data-starting]').checkVisibility()")
        engine.models, engine.is_ready = MODELS, True
        browser.wait_for("document.querySelectorAll('[data-function]').length")
        assert browser.evaluate("document.querySelector('[data-starting]')") is None


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("has_script", [True, False])
def test_a_table_is_the_same_with_a_script_and_without(
    browser: Browser, language: str, has_script: bool
) -> None:
    """No heading of a number is broken, and spaces of tokens are visible."""
    with running_server(engine=SmallEngine(answers=by_task)) as server:
        browser.open(f"{server.url}/?lang={language}", 390)
        form = "document.querySelector('[data-function=continue]')"
        fields = {"text": "The dog", "max_tokens": "4"}
        if has_script:
            send(browser, "continue", fields)
        else:
            fill(browser, "continue", fields)
            browser.events.clear()
            browser.evaluate(f"{form}.submit()")
            browser.wait_for("document.querySelector('details')")
        browser.evaluate("document.querySelector('details').open = true")
        [(highest, lowest)] = browser.evaluate(
            "[...document.querySelectorAll('thead .number')].map(each => {"
            "const range = document.createRange(); range.selectNodeContents(each);"
            "const ends = [...range.getClientRects()].map(rectangle => rectangle.bottom);"
            "return [Math.min(...ends), Math.max(...ends)]})"
        )
        assert lowest - highest < 10  # pixels: the letters of one line
        cells = browser.evaluate(
            "[...document.querySelectorAll('tbody tr')].map(each => each.cells[2].innerText)"
        )
        assert len(cells) == 4
        for cell in cells:
            shown = re.findall(r"␣(\S+)\xa0[<\d]", cell)
            assert len(shown) == cell.count(",") + 1
        assert browser.evaluate(FITS)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_works_without_a_script(browser: Browser, address: str, language: str) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(f"{address}?lang={language}", 390)
        root = browser.call("DOM.getDocument")["root"]["nodeId"]
        form = "form[data-function=summarize]"
        for field, value in (("textarea", "one two <b>three"), ("[type=password]", KEY)):
            found = browser.call("DOM.querySelector", nodeId=root, selector=f"{form} {field}")
            browser.call("DOM.focus", nodeId=found["nodeId"])
            browser.call("Input.insertText", text=value)
        browser.events.clear()
        browser.press("Enter")
        browser.wait_for("document.querySelector('.result .sample')")
        assert browser.evaluate("document.documentElement.lang").startswith(language)
        shown = browser.evaluate("document.querySelector('.result .sample').innerText")
        assert shown == "one two <b>three"
        assert browser.evaluate(
            "document.querySelector('.result .sample').getBoundingClientRect().top < innerHeight"
        )
        assert browser.evaluate(FITS)
        assert browser.evaluate("document.querySelector('[type=password]')?.value ?? ''") == ""
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)
