"""The command line of an experiment: flags from its Config, errors to exit statuses.

0         done, already done, or help
1         a failure that is not the person's: disk full, folder in use, everything diverged
2         wrong input, named in one line
10, 11    kept for verdicts
129, 130, 143   interrupted by SIGHUP, SIGINT, SIGTERM; what was reached is saved
"""

import dataclasses
import inspect
import io
import logging
import math
import shlex
import sys
import textwrap
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import field
from typing import Any

from absl import flags

from catdog_jax.population import distributed
from catdog_jax.run.interrupt import GOES_ON, Interrupted, interruptible
from catdog_jax.run.processes import WorkerDone
from catdog_jax.types import InputError

HELP_FLAGS = ("--help", "-help", "--helpshort", "-helpshort", "--helpfull", "-h")


def setting(
    default: Any,
    help: str,
    *,
    low: Any = None,
    high: Any = None,
    above: Any = None,
    operational: bool = False,
) -> Any:
    """Declare a field of a Config.

    Args:
      default: its value where none is given.
      help: one line for `--helpshort`.
      low, high, above: its allowed range; `above` is exclusive.
      operational: it decides where and whether to work, but no number of the result.
    """
    metadata = {"help": help, "low": low, "high": high, "above": above, "operational": operational}
    return field(default=default, metadata=metadata)


def deciding(settings: Any) -> dict[str, Any]:
    """Give the settings that decide the numbers of a result; those that are None left out."""
    return {
        item.name: value
        for item in dataclasses.fields(settings)
        if not item.metadata["operational"] and (value := getattr(settings, item.name)) is not None
    }


def check_ranges(settings: Any) -> None:
    """Hold every field of a Config against its declared range.

    Raises:
      InputError: the first value out of range, with what is allowed.
    """
    for item in dataclasses.fields(settings):
        check_value(item, getattr(settings, item.name))


def check_value(item: dataclasses.Field, value: Any) -> None:
    """Hold one value against its field's range; None and text pass."""
    if value is None or isinstance(value, (str, bool, tuple)):
        return
    low, high, above = (item.metadata.get(name) for name in ("low", "high", "above"))
    good = (
        math.isfinite(value)
        and (low is None or value >= low)
        and (high is None or value <= high)
        and (above is None or value > above)
    )
    if not good:
        raise InputError(f"--{item.name}={value} is out of range; {_allowed(low, high, above)}")


def _allowed(low: Any, high: Any, above: Any) -> str:
    if above is not None:
        return f"give a finite number above {above:g}"
    if high is None:
        return f"give a finite number, at least {low}"
    return f"give a number from {low} to {high}"


def split_list(flag: str, text: str) -> tuple[str, ...]:
    """Split a flag's list of entries at its commas.

    Raises:
      InputError: an empty entry, or one given twice.
    """
    entries = tuple(part.strip() for part in text.split(","))
    for index, entry in enumerate(entries):
        if not entry:
            raise InputError(f"--{flag}={text!r}: an entry is empty; write them like a,b,c")
        if entry in entries[:index]:
            raise InputError(f"--{flag}={text}: {entry!r} is given twice; give it once")
    return entries


def whole_numbers(flag: str, text: str, low: int, high: int = 1_000_000) -> tuple[int, ...]:
    """Read a flag that is a list of whole numbers, and sort them.

    Raises:
      InputError: it is none, or a number is out of range.
    """
    try:
        found = tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        found = ()
    if not found or found[0] < low or found[-1] > high:
        raise InputError(
            f"--{flag}={text} is not allowed; give whole numbers from {low} to {high:,}, "
            "like 4,16,64"
        )
    return found


def command_line(settings: Any, experiment: str) -> str:
    """Write the command that makes a run: every setting that is not a default.

    Where things lie on this machine is left out, but for a mark that a folder is needed.
    """
    words = []
    for item in dataclasses.fields(settings):
        value = getattr(settings, item.name)
        if item.name == "data_dir" and value is not None:
            words.append("--data_dir=DIR")
        elif not item.metadata["operational"] and value != item.default:
            words.append(shlex.quote(f"--{item.name}={value}"))
    return " ".join(["python", "-m", f"experiments.{experiment}", *words])


def command(main: Callable[[Sequence[str]], int]) -> typing.NoReturn:
    """Run an experiment as a command: with its signals, on `sys.argv`, to its exit status."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files may hold what no terminal writes
        sys.stdout.reconfigure(errors="backslashreplace")
    with interruptible():
        status = main(sys.argv[1:])
    sys.stdout.flush()
    sys.exit(status)


def run(
    argv: Sequence[str], settings: type, work: Callable[[Any], Any], after: str = GOES_ON
) -> int:
    """Parse arguments into a Config, do the work, and return the exit status.

    Args:
      argv: without the program's name.
      settings: a frozen dataclass whose fields are made by `setting`, of the experiment's module.
      work: what it returns is ignored.
      after: what a person who interrupts it is told to do.
    """
    if any(argument in HELP_FLAGS for argument in argv):
        print(help_text(settings))
        return 0
    status, message = 1, "a fault of the program"
    try:
        work(parse_flags(argv, settings))
        status = 0
    except WorkerDone:
        status = 0
    except InputError as error:
        status, message = 2, _told(error)
    except Interrupted as stop:
        status, message = 128 + stop.signal, str(stop).replace(GOES_ON, after)
        print(message, file=sys.stderr)
    except (RuntimeError, OSError, MemoryError) as error:
        # Ours are one clear line; XLA's and the system's are shortened to their first.
        status, message = getattr(error, "status", 1), _told(error)
    finally:
        distributed.leave(status, message)
    return status


class _Parser(flags.ArgumentParser):
    """Parses one field of a Config, with one clear line where it cannot."""

    syntactic_help = ""

    def __init__(self, item: dataclasses.Field, kind: type):
        self.item, self.kind = item, kind

    def parse(self, argument: Any) -> Any:
        if argument is None or isinstance(argument, self.kind):
            return argument
        try:
            value = self.kind(argument)
        except ValueError:
            wanted = {int: "a whole number", float: "a number"}[self.kind]
            raise ValueError(f"{argument!r} is not {wanted}") from None
        check_value(self.item, value)
        return value

    def flag_type(self) -> str:
        return self.kind.__name__


def parse_flags(argv: Sequence[str], settings: type) -> Any:
    """Turn command-line arguments into a Config; its field of type tuple takes what is no flag.

    Raises:
      InputError: an unknown flag, a value of a wrong type or range, or a stray argument.
    """
    values = flags.FlagValues()
    hints = {name: _plain_type(hint) for name, hint in typing.get_type_hints(settings).items()}
    fields = dataclasses.fields(settings)
    for item in fields:
        kind, default = hints[item.name], typing.cast(Any, item.default)
        if kind is bool:
            flags.DEFINE_bool(item.name, default, item.metadata["help"], flag_values=values)
        elif kind is not tuple:
            flags.DEFINE(
                _Parser(item, kind),
                item.name,
                default,
                item.metadata["help"],
                flag_values=values,
                serializer=flags.ArgumentSerializer(),
            )
    try:
        rest = tuple(values(["", *argv])[1:])
    except flags.Error as error:
        text = " ".join(str(error).split())
        raise InputError(f"{text}; see --helpshort") from None
    positional = [item.name for item in fields if hints[item.name] is tuple]
    if rest and not positional:
        raise InputError(f"{rest[0]!r} is not a flag; write --flag=value, see --helpshort")
    given = {item.name: values[item.name].value for item in fields if item.name not in positional}
    return settings(**given, **dict.fromkeys(positional, rest))


def help_text(settings: type) -> str:
    """Write the experiment's docstring and its flags with their defaults."""
    module = sys.modules[settings.__module__]
    name = module.__spec__.name if module.__spec__ else module.__name__
    lines = [(inspect.getdoc(module) or "").strip(), "", f"Flags of python -m {name}:"]
    for item in dataclasses.fields(settings):
        default = "" if item.default in (None, "", ()) else f" (default {item.default})"
        lines.append(f"  --{item.name}{default}")
        lines.append(textwrap.indent(textwrap.fill(item.metadata["help"], 86), " " * 6))
    if hasattr(settings, "epilogue"):
        lines += ["", settings.epilogue()]
    return "\n".join(lines)


def _plain_type(hint: Any) -> type:
    if isinstance(hint, types.UnionType):
        hint = next(a for a in typing.get_args(hint) if a is not type(None))
    return typing.get_origin(hint) or hint


def _told(error: BaseException) -> str:
    """Print the first line of an error, and return it."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    print(f"error: {line}", file=sys.stderr)
    logging.getLogger("catdog_jax").debug("traceback", exc_info=error)
    return line
