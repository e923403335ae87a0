"""A whole run with secrets in its settings, its environment and its command line leaves them
nowhere in sight.
"""

import json
import os
import stat
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient

from lslm_lightning.experiments.resuming import command_of
from lslm_lightning.experiments.variants import Variant
from lslm_lightning.runs import RunDirectory
from lslm_lightning.runs.config import read_config
from lslm_lightning.safety.arguments import VARIABLE, given_arguments, hide_arguments

SECRETS = ("c0nfig-secret", "w0rd", "url-pass", "hf-in-use-1", "my-v4riable")


def texts_of(folder: Path) -> dict[Path, str]:
    """Files of a folder, but for those that hold secrets by design."""
    found = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return {path: path.read_bytes().decode("utf-8", "replace") for path in found}


@pytest.mark.slow
def test_no_secret_of_a_run_is_in_sight_and_resume_has_them(
    lslm, translation, only_run, monkeypatch, project
):
    config = yaml.safe_load(translation.read_text())
    config["job"] = {
        "tags": {
            "api_key": "c0nfig-secret",
            "home": "https://me:url-pass@host/x",
            "pad_token": "<pad>",
            "note": "hf-in-use-1",
        }
    }
    translation.write_text(yaml.safe_dump(config))
    monkeypatch.setenv("HF_TOKEN", "hf-in-use-1")
    outcome = lslm(
        "run",
        "--config",
        translation,
        "--job.tags.password=w0rd",
        "--job.tags.line=a\x85\u2028b: {}\x1b[2J",
    )
    assert outcome.status == 0, outcome.err
    run = RunDirectory(only_run())
    seen = texts_of(project / "runs") | texts_of(project / "mlartifacts")
    assert stat.S_IMODE(run.secrets.stat().st_mode) == 0o600
    del seen[run.secrets.absolute()]
    client = MlflowClient(f"sqlite:///{project}/mlflow.db")
    record = client.get_run(run.run_id)
    shown = [outcome.out, outcome.err, str(record.to_dictionary()), *seen.values()]
    for secret in SECRETS:
        assert not [text[:200] for text in shown if secret in text], secret
    assert record.data.tags["pad_token"] == "<pad>"
    assert "\x1b" not in outcome.out + outcome.err
    tags = read_config(run.config)["job"]["tags"]
    assert tags["api_key"] == "c0nfig-secret"
    assert tags["password"] == "w0rd"
    assert tags["home"] == "https://me:url-pass@host/x"
    assert command_of(run) == "run"
    again = lslm("resume", run.path, "--trainer.max_steps", "6")
    assert again.status == 0, again.err
    assert not any(secret in again.out + again.err + run.config.read_text() for secret in SECRETS)
    assert read_config(run.config)["job"]["tags"]["api_key"] == "c0nfig-secret"
    run.secrets.unlink()
    refused = lslm("resume", run.path, "--trainer.max_steps", "8")
    assert refused.status == 2
    assert (
        "--job.tags.api_key, --job.tags.home, --job.tags.note, --job.tags.password" in refused.err
    )


@pytest.mark.slow
@pytest.mark.parametrize("debug", [(), ("--debug",)])
def test_errors_and_tracebacks_hold_no_secret(lslm, monkeypatch, project, debug):
    monkeypatch.setenv(
        "MLFLOW_TRACKING_URI", "http://me:p%40ss-w0rd@127.0.0.1:1/x?token=q1w2e3r4t5"
    )
    (project / "a.yaml").write_text(
        "data: {init_args: {corpus: 'https://u:c0rpus-pass@h/x'}}\nnonsense_of: p@ss-w0rd\n"
    )
    for words in (
        ["run", "--config", "a.yaml"],
        ["generate", "abcd1234", "x"],
        ["compare", "--experiment", "x"],
    ):
        try:
            outcome = lslm(*words, *debug)
        except SystemExit:
            continue
        assert outcome.status
        assert not any(
            secret in outcome.out + outcome.err
            for secret in ("p%40ss", "p@ss-w0rd", "q1w2e3r4t5", "c0rpus-pass")
        )


def test_arguments_of_a_child_with_secrets_are_not_on_its_command_line(monkeypatch):
    variant = Variant(
        "a",
        {},
        ["--model.api_key=abc", "--model.pad_token=<pad>", "--data.corpus=https://u:pw@h/x"],
    )
    seen, environment = hide_arguments(["run", "--config", "x", *variant.arguments])
    assert seen == ["run", "--config", "x", "--model.pad_token=<pad>"]
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert sorted(given_arguments(seen)) == sorted(["run", "--config", "x", *variant.arguments])
    assert hide_arguments(["run", "--seed=1"]) == (["run", "--seed=1"], {})
    assert VARIABLE in os.environ


def test_a_spreadsheet_gets_no_control_characters(tmp_path):
    from lslm_lightning.experiments.csv_table import write_csv
    from lslm_lightning.reports.blocks import Heading, Table

    table = Table(
        [Heading("run\x1b[2J"), Heading("x")],
        [["a\x1b]0;t\x07\u202e", "\x00=1+1"], ["\r=cmd", 0.1 + 0.2]],
    )
    write_csv(table, tmp_path / "t.csv")
    text = (tmp_path / "t.csv").read_text("utf-8-sig")
    assert not set("\x1b\x07\x00\u202e") & set(text)
    assert "0.30000000000000004" in text


def test_what_is_noted_of_a_system_holds_no_secret(tmp_path, monkeypatch):
    from lslm_lightning.systems.endpoint import Endpoint

    monkeypatch.setenv("MY_VARIABLE", "my-v4riable")
    endpoint = Endpoint(
        "m",
        base_url="https://me:url-pass@h/v1",
        key_variable="MY_VARIABLE",
        extra={"headers": {"x-api-key": "c0nfig-secret"}},
    )
    facts = json.dumps(endpoint.info())
    assert "c0nfig-secret" not in facts
    from lslm_lightning.safety.redaction import redacted

    assert redacted("401 for my-v4riable, url-pass, c0nfig-secret") == "401 for ***, ***, ***"
