"""Packages of the wheel, which calls the folder `tasks` `lslm_tasks`.

A wheel must not claim a name as common as `tasks` in the environments of its users. An editable
install and a checkout leave the folder its name; `lslm_lightning.task_package` lets either name be
used for either.
"""

import re
import sys
from pathlib import Path

from setuptools import find_packages, setup
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


packages = find_packages(include=["lslm_lightning*", f"{FOLDER}*"])
folders = {}
if "editable_wheel" not in sys.argv:
    packages = [re.sub(rf"^{FOLDER}\b", PACKAGE, name) for name in packages]
    folders = {PACKAGE: FOLDER}
setup(packages=packages, package_dir=folders, cmdclass={"build_py": BuildPy})
