"""Import of torchmetrics in two steps, as of torchmetrics 1.9.

Lightning needs two classes of torchmetrics, but the package imports all its metrics, and with them
transformers and scipy.signal: a sixth of the processor time until the first step of a training.
"""

import sys
from _thread import allocate_lock
from importlib import import_module
from importlib.machinery import PathFinder

TYPE_CHECKING = False  # type checkers take it for that of `typing`, whose import is slow
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec
    from types import ModuleType

PACKAGE = "torchmetrics"
# what Lightning uses, by submodule, in the order in which the package imports them
CLASSES = {"metric": "Metric", "collections": "MetricCollection"}


def defer_torchmetrics() -> None:
    """Let `import torchmetrics` import only what Lightning uses of it, in this process.

    The rest is imported when another attribute of the package or another of its modules is used for
    the first time; from then on the package, which stays the same object, is as it would be without
    this function. Nothing happens if it was imported already.
    """
    if PACKAGE not in sys.modules:
        sys.meta_path.insert(0, DeferredPackage())


class DeferredPackage:
    """Finder and loader of torchmetrics until all of it is imported; then it removes itself. It has
    no base class because importing `importlib.abc` is slow.
    """

    def __init__(self) -> None:
        self._package: ModuleType | None = None  # once its first part is imported
        self._is_waiting = False  # the package, for the import of the rest
        self._lock = allocate_lock()  # of the line above
        self._loader: Loader | None = None  # its own

    # Finder

    def find_spec(
        self,
        fullname: str,
        path: "Sequence[str] | None",
        target: "ModuleType | None" = None,
    ) -> "ModuleSpec | None":
        """Return the spec of the package, or of one of its modules if the package is not complete.

        Returns:
            None for other modules, which other finders find.
        """
        if fullname.startswith(f"{PACKAGE}.") and self._is_waiting:
            self.complete()  # it may import this module
            return None if fullname not in sys.modules else _spec_of_imported(fullname)
        if fullname != PACKAGE:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            self._loader = spec.loader
            spec.loader = self  # type: ignore[assignment]  # importlib asks for no base class
        return spec

    # Loader

    def create_module(self, spec: "ModuleSpec") -> "ModuleType | None":
        """Return the package if its first part is imported."""
        assert self._loader is not None
        return self._package or self._loader.create_module(spec)

    def exec_module(self, module: "ModuleType") -> None:
        """Import the first part of the package, or all of it if that was done or is impossible."""
        assert self._loader is not None
        assert module.__spec__ is not None
        module.__loader__ = module.__spec__.loader = self._loader
        if self._package is None and self._import_part(module):
            return
        self._loader.exec_module(module)
        if vars(module).get("__getattr__") == self.attribute:
            del vars(module)["__getattr__"], vars(module)["__dir__"]
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def _import_part(self, module: "ModuleType") -> bool:
        """Import what Lightning uses; return False if this version of the package is made
        otherwise.
        """
        import logging

        names = vars(module)
        names["_logger"] = logging.getLogger(PACKAGE)
        try:
            about = import_module(f"{PACKAGE}.__about__")
            names |= {name: getattr(about, name) for name in about.__all__}
            import_module(f"{PACKAGE}.utilities")
            for part, name in CLASSES.items():
                names[name] = getattr(import_module(f"{PACKAGE}.{part}"), name)
        except (ImportError, AttributeError):
            for name in [name for name in sys.modules if name.startswith(f"{PACKAGE}.")]:
                del sys.modules[name]
            return False
        names |= {"__getattr__": self.attribute, "__dir__": self.directory}
        self._package = module
        self._is_waiting = True
        return True

    # What the package does with names that it lacks

    def attribute(self, name: str) -> object:
        """Return an attribute of the complete package; as of a module's `__getattr__`."""
        names = vars(self.complete())
        if name not in names:
            raise AttributeError(f"module {PACKAGE!r} has no attribute {name!r}")
        return names[name]

    def directory(self) -> list[str]:
        """Return the names in the complete package; as of a module's `__dir__`."""
        return sorted(vars(self.complete()))

    def complete(self) -> "ModuleType":
        """Import the rest of the package, and return it.

        Threads wait for the one that imports it. As with any package, one that asks for a module
        in the meantime may get an ImportError.
        """
        with self._lock:
            if self._is_waiting:
                self._is_waiting = False
                sys.modules.pop(PACKAGE, None)
        return import_module(PACKAGE)


def _spec_of_imported(name: str) -> "ModuleSpec":
    """Return a spec by which the import of a module returns the one that is imported already."""
    from importlib.machinery import ModuleSpec

    from lslm_lightning.task_package import AliasLoader

    return ModuleSpec(name, AliasLoader(name))  # type: ignore[arg-type]
