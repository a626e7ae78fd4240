"""What a destination's settings may be, and reading them.

Each transport lists its settings as `Setting`; `read` holds a destination against that list and fills in the rest.
Secrets are never among them: a setting that ends in ``_env`` names an environment variable, and `secret` looks there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

from l1db.alert.transports import Destination
from l1db.errors import InputError

Type = Literal["text", "integer", "number", "flag", "texts", "map of texts", "map"]

_IS: dict[Type, str] = {
    "text": "a text",
    "integer": "a whole number",
    "number": "a number",
    "flag": "true or false",
    "texts": 'a list of texts, as ["a", "b"]',
    "map of texts": "an object whose values are texts",
    "map": "an object whose values are texts, numbers, true or false",
}


@dataclass(frozen=True)
class Setting:
    """A setting: its type, what it is where nobody says (None and ``required``: somebody must), and between what."""

    type: Type
    default: Any = None
    required: bool = False
    low: float | None = None
    high: float | None = None


HOST = Setting("text", required=True)
TIMEOUT = Setting("number", 20, low=0.1, high=3600)


def port(default: int | None = None) -> Setting:
    """A TCP port."""
    return Setting("integer", default, required=default is None, low=1, high=65535)


def connections(default: int) -> Setting:
    """How many connections a transport may have at once."""
    return Setting("integer", default, low=1, high=64)


def refuse(destination: Destination, why: str) -> InputError:
    """The error that says what is wrong with a destination."""
    return InputError(f"destination {destination.name}: {why}")


def read(destination: Destination, known: Mapping[str, Setting]) -> dict[str, Any]:
    """The settings of a destination, defaults filled in.

    Raises
    ------
    InputError
        If one is unknown, missing, of another type, or out of range.
    """
    for name in destination.settings:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            what = f"did you mean {near[0]}?" if near else f"{destination.kind} knows {', '.join(known)}"
            raise refuse(destination, f"unknown setting {name}: {what}")
    values: dict[str, Any] = {}
    for name, setting in known.items():
        value = destination.settings.get(name)
        if value is None:
            if setting.required:
                raise refuse(destination, f"setting {name} is missing ({_IS[setting.type]})")
            value = setting.default
        else:
            _check(destination, name, value, setting)
        values[name] = value
    return values


def secret(destination: Destination, setting: str, variable: str) -> str:
    """The value of the environment variable that a setting names.

    Raises
    ------
    InputError
        If it is not set.
    """
    if variable == "L1DB_DSN" or variable.startswith("PG"):
        raise refuse(destination, f"{setting}: {variable} is how l1db gets at its database, and goes to nobody")
    value = os.environ.get(variable)
    if not value:
        # A secret written where its name belongs must not reach a log.
        shown = (
            variable if re.fullmatch(r"[A-Z_][A-Z0-9_]*", variable) else "that it names (write its name, not a value)"
        )
        raise refuse(destination, f"{setting}: the environment variable {shown} is not set")
    return value


def _check(destination: Destination, name: str, value: Any, setting: Setting) -> None:
    if not _is(value, setting.type):
        raise refuse(destination, f"setting {name} is {_IS[setting.type]}, not {value!r}")
    if (setting.low is not None and value < setting.low) or (setting.high is not None and value > setting.high):
        raise refuse(destination, f"setting {name} is between {setting.low} and {setting.high}, not {value}")
    if setting.type == "text" and (not value.strip() or not value.isprintable()):
        raise refuse(destination, f"setting {name} is empty or has characters that cannot be printed")
    if setting.type == "texts" and not (value and all(text.strip() and text.isprintable() for text in value)):
        raise refuse(destination, f"setting {name} is empty, or one of its texts is or cannot be printed")
    if name == "host" and re.search(r"[\s/@]|:\d*$", value) and value.count(":") < 2:
        raise refuse(destination, f"setting host is a name or an address, not {value!r}")


def _is(value: Any, type_: Type) -> bool:
    match type_:
        case "text":
            return isinstance(value, str)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "flag":
            return isinstance(value, bool)
        case "texts":
            return isinstance(value, list | tuple) and all(isinstance(text, str) for text in value)
        case "map of texts":
            return isinstance(value, Mapping) and all(isinstance(text, str) for text in value.values())
        case "map":
            return isinstance(value, Mapping) and all(isinstance(v, str | int | float) for v in value.values())
