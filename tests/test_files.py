"""Files that are written whole or not at all."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from lslm_lightning.exit_status import SettingsError
from lslm_lightning.files import atomic_write, check_place, draft_of


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_an_error_leaves_what_stood_there_and_no_draft(tmp_path):
    path = tmp_path / "scores.json"
    atomic_write(path, "before")
    with pytest.raises(ZeroDivisionError), draft_of(path) as draft:
        draft.write_text("half") and 1 / 0
    assert [each.name for each in tmp_path.iterdir()] == ["scores.json"]
    assert path.read_text() == "before"


def test_text_is_utf_8_with_line_ends_as_they_are(tmp_path):
    path = tmp_path / "new" / "明月.txt"
    atomic_write(path, "a\r\nb\n明\r")
    assert path.read_bytes() == "a\r\nb\n明\r".encode()
    with pytest.raises(UnicodeEncodeError):
        atomic_write(path, "\ud83d")
    assert path.read_bytes() == "a\r\nb\n明\r".encode()


@pytest.mark.parametrize(("mask", "asked", "given"), [(0o022, 0o666, 0o644), (0o027, 0o600, 0o600)])
def test_permissions_are_those_of_the_umask(tmp_path, mask, asked, given):
    before = os.umask(mask)
    try:
        atomic_write(tmp_path / "file", b"\0", asked)
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "file") == given


def test_a_link_is_replaced_and_its_target_stays(tmp_path):
    target = tmp_path / "target"
    target.write_text("kept")
    link = tmp_path / "link"
    link.symlink_to(target)
    atomic_write(link, "new")
    assert target.read_text() == "kept"
    assert not link.is_symlink()
    assert link.read_text() == "new"


@pytest.mark.slow
def test_writers_of_one_file_never_mix(tmp_path):
    program = f"""
import sys
sys.path.insert(0, {str(os.getcwd())!r})
from pathlib import Path
from lslm_lightning.files import atomic_write
for _ in range(200):
    atomic_write(Path({str(tmp_path / "file")!r}), sys.argv[1] * 50_000)
"""
    writers = [subprocess.Popen([sys.executable, "-c", program, name]) for name in "ab"]
    path = tmp_path / "file"
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            assert path.read_text() in ("a" * 50_000, "b" * 50_000)
    assert [writer.returncode for writer in writers] == [0, 0]


def test_a_long_name_has_a_draft_too(tmp_path):
    path = tmp_path / ("月" * 85)
    atomic_write(path, "text")
    assert path.read_text() == "text"


def test_places_are_looked_at_before_the_work(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for fine in ("new", "file", "folder/new", "a/b/c/new"):
        check_place(tmp_path / fine, "--junit")
    check_place(tmp_path / "pipe", "--summary", in_place=True)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "folder", "pipe"]
    assert not any((tmp_path / "folder").iterdir())
    for wrong, words in (
        (tmp_path / "folder", "is a folder"),
        (tmp_path / "file" / "below", "cannot be written"),
        (tmp_path / "pipe", "a pipe"),
        (Path("/proc/new.xml"), "cannot be written"),
    ):
        with pytest.raises(SettingsError, match=words) as error:
            check_place(wrong, "--junit")
        assert str(error.value).startswith(f"--junit {wrong}")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_file_that_may_not_be_changed_is_refused(tmp_path):
    path = tmp_path / "kept"
    path.write_text("x")
    path.chmod(0o400)
    for in_place in (False, True):
        with pytest.raises(SettingsError, match="may not change"):
            check_place(path, "--summary", in_place=in_place)
