"""Names of the package of tasks: `tasks` in a checkout, `lslm_tasks` in a wheel.

If only one of them is installed, it can be imported under both names, so that imports and class
paths work in both places. A user's own package called `tasks` is not affected.

Every command imports this file, so it imports other modules when it needs them.
"""

import os
import sys

TYPE_CHECKING = False  # type checkers take it for that of `typing`, whose import is slow
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

NAMES = ("lslm_tasks", "tasks")
HOME = os.path.dirname(os.path.dirname(__file__))
INSTALLED = next((name for name in NAMES if os.path.isdir(os.path.join(HOME, name))), NAMES[0])
[ALIAS] = {*NAMES} - {INSTALLED}


def is_task_package(name: str) -> bool:
    """Return whether `name` is imported from the folder of tasks that belongs to this package."""
    from importlib.util import find_spec
    from pathlib import Path

    spec = find_spec(name) if name in NAMES else None
    folders = () if spec is None else spec.submodule_search_locations or ()
    return Path(HOME, INSTALLED) in map(Path, folders)


class AliasLoader:
    """Loader that returns an existing module for an alias. It has no base class because importing
    `importlib.abc` is slow.

    Args:
        name: real name of the module.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def create_module(self, spec: "ModuleSpec") -> "ModuleType":
        """Return the module, imported under its real name."""
        from importlib import import_module

        module = import_module(self.name)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: "ModuleType") -> None:
        """Restore the module's own spec, which the import under the alias has replaced."""
        module.__spec__ = self._spec


class AliasFinder:
    """Finder that imports the package `ALIAS` and its modules as those of `INSTALLED`."""

    def find_spec(
        self,
        fullname: str,
        path: "Sequence[str] | None",
        target: "ModuleType | None" = None,
    ) -> "ModuleSpec | None":
        """Return the spec of the module that `fullname` is an alias of.

        Returns:
            None if there is no such module, or if another package is called `ALIAS`.
        """
        first, dot, rest = fullname.partition(".")
        if first != ALIAS or not self.is_free():
            return None
        from importlib.machinery import ModuleSpec
        from importlib.util import find_spec

        name = f"{INSTALLED}{dot}{rest}"
        found = find_spec(name) if is_task_package(INSTALLED) else None
        if found is None:
            return None
        loader = AliasLoader(name)
        spec = ModuleSpec(fullname, loader, origin=found.origin)  # type: ignore[arg-type]
        spec.submodule_search_locations = found.submodule_search_locations
        return spec

    def is_free(self) -> bool:
        """Return whether `ALIAS` is unused or already refers to this project's package."""
        if ALIAS in sys.modules:
            return sys.modules[ALIAS] is sys.modules.get(INSTALLED)
        others = (finder for finder in sys.meta_path if finder is not self)
        return all(finder.find_spec(ALIAS, None) is None for finder in others)


def add_alias() -> None:
    """Allow both names of the package of tasks to be imported from now on."""
    if not any(isinstance(finder, AliasFinder) for finder in sys.meta_path):
        # before the finder of files, which would load the modules of ALIAS a second time
        sys.meta_path.insert(0, AliasFinder())
