"""Screenshots of pages in Chromium."""

import io
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
OPTIONS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --hide-scrollbars "
    "--disable-background-networking --disable-component-update --disable-sync"
)
SECONDS = 60
N_COLOUR = 96  # of a picture: text and charts need few


def screenshot(page: Path, picture: Path, width: int, height: int) -> None:
    """Write the top of a page as a PNG of few colours.

    Args:
        page: HTML file.
        picture: file to write.
        width: pixels of the window.
        height: pixels of the window.

    Raises:
        RuntimeError: Chromium is not installed, or wrote no picture.
    """
    if CHROMIUM is None:
        raise RuntimeError("screenshots need chromium on the PATH")
    with TemporaryDirectory() as folder:
        written = Path(folder) / "page.png"
        subprocess.run(
            [
                CHROMIUM,
                *OPTIONS.split(),
                f"--user-data-dir={folder}/profile",
                f"--window-size={width},{height}",
                f"--screenshot={written}",
                page.absolute().as_uri(),
            ],
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
        if not written.is_file():
            raise RuntimeError(f"chromium wrote no picture of {page}")
        image = Image.open(io.BytesIO(written.read_bytes())).convert("RGB")
    picture.parent.mkdir(parents=True, exist_ok=True)
    image.quantize(N_COLOUR).save(picture, optimize=True)
