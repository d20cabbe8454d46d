"""Replacing private functions of MiniStack, and refusing to when they are not the ones we know."""

import importlib.metadata
import inspect
import sys
from collections.abc import Callable
from types import ModuleType

VERSION = "1.5.33"

Owner = ModuleType | dict


def check_version() -> None:
    """Refuse to start with another MiniStack than the one that the patches were written for."""
    found = importlib.metadata.version("ministack")
    if found != VERSION:
        sys.exit(f"the local AWS is written for MiniStack {VERSION}, and {found} is installed; run start.py again")


def patch(owner: Owner, name: str, parameters: list[str], make: Callable[[Callable], Callable]) -> None:
    """Replace `owner.name`, or `owner[name]` of a dispatch table, by `make(original)`.

    `parameters`: the names that the parameters of the original must have.
    """
    original = owner.get(name) if isinstance(owner, dict) else getattr(owner, name, None)
    found = list(inspect.signature(original).parameters) if callable(original) else None
    if found != parameters:
        where = "dispatch table" if isinstance(owner, dict) else owner.__name__
        sys.exit(
            f"MiniStack's {name} ({where}) has moved: expected parameters {parameters}, found {found}. "
            "The patch must be read again before it is used with this version."
        )
    replacement = make(original)
    if isinstance(owner, dict):
        owner[name] = replacement
    else:
        setattr(owner, name, replacement)


def need(module: ModuleType, *names: str) -> None:
    """Refuse to start when `module` lacks a private name that a patch uses."""
    missing = [name for name in names if not hasattr(module, name)]
    if missing:
        sys.exit(f"MiniStack's {module.__name__} no longer has {', '.join(missing)}; the patches must be read again.")
