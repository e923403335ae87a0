"""Classes of a task can be imported from its package, which imports them on first use."""

import subprocess
import sys
from importlib import import_module

import pytest

PACKAGES = (
    "language_modeling",
    "question_answering",
    "speech_recognition",
    "summarization",
    "translation",
)


@pytest.mark.parametrize("name", PACKAGES)
def test_every_exported_name_is_there(name: str) -> None:
    package = import_module(f"tasks.{name}")
    for exported in package.__all__:
        found = getattr(package, exported)
        assert found.__name__ == exported
        assert found.__module__.startswith(f"tasks.{name}.")
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = package.Nothing


@pytest.mark.slow
def test_packages_alone_import_nothing_large() -> None:
    imports = "; ".join(f"import tasks.{name}" for name in PACKAGES)
    check = f"{imports}; import sys; sys.exit(any(m in sys.modules for m in ('torch', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
