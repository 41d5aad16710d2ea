"""Finds the tables that a package's files export, and reads `name:setting=value` entries.

A file joins a table by existing: `models/mlp.py` exports `MODELS = {"mlp": Spec(...)}`.
"""

import contextlib
import difflib
import functools
import importlib
import inspect
import math
import pkgutil
import re
import sys
import types
import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Annotated, Any, NamedTuple

from catdog_jax.types import InputError, Spec

CHOOSE = "cv"  # typed in place of a number that is to be chosen by cross-validation: None


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
    for info in pkgutil.iter_modules(importlib.import_module(package).__path__):
        module = importlib.import_module(f"{package}.{info.name}")
        entries = getattr(module, name, {})
        if twice := found.keys() & entries:
            raise RuntimeError(f"{module.__name__} registers {twice}, as another module does")
        found |= entries
    return types.MappingProxyType(dict(sorted(found.items())))


def unknown(kind: str, value: str, known: Iterable[str], advice: str = "") -> InputError:
    """Build the error for a name that is not in a table, with the closest known name."""
    names = sorted(known)
    close = difflib.get_close_matches(value, names, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    text = f"unknown {kind} {value!r}; known: {', '.join(names)}{hint}"
    return InputError(f"{text}; {advice}" if advice else text)


def split_list(flag: str, text: str, known: Collection[str] = ()) -> tuple[str, ...]:
    """Split a flag's list of entries, of the known ones if there are any, at its commas.

    Raises:
      InputError: an empty or unknown entry, or one given twice.
    """
    entries = tuple(part.strip() for part in text.split(","))
    for index, entry in enumerate(entries):
        if not entry:
            raise InputError(f"--{flag}={text!r}: an entry is empty; write them like a,b,c")
        if known and entry not in known:
            raise unknown(f"entry of --{flag}:", entry, known, "give a list of them")
        if entry in entries[:index]:
            raise InputError(f"--{flag}={text}: {entry!r} is given twice; give it once")
    return entries


def documented(owner: Any, section: str) -> dict[str, str]:
    """Read the entries 'name: text' of one section of a docstring, each joined to one line."""
    found: dict[str, str] = {}
    _, _, below = (inspect.getdoc(owner) or "").partition(f"{section}:\n")
    for line in below.split("\n\n")[0].splitlines():
        if entry := re.match(r"  (\w+): (.*)", line):
            name, found[entry[1]] = entry.groups()
        else:
            found[name] += f" {line.strip()}"
    return found


class Range(NamedTuple):
    """The numbers that a setting may be, given in its annotation: `Annotated[int, Range(1, 16)]`.

    Of a tuple each number is meant. With CHOOSE beside it None may be typed: `Annotated[float |
    None, Range(0, 1), CHOOSE]`.

    Attributes:
      low, high: smallest and largest allowed.
      above, below: every number allowed is larger, and smaller.
    """

    low: float = -math.inf
    high: float = math.inf
    above: float = -math.inf
    below: float = math.inf

    def allows(self, value: Any) -> bool:
        """Return whether a number, or each one of a tuple, is finite and in the range."""
        numbers = value if isinstance(value, tuple) else (value,)
        return all(self.low <= x <= self.high and self.above < x < self.below for x in numbers)

    def __str__(self) -> str:
        """Write the range for a person."""
        ends = [(">", self.above), ("≥", self.low), ("≤", self.high), ("<", self.below)]
        return " and ".join(f"{sign} {end:.10g}" for sign, end in ends if math.isfinite(end))


class OneOf(NamedTuple):
    """The texts that a setting may be, given in its annotation like `Range`."""

    names: tuple[str, ...]


def check(where: str, value: Any, annotation: Any) -> None:
    """Check a value against the `Range` or `OneOf` in an annotation; None passes.

    Args:
      where: what has the value, for messages: 'mlp: width' or '--num_members'.
      value: of the annotated type.
      annotation: with its extras, as `typing.get_type_hints` gives it.

    Raises:
      InputError: it is not allowed.
    """
    kind, allowed, _ = _parts(annotation)
    if allowed is None or value is None:
        return
    if isinstance(allowed, OneOf):
        if value not in allowed.names:
            raise unknown(where.split()[-1], value, allowed.names)
        return
    parts = typing.get_args(kind)  # (int, int) of tuple[int, int]; (int, ...) of one of any length
    if not allowed.allows(value) or (parts and ... not in parts and len(parts) != len(value)):
        text = "-".join(map(str, value)) if parts else value
        raise InputError(f"{where}={text} is not allowed; give {_wanted(annotation)}")


def convert(where: str, text: str, annotation: Any) -> Any:
    """Turn what a person typed into an annotated type, and check it.

    `bool` takes true/false, `tuple[int, ...]` 32-64-128, a number with CHOOSE in its annotation
    also 'cv', which is None; `str`, `int` and `float` themselves. Of `T | None` T is meant.

    Args:
      where, annotation: see `check`.
      text: as typed.

    Raises:
      InputError: a text of another type, or a value that is not allowed.
    """
    kind, _, can_choose = _parts(annotation)
    if can_choose and text == CHOOSE:
        return None
    try:
        if kind is bool:
            value: Any = {"true": True, "false": False, "1": True, "0": False}[text.lower()]
        elif typing.get_origin(kind) is tuple:
            value = tuple(typing.get_args(kind)[0](part) for part in text.split("-"))
        else:
            value = kind(text)
    except TypeError:  # a type of a person's own function that no text can be turned into
        raise InputError(
            f"{where} is declared as {kind}, which cannot be typed; declare it as str, int, float, "
            "bool or tuple[int, ...]"
        ) from None
    except (ValueError, KeyError):
        raise InputError(f"{where}={text} is not allowed; give {_wanted(annotation)}") from None
    check(where, value, annotation)
    return value


def _parts(annotation: Any) -> tuple[Any, Range | OneOf | None, bool]:
    """Split an annotation into its type, what it allows, and whether CHOOSE may be typed."""
    kind, *extras = [annotation]
    if typing.get_origin(annotation) is Annotated:
        kind, *extras = typing.get_args(annotation)
    if isinstance(kind, types.UnionType):
        kind = typing.get_args(kind)[0]
    allowed = next((extra for extra in extras if isinstance(extra, Range | OneOf)), None)
    return kind, allowed, CHOOSE in extras


def _wanted(annotation: Any) -> str:
    """Write what is allowed for a person."""
    kind, allowed, can_choose = _parts(annotation)
    words = {bool: "true or false", int: "a whole number", float: "a finite number"}
    parts = typing.get_args(kind)
    several = "whole numbers like 32-64-128" if ... in parts else f"{len(parts)} whole numbers"
    text = words.get(kind, several)
    limits = f" {allowed}" if isinstance(allowed, Range) else ""
    choice = f", or {CHOOSE} to choose it by cross-validation" if can_choose else ""
    return text + limits + choice


def find_spec(kind: str, name: str, known: Mapping[str, Any], make: type, wanted: str) -> Any:
    """Look up what a registered name or the dotted path of something of a person's own stands for.

    Args:
      kind: what is looked for, for messages: 'model'.
      name: a key of `known`, or a dotted path to a function or to a value of the class `make`.
      known: name -> spec.
      make: class of the specs, function -> spec.
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
    return make(found)


class Kind(NamedTuple):
    """What a person may name: the models, the rules or the estimators.

    Attributes:
      name: for messages: 'model'.
      package: dotted name of the package whose files register them.
      tables: the name of their tables.
      call: how a builder is called, for messages.
    """

    name: str
    package: str
    tables: str
    call: str

    def table(self) -> Mapping[str, Spec]:
        """Return every registered one by its name."""
        return table(self.package, self.tables)

    def is_own(self, entry: str) -> bool:
        """Return whether an entry names one of a person's own."""
        return parse_entry(entry)[0] not in self.table()

    def spec(self, entry: str) -> Spec:
        """Look up what an entry names.

        Args:
          entry: 'name' or 'name:setting=value:…'; the name is registered, or the dotted path of a
            builder, or of a `Spec`.

        Raises:
          InputError: an unknown name, or a path that leads to nothing callable.
        """
        return find_spec(self.name, parse_entry(entry)[0], self.table(), Spec, self.call)

    def settings(self, entry: str) -> dict[str, Any]:
        """Read the settings that an entry gives its builder; see `typed_settings`."""
        return typed_settings(entry, self.spec(entry).build, parse_entry(entry)[1])

    def build(self, entry: str, *args: Any, **proposed: Any) -> Any:
        """Call the builder that an entry names, with the settings typed for it.

        Args:
          entry: see `spec`.
          *args: what every builder of the kind is given.
          **proposed: settings proposed by the caller; each is passed only where the builder takes
            it and the entry does not set it.

        Raises:
          InputError: an unknown name or setting, a value that its annotation does not allow, or a
            builder that cannot be called so.
        """
        function, settings = self.spec(entry).build, self.settings(entry)
        known = _keywords(function)
        settings = {key: value for key, value in proposed.items() if key in known} | settings
        try:
            bound = inspect.signature(function).bind(*args, **settings)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"{self.name} {entry!r} cannot be called ({error}); give a function {self.call}"
            ) from error
        bound.apply_defaults()
        hints = _hints(function)
        for name, value in bound.arguments.items():
            check(f"{parse_entry(entry)[0]}: {name}", value, hints.get(name))
        with own_code(f"{self.name} {entry!r}", "builder", self.is_own(entry)):
            return function(*bound.args, **bound.kwargs)


def dotted(path: str, kind: str) -> Any:
    """Import `package.module.attribute`.

    Raises:
      InputError: the module does not exist or fails, or has no such attribute.
    """
    module_name, _, attribute = path.rpartition(".")
    if module_name.partition(".")[0] in sys.stdlib_module_names:  # it would be called
        raise InputError(f"{kind} {path!r} is Python's own; give package.module.name of yours")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # '.x' raises ValueError; a module of one's own may raise anything
        why = " ".join(str(error).split()) if isinstance(error, ImportError) else reason(error)
        raise InputError(
            f"{kind} {path!r}: cannot import {module_name!r} ({why}); "
            "give package.module.name, importable from here"
        ) from error
    if not hasattr(module, attribute):
        raise InputError(f"{kind} {path!r}: module {module_name!r} has no {attribute!r}")
    return getattr(module, attribute)


@contextlib.contextmanager
def own_code(what: str, part: str, is_own: bool = True) -> Iterator[None]:
    """Make an InputError of whatever a part of a person's own code raises, and name what it is of.

    A fault of ours (not `is_own`) is raised as it is.
    """
    try:
        yield
    except Exception as error:  # a person's own code may raise anything
        if isinstance(error, InputError | MemoryError) or not is_own:
            raise
        raise InputError(f"{what} fails ({reason(error)}); mend its {part}") from error


def reason(error: Exception) -> str:
    """Write an error on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def is_code(entry: str) -> bool:
    """Return whether an entry may name code of a person's own: a dotted path."""
    return "." in entry.partition(":")[0]


def printable(text: str) -> str:
    """Write foreign text so that a terminal shows it and obeys nothing in it."""
    return "".join(x if x.isprintable() else ascii(x)[1:-1] for x in text)


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

    Args:
      entry: what the person typed, for messages.
      function: its keyword-only parameters are the known settings; see `convert`.
      settings: name -> text.
      hidden: parameters of the function that are no settings.

    Raises:
      InputError: an unknown setting, a value of another type, or one out of range.
    """
    known = _keywords(function) - set(hidden)
    for name in settings:
        if name not in known:
            raise unknown(f"setting of {entry!r}:", name, known or ["(none)"])
    hints = _hints(function)
    return {
        name: convert(f"{entry!r}: {name}", text, hints.get(name, str))
        for name, text in settings.items()
    }


def _keywords(function: Callable[..., Any]) -> set[str]:
    parameters = inspect.signature(function).parameters
    return {name for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY}


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(getattr(function, "func", function), include_extras=True)
    except (NameError, TypeError):  # a person's own function may have hints for readers only
        return {}
