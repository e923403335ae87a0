"""Find the files of a corpus on this machine or download them, and verify their checksums."""

import logging
import os
import tempfile
from pathlib import Path
from urllib.parse import quote

from filelock import FileLock

from lslm_lightning.corpora.archives import files_in, read_members
from lslm_lightning.corpora.catalogue import CatalogueEntry, DataFile
from lslm_lightning.corpora.checksums import cached_checksum, checksum, root_of
from lslm_lightning.corpora.locations import cache_directory, corpus_path, find_file
from lslm_lightning.safety.paths import check_is_file, is_inside

TIMEOUT_SECONDS = 20
log = logging.getLogger(__name__)


def local_file(entry: CatalogueEntry, file: DataFile) -> Path | None:
    """Return the path of a corpus file on this machine, not verified; None if it is absent."""
    if entry.folder is None:
        return find_file(entry.data_folder, file.name)
    path = Path(entry.folder).expanduser() / file.name
    return path if path.exists() else None


def verified_file(entry: CatalogueEntry, file: DataFile) -> Path:
    """Return the path of a corpus file after verifying its checksum; download the file if it is
    absent.

    Raises:
        FileNotFoundError: the file is absent and cannot be downloaded; the message says where to
            put it and states its licence.
        ValueError: no checksum matches.
    """
    path = local_file(entry, file)
    if path is None:
        path = fetch(entry, file)
    else:
        check_is_file(path, takes_folders=True)
        verify(path, file)
    return path


def verify(
    path: Path, file: DataFile, use_cache: bool = True, way_out: str = "delete it and get it again"
) -> None:
    """Check that a file matches one of its expected checksums, if it has any.

    Args:
        use_cache: whether the checksum of an unchanged file may come from the cache.
        way_out: advice at the end of the error message.

    Raises:
        ValueError: no checksum matches; the message states the expected and the actual one.
    """
    computed = {}
    for algorithm, expected in file.checksums.items():
        try:
            computed[algorithm] = (cached_checksum if use_cache else checksum)(path, algorithm)
        except ValueError as error:  # an archive whose members cannot be read
            computed[algorithm] = str(error)
        if computed[algorithm] == expected:
            return
    if computed:
        algorithm, expected = next(iter(file.checksums.items()))
        size = f"{n_byte(path):,} bytes"
        raise ValueError(
            f"{path}: corrupt or truncated ({size}): {algorithm} should be {expected} but is "
            f"{computed[algorithm]}; {way_out}"
        )


def n_byte(path: Path) -> int:
    """Return the size of a file, or of all files in a folder, in bytes."""
    return (
        sum(file.stat().st_size for file in files_in(path).values())
        if path.is_dir()
        else path.stat().st_size
    )


def fetch(entry: CatalogueEntry, file: DataFile) -> Path:
    """Download a corpus file into the user's cache, verify it and return its path.

    A file already in the cache is not downloaded again. If several processes call this at once, one
    downloads and the others wait. A folder is published as an archive: its members that the
    checksum covers are unpacked.

    Raises:
        FileNotFoundError: the file has no URL, the download failed, or the entry sets `folder`.
        ValueError: the downloaded file has the wrong checksum.
    """
    if file.url is None:
        raise FileNotFoundError(_missing(entry, file, "no public home is known"))
    if entry.folder is not None:
        raise FileNotFoundError(
            _missing(entry, file, "nothing is fetched into a folder of your own")
        )
    path = corpus_path(cache_directory() / "data", entry.data_folder, file.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        if not path.exists():
            with tempfile.TemporaryDirectory(dir=path.parent) as folder:
                draft = Path(folder) / path.name
                try:
                    _download(file.url, draft)
                except (OSError, ValueError) as error:  # requests' own errors are OSErrors
                    raise FileNotFoundError(
                        _missing(entry, file, f"fetching failed ({_reason(error)})")
                    ) from None
                verify(
                    draft,
                    file,
                    use_cache=False,
                    way_out=(
                        f"nothing was kept; {file.url} has changed or was cut off: try again later"
                    ),
                )
                (_unpacked(draft, file.members) if file.members else draft).replace(path)
    return path


def _unpacked(archive: Path, pattern: str) -> Path:
    """Unpack the archive members that match `pattern` into a folder beside the archive, and return
    that folder.
    """
    root = root_of(pattern)
    beside = archive.with_name("unpacked")
    for name, data in read_members(archive, pattern):
        relative = name[name.index(root) :]
        if not is_inside(relative):  # of a pattern with .. in it
            raise ValueError(
                f"{archive.name}: its member {name!r} would leave its folder; correct `members`"
            )
        path = beside / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return beside / root


def _download(url: str, path: Path) -> None:
    import pooch  # imports requests: slow

    log.info("fetching %s", url)
    download = pooch.HTTPDownloader(progressbar=os.isatty(2), timeout=TIMEOUT_SECONDS)
    download(quote(url, safe=":/%"), str(path), None)


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split()).partition(" for url")[0]
    return f"{type(error).__name__}: {text}" if len(text) < 100 else type(error).__name__


def _missing(entry: CatalogueEntry, file: DataFile, why: str) -> str:
    folder = entry.folder or f"{os.environ.get('LSLM_DATA') or 'data'}/{entry.data_folder}"
    home = f"get it from {file.url or entry.home} and " if file.url or entry.home else ""
    return (
        f"corpus {entry.name}: {file.name} is not here; {why}: {home}put it into {folder}/ "
        f"(licence: {entry.licence})"
    )
