"""Finds the tables that a package's files export, and reads `name:setting=value` entries.

A file joins a table by existing: `models/mlp.py` exports `MODELS = {"mlp": ModelSpec(...)}`.
"""

import difflib
import functools
import importlib
import inspect
import math
import pkgutil
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from catdog_jax.types import InputError


@functools.cache
def table(package: str, name: str) -> Mapping[str, Any]:
    """Collect the dict called `name` from every module of `package`, sorted by key.

    Args:
      package: dotted name, for instance 'catdog_jax.models'.
      name: the table, for instance 'MODELS'.

    Raises:
      RuntimeError: two modules register the same key.
    """
    found: dict[str, Any] = {}
    owner: dict[str, str] = {}
    for info in pkgutil.iter_modules(importlib.import_module(package).__path__):
        module = importlib.import_module(f"{package}.{info.name}")
        for key, value in getattr(module, name, {}).items():
            if key in found:
                raise RuntimeError(f"{key!r} is registered by {owner[key]} and {module.__name__}")
            found[key], owner[key] = value, module.__name__
    return types.MappingProxyType(dict(sorted(found.items())))


def unknown(kind: str, value: str, known: Iterable[str], advice: str = "") -> InputError:
    """Build the error for a name that is not in a table, with the closest known name."""
    names = sorted(known)
    close = difflib.get_close_matches(value, names, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    text = f"unknown {kind} {value!r}; known: {', '.join(names)}{hint}"
    return InputError(f"{text}; {advice}" if advice else text)


def check_known(kind: str, value: str, known: Collection[str]) -> None:
    """Check that a name is in a table.

    Raises:
      InputError: it is not; see `unknown`.
    """
    if value not in known:
        raise unknown(kind, value, known)


def check_whole(owner: str, name: str, value: int, low: int, high: int | None = None) -> None:
    """Check that a whole number is in low..high.

    Args:
      owner: name of the model or estimator, for the message.
      name: name of the setting.
      value: what was given.
      low: smallest allowed.
      high: largest allowed; None: no limit.

    Raises:
      InputError: the value is not in the range.
    """
    if value < low or (high is not None and value > high):
        span = f"≥ {low}" if high is None else f"in {low}..{high}"
        raise InputError(f"{owner}: {name}={value} is not allowed; give a whole number {span}")


def check_positive(owner: str, name: str, value: float) -> None:
    """Check that a number is finite and > 0; see `check_whole`."""
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{owner}: {name}={value} is not allowed; give a finite number > 0")


def find_spec(kind: str, name: str, known: Mapping[str, Any], make: type, wanted: str) -> Any:
    """Look up what a registered name or the dotted path of something of a person's own stands for.

    Args:
      kind: what is looked for, for messages: 'model'.
      name: a key of `known`, or a dotted path to a function or to a value of the class `make`.
      known: name -> spec.
      make: class of the specs, (function, summary) -> spec.
      wanted: what a function must be, for messages.

    Raises:
      InputError: an unknown name, or a path that leads to nothing callable.
    """
    if name in known:
        return known[name]
    if "." not in name:
        raise unknown(kind, name, known, "or give the dotted path of one of your own")
    found = dotted(name, kind)
    if isinstance(found, make):
        return found
    if not callable(found):
        raise InputError(f"{kind} {name!r} is a {type(found).__name__}; give a function {wanted}")
    return make(found, (inspect.getdoc(found) or name).splitlines()[0])


def dotted(path: str, kind: str) -> Any:
    """Import `package.module.attribute`.

    Raises:
      InputError: the module does not exist or fails, or has no such attribute.
    """
    module_name, _, attribute = path.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # '.x' raises ValueError; a module of one's own may raise anything
        why = " ".join(str(error).split()) or type(error).__name__
        why = why if isinstance(error, ImportError) else f"{type(error).__name__}: {why}"
        raise InputError(
            f"{kind} {path!r}: cannot import {module_name!r} ({why}); "
            "give package.module.name, importable from here"
        ) from error
    if not hasattr(module, attribute):
        raise InputError(f"{kind} {path!r}: module {module_name!r} has no {attribute!r}")
    return getattr(module, attribute)


def parse_entry(text: str) -> tuple[str, dict[str, str]]:
    """Split 'mlp:width=256:depth=3' into ('mlp', {'width': '256', 'depth': '3'}).

    Raises:
      InputError: a setting without '=', an empty name, or a setting given twice.
    """
    name, *parts = text.strip().split(":")
    settings: dict[str, str] = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if not equals or not key or not value:
            raise InputError(f"{text!r}: {part!r} is not setting=value; write name:setting=value")
        if key in settings:
            raise InputError(f"{text!r}: setting {key!r} is given twice; give it once")
        settings[key] = value
    if not name:
        raise InputError(f"{text!r}: the name is empty; write name or name:setting=value")
    return name, settings


def typed_settings(
    entry: str,
    function: Callable[..., Any],
    settings: Mapping[str, str],
    hidden: Collection[str] = (),
) -> dict[str, Any]:
    """Turn the settings of an entry into the types of a function's keyword-only parameters.

    `bool` takes true/false, `tuple[int, ...]` takes 32-64-128, `str`, `int` and `float` themselves.

    Args:
      entry: what the person typed, for messages.
      function: its keyword-only parameters are the known settings.
      settings: name -> text.
      hidden: parameters of the function that are no settings.

    Raises:
      InputError: an unknown setting or a value of another type.
    """
    parameters = {
        name: p
        for name, p in inspect.signature(function).parameters.items()
        if p.kind is inspect.Parameter.KEYWORD_ONLY and name not in hidden
    }
    try:
        hints = typing.get_type_hints(getattr(function, "func", function))
    except (NameError, TypeError):  # a person's own function may have hints for readers only
        hints = {}
    values: dict[str, Any] = {}
    for name, text in settings.items():
        if name not in parameters:
            raise unknown(f"setting of {entry!r}:", name, parameters or ["(none)"])
        values[name] = _convert(entry, name, text, hints.get(name, str))
    return values


def _convert(entry: str, name: str, text: str, kind: Any) -> Any:
    if isinstance(kind, types.UnionType):
        kind = typing.get_args(kind)[0]
    try:
        if kind is bool:
            return {"true": True, "false": False, "1": True, "0": False}[text.lower()]
        if typing.get_origin(kind) is tuple:
            return tuple(typing.get_args(kind)[0](part) for part in text.split("-"))
        return kind(text)
    except TypeError:  # a type of a person's own function that no text can be turned into
        raise InputError(
            f"{entry!r}: {name} is declared as {kind}, which cannot be typed; declare it as str, "
            "int, float, bool or tuple[int, ...]"
        ) from None
    except (ValueError, KeyError):
        wanted = {bool: "true or false", int: "a whole number", float: "a number"}.get(
            kind, "whole numbers joined by '-', like 32-64-128"
        )
        raise InputError(f"{entry!r}: {name}={text} is not {wanted}") from None
