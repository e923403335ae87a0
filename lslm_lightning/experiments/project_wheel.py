"""Wheel of this project, written from the files of the running package: no network, no build tool.

The project is on no registry, so an MLflow model carries the project as a wheel. The wheel has the
files that `setup.py` puts into one, from a checkout as from an installed wheel.
"""

import base64
import hashlib
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from lslm_lightning import __version__
from lslm_lightning.task_package import HOME, INSTALLED, NAMES

PROJECT = "lslm-lightning"
PACKAGE = "lslm_lightning"
TASKS, FOLDER = NAMES  # names of the package of tasks in a wheel and in a checkout
CONFIGS = f"{PACKAGE}/configs"
N_DIGIT = 12  # of the digest in the version
# imports inside of the package of tasks, whose name a wheel changes
IMPORT = re.compile(rf"^(\s*(?:from|import) ){FOLDER}\b", re.MULTILINE)
LONG_AGO = (1980, 1, 1, 0, 0, 0)  # of every file, so that equal files give equal wheels
WHEEL = "Wheel-Version: 1.0\nGenerator: lslm-lightning\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
ENTRY_POINTS = "[console_scripts]\nlslm = lslm_lightning.__main__:main\n"


def write_wheel(folder: Path) -> Path:
    """Write the wheel of this project into a folder and return its path.

    The version ends with a digest of the files, as in `0.1.0+3f2a90cc41d7`, so that environments
    which are cached by their requirements tell two states of the code apart.

    Raises:
        ValueError: the project is not installed, so that its requirements are unknown.
    """
    files = dict(wheel_files())
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    version = f"{__version__.partition('+')[0]}+{digest.hexdigest()[:N_DIGIT]}"
    files |= metadata_files(f"{PACKAGE}-{version}.dist-info", version, files)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{PACKAGE}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, LONG_AGO), content, zipfile.ZIP_DEFLATED)
    return path


def wheel_files() -> Iterator[tuple[str, bytes]]:
    """Yield the name in the wheel and the content of each file of the packages and the configs."""
    home = Path(HOME)
    folders = {home / PACKAGE: PACKAGE, home / INSTALLED: TASKS}
    if (home / INSTALLED).name == FOLDER:  # a checkout, whose configs lie beside the package
        folders[home / "configs"] = CONFIGS
    for folder, place in folders.items():
        for path in sorted(folder.rglob("*")):
            inside = path.relative_to(folder)
            is_hidden = any(part.startswith((".", "__pycache__")) for part in inside.parts)
            if path.is_file() and not is_hidden:
                content = path.read_bytes()
                if place == TASKS and path.suffix == ".py":
                    content = IMPORT.sub(rf"\g<1>{TASKS}", content.decode()).encode()
                yield f"{place}/{inside.as_posix()}", content


def metadata_files(
    folder: str, version: str, files: Mapping[str, bytes]
) -> Iterable[tuple[str, bytes]]:
    """Return the names and contents of the files that describe a wheel, its list of files last.

    Args:
        folder: folder of these files in the wheel.
        files: the other files of the wheel.
    """
    package = installed()  # of a checkout that is the working directory, in an .egg-info
    known = package.read_text("METADATA") or package.read_text("PKG-INFO") or ""
    described = re.sub("(?m)^Version: .*$", f"Version: {version}", known, count=1)
    found = {
        f"{folder}/METADATA": described.encode(),
        f"{folder}/WHEEL": WHEEL.encode(),
        f"{folder}/entry_points.txt": ENTRY_POINTS.encode(),
        f"{folder}/top_level.txt": f"{PACKAGE}\n{TASKS}\n".encode(),
    }
    rows = [f"{name},{record_digest(content)}" for name, content in {**files, **found}.items()]
    found[f"{folder}/RECORD"] = "\n".join([*rows, f"{folder}/RECORD,,", ""]).encode()
    return found.items()


def record_digest(content: bytes) -> str:
    """Return digest and size of a file as the file RECORD of a wheel has them."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    return f"sha256={digest},{len(content)}"


def pinned_requirements(extras: Iterable[str] = (), more: Iterable[str] = ()) -> list[str]:
    """Return all packages that this project needs, those that they need included, with their
    installed versions: `numpy==2.3.1`.

    A local version such as that of `torch==2.13.0+cpu` is left out, since it names the index that
    the package came from.

    Args:
        extras: extras of the project that are needed besides its base.
        more: other packages that are needed, by their names on a registry.

    Raises:
        ValueError: the project is not installed, so that its requirements are unknown.
    """
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [(installed(), extra) for extra in ("", *extras)]
    waiting += [(distribution(name), "") for name in more]
    while waiting:
        package, extra = waiting.pop()
        name = canonicalize_name(package.metadata["Name"])
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        found[name] = package.version.partition("+")[0]
        for line in package.requires or ():
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                try:
                    other = distribution(needed.name)
                except PackageNotFoundError:  # left out on purpose, or part of another package
                    continue
                waiting += [(other, inner) for inner in ("", *needed.extras)]
    del found[PROJECT]
    return [f"{name}=={version}" for name, version in sorted(found.items())]


def installed() -> Distribution:
    """Return the installed distribution of this project.

    Raises:
        ValueError: there is none, as where a checkout is only on the path.
    """
    try:
        return distribution(PROJECT)
    except PackageNotFoundError:
        raise ValueError(
            f"{PROJECT} is not installed, so that the requirements of a model are unknown: "
            "pip install -e . in the checkout"
        ) from None
