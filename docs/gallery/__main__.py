"""`python -m docs.gallery [FOLDER]`: make the reports that the gallery of the site shows."""

import sys
from pathlib import Path

from docs.gallery.making import MADE, make

if __name__ == "__main__":
    make(Path(sys.argv[1]).absolute() if sys.argv[1:] else MADE)
