"""Packages of the wheel, which calls the folder `tasks` `lslm_tasks` and holds the example configs.

A wheel must not claim names as common as `tasks` and `configs` in the environments of its users. An
editable install and a checkout leave both folders where they are: `lslm_lightning.task_package`
lets either name of the tasks be used for either, and `lslm_lightning.configuration.example_configs`
finds the configs in both places.
"""

import re
import sys
from pathlib import Path

from setuptools import find_namespace_packages, setup
from setuptools.command.build_py import build_py

FOLDER = "tasks"
PACKAGE = "lslm_tasks"
IMPORT = re.compile(rf"^(\s*(?:from|import) ){FOLDER}\b", re.MULTILINE)


class BuildPy(build_py):
    """Copy modules; those of the task package import each other by its name in the wheel."""

    def build_module(self, module, module_file, package):
        outfile, copied = super().build_module(module, module_file, package)
        if PACKAGE in Path(outfile).parts and not self.editable_mode:
            source = Path(outfile).read_text("utf-8")
            Path(outfile).write_text(IMPORT.sub(rf"\g<1>{PACKAGE}", source), "utf-8")
        return outfile, copied


def folders_in(*names):
    """Return the names of the packages in some folders, folders without Python files included."""
    patterns = [pattern for name in names for pattern in (name, f"{name}.*")]
    return find_namespace_packages(include=patterns, exclude=["*__pycache__*"])


packages = folders_in("lslm_lightning", FOLDER)
folders = {}
if "editable_wheel" not in sys.argv:
    ours = [re.sub(rf"^{FOLDER}\b", PACKAGE, name) for name in packages]
    packages = [*ours, *(f"lslm_lightning.{name}" for name in folders_in("configs"))]
    folders = {PACKAGE: FOLDER, "lslm_lightning.configs": "configs"}
setup(packages=packages, package_dir=folders, cmdclass={"build_py": BuildPy})
