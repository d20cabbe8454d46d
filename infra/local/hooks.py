"""Replacing private functions of MiniStack, and refusing to when they are not the ones we know."""

import importlib.metadata
import inspect
import sys
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any, TypeVar

VERSION = "1.5.33"

# What goes through MiniStack, which itself says little of it. Json: the members of a request, the properties of a
# resource in a template, what a service keeps of one.
Headers = dict[str, str]
Query = dict[str, list[str]]
Json = dict[str, Any]
# Status, headers and body, which is a text in some answers.
Answer = tuple[int, Headers, bytes]
AnyAnswer = tuple[int, Headers, bytes | str]

# Of a service: method, path, headers, body, query. Of all services: the request's id as well.
Handler = Callable[[str, str, Headers, bytes, Query], Awaitable[Answer]]
Dispatch = Callable[[str, str, Headers, bytes, Query, str], Awaitable[AnyAnswer]]
# Of one operation of an API in JSON.
Operation = Callable[[Json], Answer]

# Of CloudFormation's resources: logical id, properties, stack; and physical id, properties of before and of now, stack,
# logical id. They give the physical id and what Fn::GetAtt finds.
Made = tuple[str, Json]
Create = Callable[[str, Json, str], Made]
Update = Callable[[str, Json, Json, str, str | None], Made]
# Type, physical id, properties, stack, logical id.
Delete = Callable[[str, str, Json, str | None, str | None], None]

Owner = ModuleType | dict
Function = TypeVar("Function", bound=Callable)


def check_version() -> None:
    """Refuse to start with another MiniStack than the one that the patches were written for."""
    found = importlib.metadata.version("ministack")
    if found != VERSION:
        sys.exit(f"the local AWS is written for MiniStack {VERSION}, and {found} is installed; run start.py again")


def patch(owner: Owner, name: str, parameters: list[str], make: Callable[[Function], Function]) -> None:
    """Replace `owner.name`, or `owner[name]` of a dispatch table, by `make(original)`.

    `parameters`: the names that the parameters of the original must have.
    """
    original: Any = owner.get(name) if isinstance(owner, dict) else getattr(owner, name, None)
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
