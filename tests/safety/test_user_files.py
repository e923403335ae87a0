"""Permissions: files with secrets are readable by their owner alone; all others follow the user's
umask.
"""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from lslm_lightning.runs import RunDirectory, new_run
from lslm_lightning.safety.user_files import permit_as_usual, write_private, write_settings
from lslm_lightning.systems.reply_cache import write_reply

pytestmark = pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o002, 0o022, 0o027, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_private_files(tmp_path, umask):
    path = tmp_path / "deep/file"
    write_private(path, "text")
    assert mode(path) == 0o600
    path.chmod(0o644)
    write_private(path, "new")
    assert (mode(path), path.read_text()) == (0o600, "new")
    assert list(path.parent.iterdir()) == [path]


def test_a_cached_reply_is_private(tmp_path, umask):
    write_reply(tmp_path / "ab/cd.json", {"text": "half a pair: \ud800"})
    assert mode(tmp_path / "ab/cd.json") == 0o600


def test_settings_are_private_where_they_hold_a_secret(tmp_path, umask):
    write_settings(tmp_path / "open.yaml", "pad_token: <pad>\n")
    write_settings(tmp_path / "closed.yaml", "api_key: abc\n")
    assert mode(tmp_path / "open.yaml") == 0o666 & ~umask
    assert mode(tmp_path / "closed.yaml") == 0o600


def test_a_file_that_a_library_has_closed_to_others(tmp_path, umask):
    path = tmp_path / "x.ckpt"
    path.touch(mode=0o600)
    permit_as_usual(path)
    assert mode(path) == 0o666 & ~umask
    assert list(tmp_path.iterdir()) == [path]


def test_a_run_follows_the_umask_and_its_secrets_do_not(project, umask):
    from lslm_lightning.text.recipes import Characters

    run = new_run("toy", f"umask-{umask:o}")
    run.save_settings("lslm run", {"a": {"api_key": "abc"}})
    Characters().train(["some text"]).save(run.tokenizer)
    assert mode(run.path) == 0o777 & ~umask
    for path in (run.config, run.tokenizer):
        assert mode(path) == 0o666 & ~umask, path
    assert mode(run.secrets) == 0o600
    assert json.loads(run.secrets.read_text()) == {"a.api_key": "abc"}


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "file"
    write_private(path, "before")
    with pytest.raises(UnicodeEncodeError):
        write_private(path, "\ud800")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_secrets_are_gone_with_the_last_of_them(project):
    run = RunDirectory(project)
    run.save_settings("x", {"password": "a"})
    assert run.secrets.exists()
    run.save_settings("x", {"b": 1})
    assert not run.secrets.exists()
