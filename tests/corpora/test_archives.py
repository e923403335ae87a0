"""Archives give back what was packed, and are refused when they are broken, unsafe or bombs."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from pathlib import Path
from stat import S_IFLNK

import pyarrow
import pytest

from lslm_lightning.corpora.archives import read_file, read_members
from lslm_lightning.safety.limits import SETTING, max_unpacked
from lslm_lightning.safety.paths import is_inside

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
            member.size = len(data)
            member.type = kind
            member.linkname = "/etc/passwd"
            archive.addfile(member, io.BytesIO(data))
    return path


MAKERS = pytest.mark.parametrize(("make", "name"), [(make_zip, "f.zip"), (make_tar, "f.tar.gz")])


@MAKERS
def test_members_come_sorted(make, name: str, tmp_path: Path) -> None:
    assert read_members(make(tmp_path / name, FILES), "c/*.txt") == [
        ("c/a.txt", b"first"),
        ("c/b.txt", b"second"),
    ]


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


def zstandard(data: bytes) -> bytes:
    return pyarrow.compress(data, codec="zstd", asbytes=True)


STREAMS = pytest.mark.parametrize(
    ("pack", "ending"),
    [(gzip.compress, "gz"), (bz2.compress, "bz2"), (lzma.compress, "xz"), (zstandard, "zst")],
)


@STREAMS
@pytest.mark.parametrize("size", [0, 5, 3 << 20])
def test_all_streams_of_a_packed_file_are_read(
    pack, ending: str, size: int, tmp_path: Path
) -> None:
    """As `cat`, pbzip2, pixz and pzstd write them."""
    parts = [b"first\n", bytes(range(256)) * (size // 256), b"x" * size, b"last\n"]
    path = tmp_path / f"a.txt.{ending}"
    path.write_bytes(b"".join(map(pack, parts)))
    assert read_file(path) == b"".join(parts)


@STREAMS
@pytest.mark.parametrize("rest", ["cut", "changed", b"what is no stream", b"\0\0\0\0x"])
def test_a_damaged_second_stream_is_no_end(
    pack, ending: str, rest: bytes | str, tmp_path: Path
) -> None:
    second = pack(b"last\n" * 99)
    if isinstance(rest, str):
        rest = second[:-9] if rest == "cut" else b"Z" + second[1:]
    path = tmp_path / f"a.txt.{ending}"
    path.write_bytes(pack(b"first\n") + rest)
    with pytest.raises(ValueError, match=rf"a\.txt\.{ending}: not a complete .*get it again"):
        read_file(path)


def test_streams_may_be_padded(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.xz"
    path.write_bytes(lzma.compress(b"first\n") + bytes(8) + lzma.compress(b"last\n") + bytes(4))
    assert read_file(path) == b"first\nlast\n"


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


OUTSIDE = (
    "/c/x.txt",
    "../x.txt",
    "a/b/c/../../../../x.txt",
    "b/c/../../x.txt",
    "C:/x.txt",
    "c:x.txt",
    r"..\x.txt",
    r"a\..\..\x.txt",
    r"\\host\share\x.txt",
    "",
)


@pytest.mark.parametrize("name", OUTSIDE)
def test_names_that_could_lead_out_of_a_folder(name: str) -> None:
    assert not is_inside(name)


@pytest.mark.parametrize(
    "name", ["x.txt", "a/b.txt", "./a/b.txt", "a..b", "...", "宋/ci 1.json", "a:b", r"a\b.txt"]
)
def test_names_that_stay_in_a_folder(name: str) -> None:
    assert is_inside(name) == (name != "a:b")


@MAKERS
@pytest.mark.parametrize("name_inside", OUTSIDE[1:-1])
def test_no_member_leaves_its_folder(make, name: str, name_inside: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="would leave its folder"):
        read_members(make(tmp_path / name, {name_inside: b"x"}), "*")


def test_what_does_not_match_is_no_reason_to_refuse(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "f.tar.gz", {"c/a.txt": b"first", "../README": b"x"})
    assert read_members(path, "c/*.txt") == [("c/a.txt", b"first")]


def test_links_in_a_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "f.zip", "w") as archive:
        link = zipfile.ZipInfo("c/a.txt")
        link.external_attr = (S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(ValueError, match=r"its member 'c/a\.txt' is a link or a device"):
        read_members(tmp_path / "f.zip", "*")


@pytest.mark.parametrize("target", ["a.txt", "../../../etc/passwd"])
def test_links_inside_a_tar(target: str, tmp_path: Path) -> None:
    """A link that was left out would be a document less, and nobody told."""
    with tarfile.open(tmp_path / "f.tar", "w") as archive:
        link = tarfile.TarInfo("c/b.txt")
        link.type = tarfile.SYMTYPE
        link.linkname = target
        archive.addfile(link)
    with pytest.raises(ValueError, match="is a link or a device"):
        read_members(tmp_path / "f.tar", "*")


def chained(n: int) -> bytes:
    header = tarfile.TarInfo("x")
    header.type = tarfile.XHDTYPE
    return header.tobuf(tarfile.USTAR_FORMAT) * n


def negative() -> bytes:
    header = bytearray(tarfile.TarInfo("x").tobuf(tarfile.USTAR_FORMAT))
    header[124:136] = b"\xff" * 12  # -1 in base 256
    header[148:156] = b"%06o\0 " % tarfile.calc_chksums(bytes(header))[0]
    return bytes(header)


@pytest.mark.parametrize(
    "data", [chained(5000), negative(), chained(1), b"\x1f\x8b", b"BZh9", b"\xfd7zXZ\0"]
)
def test_headers_that_never_end(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "f.tar").write_bytes(data)
    with pytest.raises(ValueError, match="not a readable archive"):
        read_members(tmp_path / "f.tar", "*")


def test_a_zip_with_a_password(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "f.zip", {"a": b"x"})
    data = bytearray(path.read_bytes())
    for at in (data.index(b"PK\3\4") + 6, data.index(b"PK\1\2") + 8):
        data[at] |= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"not a readable archive .*password"):
        read_members(path, "*")


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_a_tar_is_read_however_it_is_packed(kind: str, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "f", f"w:{kind}", format=tarfile.PAX_FORMAT) as archive:
        for name in ("宋/" + "x" * 200, "c/a"):
            member = tarfile.TarInfo(name)
            member.size = 3
            member.pax_headers = {"comment": "c" * 1000}
            archive.addfile(member, io.BytesIO(b"abc"))
    assert [name for name, _ in read_members(tmp_path / "f", "*")] == ["c/a", "宋/" + "x" * 200]


@pytest.mark.slow
def test_the_cap_is_lifted_by_the_setting_that_the_error_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f.gz"
    size = 70 << 20
    path.write_bytes(gzip.compress(bytes(size), 1))
    with pytest.raises(ValueError, match=f"set {SETTING} to a number of bytes"):
        read_file(path)
    monkeypatch.setenv(SETTING, str(size))
    assert len(read_file(path)) == size
    monkeypatch.setenv(SETTING, str(size - 1))
    with pytest.raises(ValueError, match="unpacks to more than"):
        read_file(path)
    monkeypatch.setenv(SETTING, "a lot")
    with pytest.raises(ValueError, match=f"{SETTING}='a lot' must be a number of bytes"):
        read_file(path)


def test_the_cap_grows_with_the_file() -> None:
    assert max_unpacked(1000) < max_unpacked(10**9)
