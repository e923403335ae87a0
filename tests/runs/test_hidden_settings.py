"""config.yaml shows no secret, and a command that reads it gets the secret back, and nothing
else.
"""

import json
from pathlib import Path

import pytest
import yaml

from lslm_lightning.configuration.config_files import check_files
from lslm_lightning.configuration.hidden_settings import check_secrets, revealed
from lslm_lightning.runs import RunDirectory
from lslm_lightning.runs.config import read_config
from lslm_lightning.runs.hidden_settings import fits
from lslm_lightning.safety.redaction import KNOWN
from lslm_lightning.text.yaml_files import ParserLoader, parse_yaml, read_yaml

CONFIG = {
    "model": {
        "class_path": "a.B",
        "init_args": {"api_key": "k-1", "pad_token": "<pad>", "rate": 0.1},
    },
    "data": {
        "init_args": {
            "corpus": "https://me:pw@host/x.jsonl?n=1",
            "parts": [{"url": "s3://a:b@c", "n": 2}, {"token": "t"}, ["Authorization", "Bearer q"]],
        }
    },
    "job": {"tags": {"credentials": {"user": "u1"}, "password": 1234, "my.api_key": "d1"}},
}
SECRETS = ("k-1", "me:pw", "a:b@", "u1", "1234", "d1")


def parsed(config: Path) -> object:
    """What a command's parser is given of a config.yaml."""
    return parse_yaml(revealed(config.read_text("utf-8"), config), ParserLoader)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    directory = RunDirectory(tmp_path)
    directory.save_settings(
        "lslm run --model.api_key=k-1\n\x85\u2028model: {class_path: evil.X}", CONFIG
    )
    return directory


def test_config_hides_and_reading_gives_back(run):
    text = run.config.read_text("utf-8")
    assert not any(secret in text for secret in SECRETS)
    assert read_config(run.config) == CONFIG
    shown = yaml.safe_load(text)
    assert shown["model"]["init_args"] == {"api_key": "***", "pad_token": "<pad>", "rate": 0.1}
    assert shown["data"]["init_args"]["corpus"] == "https://***@host/x.jsonl?n=1"


def test_the_first_line_is_a_comment_to_every_reader(run):
    first, *rest = run.config.read_text("utf-8").splitlines()
    assert first.startswith("# lslm run ")
    assert rest[0] == "model:"
    assert "evil" not in yaml.safe_dump(read_yaml(run.config, loader=ParserLoader))


@pytest.mark.parametrize(
    "character",
    [*map(chr, range(32)), "\x7f", "\x85", "\u2028", "\u2029", "\ufeff", "\ud800", "\U000e0061"],
)
def test_no_character_of_the_command_breaks_config(tmp_path, character):
    RunDirectory(tmp_path).save_settings(
        f"lslm run --x=a{character}model: 1", {"model": {"class_path": "a.B"}}
    )
    assert read_config(tmp_path / "config.yaml") == {"model": {"class_path": "a.B"}}


def check(words: list[str]) -> None:
    """Check the secrets of the config files among the arguments of a command."""
    check_secrets(words, check_files(words))


def test_a_command_that_parses_it_gets_the_values(run):
    check(["run", "--config", str(run.config), "--x=1"])
    assert parsed(run.config) == CONFIG


def test_a_link_to_it_has_the_secrets_beside_the_file(run, tmp_path_factory):
    link = tmp_path_factory.mktemp("other") / "mine.yaml"
    link.symlink_to(run.config)
    check(["run", f"--config={link}"])
    assert parsed(link) == CONFIG


def test_a_secret_that_is_not_there_is_asked_for_by_name(tmp_path):
    run = RunDirectory(tmp_path)
    spec = {"class_path": "a.B", "init_args": {"api_key": "k-1", "n": 1, "x": [{"password": 5}]}}
    run.save_settings("x", {"model": spec})
    run.secrets.unlink()
    copy = tmp_path / "copy.yaml"
    copy.write_text(run.config.read_text())
    for config in (run.config, copy):
        for words in (["--config", str(config)], [f"-c{config}"], [f"--config={config}"]):
            with pytest.raises(ValueError, match=r"its option: --model\.api_key, --model\.x$"):
                check(["run", *words])
            check(["run", *words, "--model.api_key=other", "--model.init_args.x", "[]"])
        assert parsed(config) == {"model": {"class_path": "a.B", "init_args": {"n": 1}}}


def test_a_secret_of_the_environment_comes_back_without_it(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf-in-use-1")
    config = {"model": {"class_path": "a.B", "init_args": {"x": "by hf-in-use-1!"}}}
    RunDirectory(tmp_path).save_settings("x", config)
    monkeypatch.delenv("HF_TOKEN")
    KNOWN.forget()
    assert "by ***!" in (tmp_path / "config.yaml").read_text()
    assert read_config(tmp_path / "config.yaml") == config


@pytest.mark.parametrize(
    "evil",
    [
        {"model.class_path": "evil.X"},
        {"model": {"class_path": "evil.X"}},
        {"model.init_args": {"api_key": {"class_path": "evil.X"}}},
        {"model.init_args.api_key": {"class_path": "evil.X"}},
        {"data.init_args.corpus": "/etc/passwd"},
        {"data.init_args.corpus": "https://evil:x@evil/x.jsonl"},
        {"trainer.callbacks": [{"class_path": "evil.X"}]},
        ["evil"],
    ],
)
def test_secrets_can_change_no_other_setting(tmp_path, evil):
    run = RunDirectory(tmp_path)
    run.save_settings(
        "x", {"model": {"class_path": "a.B", "init_args": {"api_key": "k"}}, "data": CONFIG["data"]}
    )
    run.secrets.write_text(json.dumps(evil))
    config = yaml.safe_dump(read_config(run.config))
    assert "evil" not in config
    assert "passwd" not in config


def test_a_config_without_secrets_is_read_as_it_is(tmp_path):
    run = RunDirectory(tmp_path)
    run.save_settings("x", {"model": {"class_path": "a.B"}})
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]
    assert revealed(run.config.read_text(), run.config) == run.config.read_text()


def test_a_password_that_is_a_common_word_breaks_no_run(tmp_path, monkeypatch):
    monkeypatch.setenv("DB_PASSWORD", "translation")
    config = {
        "model": {
            "class_path": "tasks.translation.task.TranslationTask",
            "init_args": {"mark": "***", "n": ["a***b"], "x": "of translation"},
        }
    }
    run = RunDirectory(tmp_path)
    run.save_settings("x", config)
    assert "of translation" not in run.config.read_text()
    assert "class_path: tasks.translation.task.TranslationTask" in run.config.read_text()
    assert read_config(run.config) == config
    assert parsed(run.config) == config


def test_asterisks_of_the_user_are_no_secret(tmp_path):
    run = RunDirectory(tmp_path)
    run.config.write_text("model: {class_path: a.B, init_args: {mark: a***b}}\n")
    check(["run", "--config", str(run.config)])
    assert parsed(run.config)["model"]["init_args"] == {"mark": "a***b"}


@pytest.mark.parametrize(
    ("value", "shown", "does"),
    [
        ("abc", "***", True),
        ("", "***", False),
        ("a\nb", "***", True),
        ("https://u:p@h/x", "https://***@h/x", True),
        ("https://@h/x", "https://***@h/x", False),
        ("aXbYa", "a***b***a", True),
        ("abba", "a***b***a", False),
        ("aa", "a***a", False),
        ("abcb", "a***b", True),
        ("ab", "******", True),
        ("a", "******", False),
        (5, "***", True),
        (5, "***5", False),
        (["a"], "***", False),
        # which a regular expression tries for ever
        ("a" * 10_000, "a".join(["***"] * 1000) + "b", False),
    ],
)
def test_a_value_fits_what_is_shown_of_it(value, shown, does):
    assert fits(value, shown) is does
