"""Replacing private functions of MiniStack, and refusing to when they are not the ones we know."""

import importlib.metadata
import inspect
import sys
from types import ModuleType
from typing import Callable

VERSION = "1.5.33"


def check_version() -> None:
    found = importlib.metadata.version("ministack")
    if found != VERSION:
        sys.exit(f"the local AWS is written for MiniStack {VERSION}, and {found} is installed; run start.py again")


def patch(module: ModuleType, name: str, parameters: list[str], make: Callable[[Callable], Callable]) -> None:
    """Replace `module.name` by `make(original)`. `parameters`: the names the original must have."""
    original = getattr(module, name, None)
    found = list(inspect.signature(original).parameters) if callable(original) else None
    if found != parameters:
        sys.exit(
            f"MiniStack's {module.__name__}.{name} has moved: expected parameters {parameters}, found {found}. "
            "The patch must be read again before it is used with this version."
        )
    setattr(module, name, make(original))


def need(module: ModuleType, *names: str) -> None:
    """Refuse to start when `module` lacks a private name that a patch uses."""
    missing = [name for name in names if not hasattr(module, name)]
    if missing:
        sys.exit(f"MiniStack's {module.__name__} no longer has {', '.join(missing)}; the patches must be read again.")
