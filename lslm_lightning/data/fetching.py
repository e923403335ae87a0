"""A corpus's files: found, or fetched from their public home, and always verified."""

import logging
import os
import tempfile
from pathlib import Path
from urllib.parse import quote

from filelock import FileLock

from lslm_lightning.data.archives import files_in, read_members
from lslm_lightning.data.catalogue import CatalogueEntry, DataFile
from lslm_lightning.data.checksums import checksum, remembered_checksum, root_of
from lslm_lightning.data.locations import cache_directory, corpus_path, find_file
from lslm_lightning.safety.paths import check_is_file, is_inside

TIMEOUT_SECONDS = 20
log = logging.getLogger(__name__)


def local_file(entry: CatalogueEntry, file: DataFile) -> Path | None:
    """Where the file lies on this machine, unverified, or None."""
    if entry.folder is None:
        return find_file(entry.place, file.name)
    path = Path(entry.folder).expanduser() / file.name
    return path if path.exists() else None


def verified_file(entry: CatalogueEntry, file: DataFile) -> Path:
    """The file, fetched if it is not here, once its checksum agrees.

    Raises:
        FileNotFoundError: it is neither here nor to be had; the message says where to put it and
            under which licence it comes.
        ValueError: a checksum does not agree.
    """
    path = local_file(entry, file)
    if path is None:
        path = fetch(entry, file)
    else:
        check_is_file(path, takes_folders=True)
        verify(path, file)
    return path


def verify(
    path: Path, file: DataFile, remember: bool = True, way_out: str = "delete it and get it again"
) -> None:
    """Nothing, if one of the file's checksums agrees or it has none. With `remember`, an unchanged
    file is not read again.

    Raises:
        ValueError: what was expected and what was found, and the way out.
    """
    found = {}
    for algorithm, expected in file.checksums.items():
        try:
            found[algorithm] = (remembered_checksum if remember else checksum)(path, algorithm)
        except ValueError as error:  # an archive whose members cannot be read
            found[algorithm] = str(error)
        if found[algorithm] == expected:
            return
    if found:
        algorithm, expected = next(iter(file.checksums.items()))
        size = f"{n_byte(path):,} bytes"
        raise ValueError(
            f"{path}: corrupt or truncated ({size}): {algorithm} should be {expected} but is "
            f"{found[algorithm]}; {way_out}"
        )


def n_byte(path: Path) -> int:
    """Of a file, or of all files in a folder."""
    return (
        sum(file.stat().st_size for file in files_in(path).values())
        if path.is_dir()
        else path.stat().st_size
    )


def fetch(entry: CatalogueEntry, file: DataFile) -> Path:
    """The file in the user's cache, downloaded from its public home and verified; one process
    downloads, others wait.

    A folder comes as an archive, of which the members that its checksum is of are unpacked.

    Raises:
        FileNotFoundError: no public home is known, or it cannot be reached.
        ValueError: what came has another checksum.
    """
    if file.url is None:
        raise FileNotFoundError(_missing(entry, file, "no public home is known"))
    if entry.folder is not None:
        raise FileNotFoundError(
            _missing(entry, file, "nothing is fetched into a folder of your own")
        )
    path = corpus_path(cache_directory() / "data", entry.place, file.name)
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
                    remember=False,
                    way_out=(
                        f"nothing was kept; {file.url} has changed or was cut off: try again later"
                    ),
                )
                (_unpacked(draft, file.members) if file.members else draft).replace(path)
    return path


def _unpacked(archive: Path, pattern: str) -> Path:
    """A folder beside an archive with those of its members that match."""
    root = root_of(pattern)
    beside = archive.with_name("unpacked")
    for name, data in read_members(archive, pattern):
        own = name[name.index(root) :]
        if not is_inside(own):  # of a pattern with .. in it
            raise ValueError(
                f"{archive.name}: its member {name!r} would leave its folder; correct `members`"
            )
        path = beside / own
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
    folder = entry.folder or f"{os.environ.get('LSLM_DATA') or 'data'}/{entry.place}"
    home = f"get it from {file.url or entry.home} and " if file.url or entry.home else ""
    return (
        f"corpus {entry.name}: {file.name} is not here; {why}: {home}put it into {folder}/ "
        f"(licence: {entry.licence})"
    )
