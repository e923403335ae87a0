"""Import of soundfile, which reads and writes sound files, and lengths by their headers."""

from io import BytesIO
from types import ModuleType

from lslm_lightning.extras import MissingPackageError


def import_soundfile() -> ModuleType:
    """Return the module `soundfile`.

    Raises:
        MissingPackageError: the package is not installed.
    """
    try:
        import soundfile
    except ModuleNotFoundError:
        raise MissingPackageError("soundfile", "audio") from None
    module: ModuleType = soundfile
    return module


def seconds_of(data: bytes) -> float | None:
    """Return the length of a recording by its header; None if the bytes are no sound file, or the
    package soundfile is not installed.
    """
    try:
        soundfile = import_soundfile()
    except MissingPackageError:
        return None
    try:
        return float(soundfile.info(BytesIO(data)).duration)
    except soundfile.LibsndfileError:
        return None
