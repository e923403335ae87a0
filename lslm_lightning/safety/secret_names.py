"""Names of settings and environment variables whose values are secret."""

import re
from functools import cache
from itertools import pairwise


def _set_of(words: str) -> frozenset[str]:
    """Return the words of a text, separated by spaces, as a set."""
    return frozenset(words.split())


# Last words of names whose values are secret
CERTAIN = _set_of(
    "password passwords passwd passphrase passcode secret secrets credential credentials apikey"
    " apikeys accesskey secretkey privatekey bearer authorization cookie"
)
POSSIBLE = _set_of(
    "token key auth pass pat sas sig signature"
)  # secret only if the value looks random
KEYS = _set_of(  # words before `key`
    "api access secret private account subscription encryption signing master service client ssh"
    " auth storage shared openai anthropic azure aws google mistral hf license"
)
TOKENS = _set_of(  # words before `token` that make it a credential
    "access auth api bearer refresh session security secret hf huggingface hub csrf oauth jwt"
    " github gitlab slack wandb mlflow tracking sas deploy bot login user personal service"
)
TEXT_TOKENS = _set_of(  # words before `token` that make it a piece of text
    "pad eos bos unk mask cls sep special max min n num new prefix suffix start end stop image"
    " audio language lang blank first last next decoder encoder begin extra additional source"
    " target word input output per total space separator unknown"
)
REFERRING = _set_of(  # last words of names that tell where a secret is, or its public part
    "variable env file path dir directory folder name names url uri id ids size type ttl sock"
    " command length limit count scope region timeout class column prefix expiry askpass"
)


@cache
def words_of_name(name: str) -> list[str]:
    """Return the words of the last part of a dotted name, in lower case and without a number at its
    end.
    """
    last = re.sub(r"[_-]?\d+$", "", name.rpartition(".")[2])
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", last)
    return [word for word in re.split(r"[^A-Za-z0-9]+", apart.lower()) if word]


def last_word(name: str) -> str:
    """Return the last word of a dotted name; "" if it has none."""
    words = words_of_name(name)
    return words[-1] if words else ""


@cache
def names_secret(name: str) -> bool:
    """Return whether a setting of this name holds a secret, whatever its value."""
    words = words_of_name(name)
    if not words:
        return False
    last = words[-1]
    before = words[-2] if len(words) > 1 else ""
    if last in ("key", "keys"):
        return before in KEYS
    if last in ("token", "tokens"):
        return before in TOKENS
    if last == "id":
        return words[-3:-1] == ["access", "key"]
    if last == "pwd":
        return bool(before)
    return last in CERTAIN or last.endswith(("password", "passwd", "apikey"))


def names_secret_variable(name: str) -> bool:
    """Return whether an environment variable of this name holds a secret."""
    words = words_of_name(name)
    if not words or words[-1] in REFERRING - {"id"} or name in ("PWD", "OLDPWD"):
        return False
    if words[-1] == "id":
        return words[-3:-1] == ["access", "key"]
    if any(before in TEXT_TOKENS and word == "token" for before, word in pairwise(words)):
        return False
    marks = {"key", "token", "pat", "pwd", "pass", "auth"} | CERTAIN
    return bool(marks & set(words)) or words[-1].endswith(
        ("password", "passwd", "apikey", "secret")
    )
