"""Versions of the packages from which built-in corpora are made."""

from collections.abc import Mapping
from importlib import metadata


def installed_versions(packages: Mapping[str, str]) -> dict[str, str]:
    """Return distribution -> installed version, for those of `packages` that are installed."""
    installed = {}
    for name in packages:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return installed


def comparability(corpus: str, packages: Mapping[str, str]) -> str:
    """Return the reason why scores on a built-in corpus cannot be compared with those of other
    machines; "" if they can.

    Args:
        corpus: name of the corpus, for the message.
        packages: distribution -> version in constraints.txt that the corpus requires.
    """
    installed = installed_versions(packages)
    others = [
        f"{name} {installed[name]} in place of {version}"
        if name in installed
        else f"no {name} in place of {version}"
        for name, version in packages.items()
        if installed.get(name) != version
    ]
    if not others:
        return ""
    return (
        f"corpus {corpus} is made from {', '.join(others)}: scores do not compare with those of "
        "other installations; install with --constraint constraints.txt for the corpus that "
        "published scores are on"
    )
