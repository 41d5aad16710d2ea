"""Runs an experiment from the command line: flags from its Config, errors to exit statuses.

0 done, already done, or help; 2 wrong input; 1 another failure; 130 or 143 interrupted and saved.
"""

import dataclasses
import inspect
import io
import logging
import sys
import textwrap
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any

from absl import flags

from catdog_jax.population import distributed
from catdog_jax.types import InputError
from experiments.shared.config import check_value
from experiments.shared.interrupt import GOES_ON, Interrupted, interruptible
from experiments.shared.processes import WorkerDone

HELP_FLAGS = ("--help", "-help", "--helpshort", "-helpshort", "--helpfull", "-h")


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


def main(module_name: str, config_class: type, run: Callable[[Any], Any]) -> None:
    """Parse the command line into a config, run, and leave with the exit status.

    Args:
      module_name: the experiment's `__spec__.name`, for the help and the caption.
      config_class: a frozen dataclass whose fields are made by `setting`; its AFTER, where it has
        one, is what a person who interrupts it is told of the same command.
      run: does the work; what it returns is ignored.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files may hold what no terminal writes
        sys.stdout.reconfigure(errors="backslashreplace")
    status = launch(sys.argv, module_name, config_class, run)
    sys.stdout.flush()
    sys.exit(status)


def launch(
    argv: Sequence[str], module_name: str, config_class: type, run: Callable[[Any], Any]
) -> int:
    """Do what `main` does and return the exit status instead of leaving."""
    if any(argument in HELP_FLAGS for argument in argv[1:]):
        print(help_text(module_name, config_class))
        return 0
    status, message = 1, "a fault of the program"
    try:
        config = parse_flags(argv, config_class)
        with interruptible(getattr(config_class, "AFTER", GOES_ON)):
            run(config)
        status = 0
    except WorkerDone:
        status = 0
    except InputError as error:
        status, message = 2, _told(error)
    except Interrupted as stop:
        status, message = 128 + stop.signal, str(stop)
        print(message, file=sys.stderr)
    except (RuntimeError, OSError, MemoryError) as error:
        # Ours are one clear line; XLA's and the system's are shortened to their first.
        status, message = getattr(error, "status", 1), _told(error)
    finally:
        distributed.leave(status, message)
    return status


def parse_flags(argv: Sequence[str], config_class: type) -> Any:
    """Turn command-line arguments into a config.

    Raises:
      InputError: an unknown flag, a value of a wrong type or range, or a stray argument.
    """
    values = flags.FlagValues()
    hints = typing.get_type_hints(config_class)
    for item in dataclasses.fields(config_class):
        kind, default = _plain_type(hints[item.name]), typing.cast(Any, item.default)
        if kind is bool:
            flags.DEFINE_bool(item.name, default, item.metadata["help"], flag_values=values)
        elif kind is tuple:
            continue
        else:
            flags.DEFINE(
                _Parser(item, kind),
                item.name,
                default,
                item.metadata["help"],
                flag_values=values,
                serializer=flags.ArgumentSerializer(),
            )
    positional = next(
        (f.name for f in dataclasses.fields(config_class) if _plain_type(hints[f.name]) is tuple),
        None,
    )
    try:
        rest = values(list(argv))[1:]
    except flags.Error as error:
        text = " ".join(str(error).split())
        raise InputError(f"{text}; see --helpshort") from None
    given = {
        item.name: values[item.name].value
        for item in dataclasses.fields(config_class)
        if item.name != positional
    }
    if positional is not None:
        given[positional] = tuple(rest)
    elif rest:
        raise InputError(f"{rest[0]!r} is not a flag; write --flag=value, see --helpshort")
    return config_class(**given)


def help_text(module_name: str, config_class: type) -> str:
    """Write the experiment's docstring and its flags with their defaults."""
    doc = inspect.getdoc(sys.modules.get(config_class.__module__)) or ""
    lines = [doc.strip(), "", f"Flags of python -m {module_name}:"]
    for item in dataclasses.fields(config_class):
        if item.default is dataclasses.MISSING:
            continue
        default = "" if item.default in (None, "", ()) else f" (default {item.default})"
        lines.append(f"  --{item.name}{default}")
        lines.append(
            textwrap.fill(
                item.metadata["help"], 92, initial_indent=" " * 6, subsequent_indent=" " * 6
            )
        )
    if hasattr(config_class, "epilogue"):
        lines += ["", config_class.epilogue()]
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
