"""An empty working directory and cache for every test, as those of corpora have."""

from tests.corpora.conftest import alone

__all__ = ["alone"]
