"""The command line of an experiment: flags from its Config, errors to exit statuses.

0         done, already done, or help
1         a failure that is not the person's: disk full, folder in use, everything diverged
2         wrong input, named in one line
10, 11    kept for verdicts
129, 130, 143   interrupted by SIGHUP, SIGINT, SIGTERM; what was reached is saved
"""

import inspect
import io
import logging
import shlex
import sys
import textwrap
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import absl.flags

from catdog_jax.population import distributed
from catdog_jax.registry import check, convert, documented
from catdog_jax.run.interrupt import GOES_ON, Interrupted, interruptible
from catdog_jax.run.processes import WorkerDone
from catdog_jax.types import InputError

HELP_FLAGS = ("--help", "-help", "--helpshort", "-helpshort", "--helpfull", "-h")
OPERATIONAL = "operational"
T = TypeVar("T")
Operational = Annotated[T, OPERATIONAL]  # decides where and whether to work, but no number


@dataclass(frozen=True)
class Settings:
    """What the Config of every experiment is: its fields are the flags.

    Each is annotated with its type and what is allowed, as `registry.check` reads it, or is
    `Operational`; its help is in the section 'Attributes:' of the docstring of its class, or of one
    that this inherits it from. One whose default is a tuple takes what is no flag.
    """

    def __post_init__(self) -> None:
        """Raise InputError for the first value that is not allowed."""
        for name, annotation in flags_of(type(self)).items():
            check(f"--{name}", getattr(self, name), annotation)


def flags_of(settings: type) -> dict[str, Any]:
    """Give the annotation of each field of a Config."""
    return typing.get_type_hints(settings, include_extras=True)


def decides(annotation: Any) -> bool:
    """Return whether a flag decides the numbers of a result."""
    return OPERATIONAL not in getattr(annotation, "__metadata__", ())


def deciding(settings: Any) -> dict[str, Any]:
    """Give the settings that decide the numbers of a result; those that are None left out."""
    names = [name for name, annotation in flags_of(type(settings)).items() if decides(annotation)]
    return {name: value for name in names if (value := getattr(settings, name)) is not None}


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
    """Read a flag that is a list of whole numbers.

    Raises:
      InputError: they are none, are out of range, or one is given twice.
    """
    entries = split_list(flag, text)
    if not all(entry.isdecimal() and low <= int(entry) <= high for entry in entries):
        raise InputError(
            f"--{flag}={text} is not allowed; give whole numbers from {low} to {high:,}, like "
            f"{low},{min(low + 2, high)}"
        )
    return tuple(map(int, entries))


def command_line(settings: Any, experiment: str) -> str:
    """Write the command that makes a run: every setting that is not a default.

    Where things lie on this machine is left out, but for a mark that a folder is needed.
    """
    words = []
    for name, annotation in flags_of(type(settings)).items():
        value = getattr(settings, name)
        if name == "data_dir" and value is not None:
            words.append("--data_dir=DIR")
        elif decides(annotation) and value != getattr(type(settings), name):
            words.append(shlex.quote(f"--{name}={value}"))
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
      settings: a subclass of `Settings`, of the experiment's module.
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


def parse_flags(argv: Sequence[str], settings: type) -> Any:
    """Turn command-line arguments into a Config.

    Raises:
      InputError: an unknown flag, a value of a wrong type or range, or a stray argument.
    """
    values, known = absl.flags.FlagValues(), flags_of(settings)
    takes_rest = [name for name in known if isinstance(getattr(settings, name), tuple)]
    for name in known.keys() - takes_rest:
        is_bool = isinstance(getattr(settings, name), bool)
        define = absl.flags.DEFINE_bool if is_bool else absl.flags.DEFINE_string
        define(name, None, "", flag_values=values)
    try:
        rest = tuple(values(["", *argv])[1:])
    except absl.flags.Error as error:
        raise InputError(f"{' '.join(str(error).split())}; see --helpshort") from None
    if rest and not takes_rest:
        raise InputError(f"{rest[0]!r} is not a flag; write --flag=value, see --helpshort")
    given: dict[str, Any] = dict.fromkeys(takes_rest, rest)
    for name, value in values.flag_values_dict().items():
        if value is not None:
            is_text = isinstance(value, str)
            given[name] = convert(f"--{name}", value, known[name]) if is_text else value
    return settings(**given)


def help_text(settings: type) -> str:
    """Write the experiment's docstring and its flags with their defaults."""
    module = sys.modules[settings.__module__]
    name = module.__spec__.name if module.__spec__ else module.__name__
    lines = [(inspect.getdoc(module) or "").strip(), "", f"Flags of python -m {name}:"]
    described: dict[str, str] = {}
    for owner in reversed(settings.__mro__):
        described |= documented(owner, "Attributes")
    for flag in flags_of(settings):
        default = getattr(settings, flag)
        lines.append(
            f"  --{flag}" + (f" (default {default})" if default not in (None, "", ()) else "")
        )
        lines.append(textwrap.indent(textwrap.fill(described[flag], 86), " " * 6))
    if hasattr(settings, "epilogue"):
        lines += ["", settings.epilogue()]
    return "\n".join(lines)


def _told(error: BaseException) -> str:
    """Print the first line of an error, and return it."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    print(f"error: {line}", file=sys.stderr)
    logging.getLogger("catdog_jax").debug("traceback", exc_info=error)
    return line
