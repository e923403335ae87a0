"""Names of the package of tasks: `tasks` in a checkout, `lslm_tasks` in a wheel.

Where one of them is installed, the other stands for it, so that imports and class paths of either
kind work in both places. A package of the user's that is called `tasks` is left alone.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

NAMES = ("lslm_tasks", "tasks")
HOME = Path(__file__).parents[1]
INSTALLED = next((name for name in NAMES if (HOME / name).is_dir()), NAMES[0])
[ALIAS] = {*NAMES} - {INSTALLED}


def is_task_package(name: str) -> bool:
    """Return whether `name` is imported from the folder of tasks that came with this package."""
    spec = find_spec(name) if name in NAMES else None
    return spec is not None and HOME / INSTALLED in map(Path, spec.submodule_search_locations or ())


class AliasLoader:
    """Loader of a module that has another name too; `importlib.abc` takes long to import.

    Args:
        name: other name of the module.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module itself, imported by its other name."""
        module = import_module(self.name)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Give the module back its own spec, which the import by a second name has replaced."""
        module.__spec__ = self._spec


class AliasFinder:
    """Search for `ALIAS` and its modules, which are those of `INSTALLED`."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Return the spec of the module that `fullname` stands for; None where there is none, and
        where something else is called `ALIAS`.
        """
        first, dot, rest = fullname.partition(".")
        if first != ALIAS or not self.is_free():
            return None
        name = f"{INSTALLED}{dot}{rest}"
        found = find_spec(name) if is_task_package(INSTALLED) else None
        if found is None:
            return None
        loader = AliasLoader(name)
        spec = ModuleSpec(fullname, loader, origin=found.origin)  # type: ignore[arg-type]  # no base
        spec.submodule_search_locations = found.submodule_search_locations
        return spec

    def is_free(self) -> bool:
        """Return whether `ALIAS` stands for our package, or for nothing so far."""
        if ALIAS in sys.modules:
            return sys.modules[ALIAS] is sys.modules.get(INSTALLED)
        others = (finder for finder in sys.meta_path if finder is not self)
        return all(finder.find_spec(ALIAS, None) is None for finder in others)


def add_alias() -> None:
    """Let both names be imported from now on."""
    if not any(isinstance(finder, AliasFinder) for finder in sys.meta_path):
        # before the finder of files, which would load the modules of ALIAS a second time
        sys.meta_path.insert(0, AliasFinder())
