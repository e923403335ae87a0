"""Import of soundfile, which reads and writes sound files."""

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
