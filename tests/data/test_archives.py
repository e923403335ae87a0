"""Archives give back what was packed, and are refused when they are broken, unsafe or bombs."""

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from lslm_lightning.data.archives import read_file, read_members

FILES = {"c/b.txt": b"second", "c/a.txt": b"first", "c/note.md": b"no"}


def make_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def make_tar(path: Path, files: dict[str, bytes], kind: bytes = tarfile.REGTYPE) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.type, member.linkname = len(data), kind, "/etc/passwd"
            archive.addfile(member, io.BytesIO(data))
    return path


MAKERS = pytest.mark.parametrize(("make", "name"), [(make_zip, "f.zip"), (make_tar, "f.tar.gz")])


@MAKERS
def test_members_come_sorted(make, name: str, tmp_path: Path) -> None:
    assert read_members(make(tmp_path / name, FILES), "c/*.txt") == [("c/a.txt", b"first"), ("c/b.txt", b"second")]


@MAKERS
def test_no_matching_member(make, name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no member matches 'd/\*'"):
        read_members(make(tmp_path / name, FILES), "d/*")


@MAKERS
@pytest.mark.parametrize("keep", [0.5, 0.0])
def test_truncated_archive(make, name: str, keep: float, tmp_path: Path) -> None:
    path = make(tmp_path / name, {f"{i}.txt": bytes([i]) * 999 for i in range(200)})
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    with pytest.raises(ValueError, match=r"not a readable archive .*get it again"):
        read_members(path, "*")


@MAKERS
def test_members_that_leave_the_folder(make, name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a readable archive"):
        read_members(make(tmp_path / name, {"../../evil": b"x"}), "*")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_links_and_devices(kind: bytes, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a readable archive"):
        read_members(make_tar(tmp_path / "f.tar.gz", {"x": b""}, kind), "*")


@MAKERS
def test_archives_have_a_cap(make, name: str, tmp_path: Path) -> None:
    path = make(tmp_path / name, {"a": bytes(600), "b": bytes(600)})
    with pytest.raises(ValueError, match="unpacks to more than 1,000 bytes"):
        read_members(path, "*", max_bytes=1000)


def test_gzip(tmp_path: Path) -> None:
    path = tmp_path / "f.gz"
    path.write_bytes(gzip.compress(bytes(2000)))
    assert read_file(path) == bytes(2000)
    with pytest.raises(ValueError, match="unpacks to more than 1,000 bytes"):
        read_file(path, max_bytes=1000)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match="not a complete gzip file"):
        read_file(path)
