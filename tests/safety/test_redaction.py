"""Keys and passwords are shown nowhere, and nothing else is hidden."""

import base64
import html
import json
import string
from urllib.parse import quote, quote_plus

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lslm_lightning.safety.redaction import (
    KNOWN,
    MASK,
    learn_address,
    learn_arguments,
    learn_secret,
    learn_settings,
    redacted,
    redacted_arguments,
    redacted_settings,
    without_known,
)
from tests.support.waiting import at_most

VARIABLES = [
    *(
        "HF_TOKEN",
        "OPENAI_API_KEY",
        "AZURE_OPENAI_API_KEY",
        "AZURE_CLIENT_SECRET",
        "AWS_SECRET_ACCESS_KEY",
    ),
    *(
        "AWS_SESSION_TOKEN",
        "AWS_ACCESS_KEY_ID",
        "MLFLOW_TRACKING_PASSWORD",
        "PGPASSWORD",
        "MYSQL_PWD",
        "DB_PASS",
    ),
    *(
        "GITHUB_PAT",
        "OPENAI_KEY_2",
        "API_KEY_PROD",
        "NPM_AUTH",
        "SSH_PASSPHRASE",
        "GOOGLE_CREDENTIALS",
    ),
]
HARMLESS_VARIABLES = [
    "PWD",
    "TOKENIZERS_PARALLELISM",
    "SSH_AUTH_SOCK",
    "KEYBOARD",
    "API_KEY_FILE",
    "PAD_TOKEN",
]
SECRET_SETTINGS = [
    *(
        "api_key",
        "password",
        "secret",
        "token",
        "access_token",
        "hf_token",
        "auth_token",
        "client_secret",
        "apiKey",
    ),
    *(
        "Authorization",
        "proxy-authorization",
        "x-api-key",
        "Cookie",
        "db_password",
        "model.init_args.api_key",
        "api_keys",
    ),
    *("storage_account_key", "aws_secret_access_key", "bearer", "passphrase", "credentials"),
]
TEXT_SETTINGS = [
    *(
        "pad_token",
        "eos_token",
        "max_tokens",
        "n_token",
        "special_tokens",
        "key_variable",
        "tokenizer",
        "sort_key",
    ),
    *(
        "mask_token",
        "decoder_start_token",
        "prompt_tokens",
        "key",
        "token_type",
        "secret_file",
        "author",
        "passed",
    ),
]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://user:pass-word@host/v1", "https://***@host/v1"),
        ("http://u:p@ss/w@rd@host:50/x", "http://***@host:50/x"),
        ("https://token@github.com/a", "https://***@github.com/a"),
        (
            "lslm evaluate --url https://host/v1?api_key=abc123&n=1",
            "lslm evaluate --url https://host/v1?api_key=***&n=1",
        ),
        (
            "base_url: 'https://host/v1?access_token=abc'",
            "base_url: 'https://host/v1?access_token=***'",
        ),
        ("https://a.core/x?sv=1&sig=abc%2F&se=2", "https://a.core/x?sv=1&sig=***&se=2"),
        (
            "https://b/x?X-Amz-Credential=AK%2F1&X-Amz-Signature=00ff",
            "https://b/x?X-Amz-Credential=***&X-Amz-Signature=***",
        ),
        ("AccountName=x;AccountKey=abc==;Suffix=core", "AccountName=x;AccountKey=***"),
        ("Authorization: Bearer abc", "Authorization: ***"),
        ("{'Authorization': 'Basic dXNlcjpwYXNz'}", "{'Authorization': '***'}"),
        ('{\\"api_key\\": \\"a b\\"}', '{\\"api_key\\": \\"***\\"}'),
        ("--data.password hunter2 --x.api_key=ab,cd) z", "--data.password *** --x.api_key=***) z"),
        ("a:\n  password: my pass word\n  b: 1\n", "a:\n  password: ***\n  b: 1\n"),
        ("the key sk-proj-abcdefghijklmnop1 is wrong", "the key *** is wrong"),
        ("Namespace(api_key=b'a b', token='xyz')", "Namespace(api_key=b'***', token='***')"),
        ('{"token":"abc","text":"token"}', '{"token":"***","text":"token"}'),
        ("--password=$ecret --secret=[a,b]", "--password=*** --secret=***]"),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nMIIEv\n-----END RSA PRIVATE KEY-----",
            "*** RSA PRIVATE KEY-----",
        ),
        ("got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln_x", "got ***"),
    ],
)
def test_a_secret_is_hidden_in_its_place(text, shown):
    assert redacted(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "a mail to a@b.org, n_token=5",
        "http://localhost:5000/a@b see",
        "https://medium.com/@user/x",
        "sqlite:////home/a@b.db",
        "git+https://github.com/a/b@v1.0",
        "hf://datasets/a/b@main/x.jsonl",
        "max_tokens: 256 pad_token='<pad>' eos_token: </s> token=the key=foo",
        "token: expected a digit; password=None api_key=${KEY} --key_variable=MY_KEY_NAME123",
        "OPENAI_API_KEY is not set: it must hold the key for the server",
        "basic bert-base-2024 models, bearer of the ring; 12:30; C:/x/y",
        "step 5/100  loss 3.214 · val/bleu 12.345  1,234 tokens/s",
    ],
)
def test_what_holds_no_secret_stays_as_it_is(text):
    assert redacted(text) == text


@pytest.mark.parametrize("name", VARIABLES)
def test_the_value_of_a_secret_variable_is_hidden_wherever_it_stands(monkeypatch, name):
    monkeypatch.setenv(name, "Zq7/p+w x&'9=")
    for spell in (
        str,
        quote_plus,
        lambda v: quote(v, safe=""),
        lambda v: json.dumps(v),
        html.escape,
        repr,
    ):
        assert redacted(f"it said {spell('Zq7/p+w x&' + chr(39) + '9=')}!") in (
            "it said ***!",
            'it said "***"!',
        )
    lower = (
        quote("Zq7/p+w x&'9=", safe="")
        .replace("%2F", "%2f")
        .replace("%2B", "%2b")
        .replace("%3D", "%3d")
    )
    assert "p%2b" not in redacted(lower)
    assert base64.b64encode(b"Zq7/p+w x&'9=").decode() not in redacted(
        base64.b64encode(b"Zq7/p+w x&'9=").decode()
    )
    monkeypatch.delenv(name)
    assert redacted("Zq7/p+w x&'9=") == MASK, "it was in use"


@pytest.mark.parametrize("name", HARMLESS_VARIABLES)
def test_other_variables_hide_nothing(monkeypatch, name):
    monkeypatch.setenv(name, "some-long-value-1")
    assert redacted("it said some-long-value-1") == "it said some-long-value-1"


def test_the_password_of_an_address_is_hidden_without_the_address(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://me:pr0xy-pass@proxy:3128")
    learn_address("me:sch3meless@host:5000")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "tr4cking")
    header = base64.b64encode(b"me:tr4cking").decode()
    assert redacted(f"407 for pr0xy-pass, sch3meless, {header}") == "407 for ***, ***, ***"


@pytest.mark.parametrize(
    "value", ["a", "1", "ab", "test", "true", "0.25", "1234", "", "None", "***"]
)
def test_a_short_or_common_secret_blanks_no_other_text(monkeypatch, value):
    monkeypatch.setenv("SOME_API_KEY", value)
    learn_settings({"password": value})
    learn_secret(value)
    text = "a test of 1234 tokens is true: 0.25, None, ab, test/bleu 1"
    assert redacted(text) == text
    assert redacted_settings({"password": value})["password"] in (MASK, value)


def test_a_short_secret_is_hidden_in_its_place():
    assert redacted("--password=a") == "--password=***"
    assert redacted_settings({"api_key": "a"}) == {"api_key": MASK}


@pytest.mark.parametrize("name", SECRET_SETTINGS)
def test_settings_by_their_names(name):
    last = name.rpartition(".")[2]
    assert redacted_settings({last: "x1"}) == {last: MASK}
    assert redacted_settings({"outer": [{last: "x1"}]}) == {"outer": [{last: MASK}]}
    assert redacted_settings({last: ["x1", "y2"]}) == {last: [MASK, MASK]}
    assert redacted_arguments([f"--{name}=a b,c", f"--{name}", "d e"]) == [
        f"--{name}=***",
        f"--{name}",
        MASK,
    ]
    assert redacted_arguments([f"--{name}", "-cAb12Cd34"]) == [f"--{name}", MASK]
    assert redacted_arguments([f"--{name}", "--seed=3"]) == [f"--{name}", "--seed=3"]
    if last != "token":  # which stands in sentences too
        assert "x1" not in redacted(yaml.safe_dump({"a": {last: "x1 and more"}}))


@pytest.mark.parametrize("name", TEXT_SETTINGS)
@pytest.mark.parametrize(
    "value",
    ["<pad>", "[PAD]", "</s>", "a name", "word", 5, 0.25, None, True, {"class_path": "a.B"}],
)
def test_settings_that_are_no_secrets(name, value):
    assert redacted_settings({name: value}) == {name: value}
    text = yaml.safe_dump({name: value})
    assert redacted(text) == text


def test_settings_keep_their_types_and_numbers():
    settings = {
        "a": 1,
        "b": 0.1 + 0.2,
        "c": None,
        "d": [True, {"token": {"class_path": "a.B"}}],
        "seed": 12345678,
    }
    assert redacted_settings(settings) == settings
    assert redacted_settings({"headers": [["Authorization", "q"], ["X", "y"]]}) == {
        "headers": [["Authorization", MASK], ["X", "y"]]
    }
    assert redacted_settings({"password": 1234, "credentials": {"user": "u", "x": "v"}}) == {
        "password": MASK,
        "credentials": {"user": MASK, "x": MASK},
    }


def test_what_the_command_line_says_is_hidden_later_on():
    learn_arguments(
        [
            "run",
            "--model.api_key",
            "first-one",
            "--url=http://a:sec0nd@h",
            '--x={"password": "thi rd1"}',
        ]
    )
    assert without_known("first-one and sec0nd and thi rd1") == "*** and *** and ***"


@given(st.dictionaries(st.text("abcdefgh_", min_size=1, max_size=8), st.text(max_size=20)))
def test_redaction_is_done_once(settings):
    once = redacted_settings(settings)
    assert redacted_settings(once) == once
    assert redacted(redacted(str(settings))) == redacted(str(settings))


@pytest.mark.slow
@given(
    st.text(string.printable, max_size=30).filter(
        lambda value: len(value.strip()) > 11 and any(map(str.isalpha, value))
    )
)
def test_any_long_secret_is_hidden_in_any_text(value):
    KNOWN.forget()
    learn_secret(value)
    assert value not in redacted(f"<{value}> {value} {quote(value)}")


@pytest.mark.slow
@pytest.mark.parametrize(
    "part",
    [
        "a.a-",
        "://a:b",
        "-eyJaaaaaaaaaaaaa.",
        "&key",
        'a="',
        "a='b ",
        "--",
        "Bearer ",
        "a:",
        "a =\n",
        "token=",
        "://",
        "\\",
    ],
)
def test_no_text_takes_long(part):
    with at_most(2):  # minutes, where it grows with the square of the length
        redacted(part * 30_000)


def test_aliases_that_multiply_are_learned_once():
    bomb = ["a-secret-like-text"]
    for _ in range(60):
        bomb = [bomb] * 10
    deep = {}
    for _ in range(5000):
        deep = {"inner": deep}
    learn_settings({"bomb": bomb, "deep": deep, "api_key": "the-real-one"})
    assert without_known("the-real-one") == MASK


def test_a_text_to_be_answered_is_no_setting():
    learn_arguments(
        [
            "generate",
            "RUN",
            "my password: unicorn-99",
            "--model.x",
            "api_key: griffin-88",
            "http://a:dragon-77@h",
        ]
    )
    assert without_known("unicorn-99, griffin-88, dragon-77") == "unicorn-99, ***, ***"
