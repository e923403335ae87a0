"""Keys and passwords are shown nowhere."""

import pytest

from lslm_lightning.systems.secrets import redacted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://user:pass-word@host/v1", "https://***@host/v1"),
        ("lslm evaluate --url https://host/v1?api_key=abc123&n=1", "lslm evaluate --url https://host/v1?api_key=***&n=1"),
        ("base_url: 'https://host/v1?access_token=abc'", "base_url: 'https://host/v1?access_token=***'"),
        ("Bearer sk-very-secret was refused", "Bearer *** was refused"),
        ("a mail to a@b.org, n_token=5", "a mail to a@b.org, n_token=5"),
    ],
)
def test_what_is_shown(monkeypatch, text, shown):
    monkeypatch.setenv("SOME_API_KEY", "sk-very-secret")
    assert redacted(text) == shown
