"""The command line of an experiment: flags from its Config, errors to exit statuses.

0         done, already done, or help
1         a failure that is not the person's: disk full, folder in use, everything diverged
2         wrong input, named in one line
10, 11    kept for verdicts
129, 130, 143   interrupted by SIGHUP, SIGINT, SIGTERM; what was reached is saved
"""

import contextlib
import inspect
import io
import logging
import os
import shlex
import signal
import sys
import sysconfig
import traceback
import typing
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import absl.flags

from catdog_jax import interrupt
from catdog_jax.interrupt import GOES_ON, Interrupted
from catdog_jax.population import distributed
from catdog_jax.registry import (
    CHOOSE,
    OneOf,
    Range,
    check,
    convert,
    documented,
    is_code,
    printable,
    split_list,
)
from catdog_jax.run.processes import WorkerDone
from catdog_jax.run.progress import expecting
from catdog_jax.run.summary import WIDTH, folded
from catdog_jax.store import manifest
from catdog_jax.types import InputError
from experiments import STARTING, _signals

LONGEST = 700  # letters of each half of an error
FILES = ("flagfile", "like")  # flags that name a file of flags
CODE = ("models", "dataset", "rules", "estimators")  # flags that may name code of one's own
VERBOSE = "--verbose"
OF_EVERY = {  # experiment: what is no field of its Config
    VERBOSE: "show where code of your own has failed",
    "--flagfile": "file of flags, one a line; flags typed beside it win",
    "--like": "folder of a run whose settings are taken; flags typed beside it win",
}
DATA_DIR = "--data_dir=DIR"  # in the command of a run
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
            value = getattr(self, name)
            check(f"--{name}", value, annotation)
            homeless = str(value).startswith("~") and os.path.expanduser(value) == value
            if homeless or "\0" in str(value):
                raise InputError(f"--{name}={value} can be no path; give a whole one")


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
            words.append(DATA_DIR)
        elif decides(annotation) and value != getattr(type(settings), name):
            words.append(shlex.quote(f"--{name}={value}"))
    return " ".join(["python", "-m", f"experiments.{experiment}", *words])


class Plain:
    """A stream that writes foreign text so that no terminal obeys it; but for ends of lines."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        """Be the stream in all else."""
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write it."""
        return self._stream.write("".join(x if x in "\r\n" else printable(x) for x in text))


def command(main: Callable[[Sequence[str]], int]) -> typing.NoReturn:
    """Run an experiment as a command, on `sys.argv`, to its exit status."""
    stream: Any = Plain(sys.stderr)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=stream)
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files may hold what no terminal writes
        sys.stdout.reconfigure(errors="backslashreplace")
    if not signal.getsignal(signal.SIGTERM):  # it was not found by `python -m`
        _signals.take()
    interrupt.arrived = _signals.arrived
    if sys.stderr.isatty():
        stream.write(f"{'':{len(STARTING)}}\r")
    status = main(sys.argv[1:])
    with contextlib.suppress(OSError):  # who reads it may be gone
        sys.stdout.flush()
        sys.stderr.flush()
    # At once: a signal that comes while the interpreter takes itself apart would be lost.
    os._exit(128 + _signals.arrived[0] if _signals.arrived else status)


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
    verbose = VERBOSE in argv
    argv = [argument for argument in argv if argument != VERBOSE]
    if any(argument in HELP_FLAGS for argument in argv):
        print(help_text(settings))
        return 0
    status, message = 1, "a fault of the program"
    out: Any = Plain(sys.stdout)
    err: Any = Plain(sys.stderr)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            interrupt.check()
            with expecting({}):
                work(parse_flags(argv, settings))
            status = 0
        except WorkerDone:
            status = 0
        except InputError as error:
            status, message = 2, _told(error, verbose)
        except Interrupted as stop:
            status, message = 128 + stop.signal, str(stop).replace(GOES_ON, after)
            _say(message)
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
    return settings(**given_flags(argv, settings))


def given_flags(argv: Sequence[str], settings: type) -> dict[str, Any]:
    """Read the flags that are given, and no others; see `parse_flags`."""
    values, known = absl.flags.FlagValues(), flags_of(settings)
    typed = {word.lstrip("-").partition("=")[0] for word in argv if word.startswith("-")}
    argv = [flag for word in argv for flag in _from_files(word, typed)]
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
    return given


def _from_files(word: str, typed: set[str]) -> list[str]:
    """Put the flags of a `--flagfile=FILE` or a `--like=RUN` in its place; they start no code.

    Args:
      word: of the command line.
      typed: names of the flags on the command line, which no file sets.

    Raises:
      InputError: what cannot be read, names another file, or names code.
    """
    flag, _, path = word.partition("=")
    read = {"flagfile": _lines, "like": _settings_of}.get(flag.lstrip("-"))
    if read is None:
        return [word]
    try:
        lines = read(Path(path).expanduser())
    except (OSError, ValueError, RuntimeError) as error:
        wanted = "FILE" if read is _lines else "RUN, a folder that a command printed"
        raise InputError(f"{word} cannot be read ({error}); give {flag}={wanted}") from None
    kept = [line for line in lines if line.lstrip("-").partition("=")[0] not in typed - {*FILES}]
    for line in [flag for one in kept for flag in (one, *_inner(one))]:
        name, equals, value = line.lstrip("-").partition("=")
        if name in FILES:
            raise InputError(f"{word}: {line!r} names another file of flags; type both")
        if name in CODE and not equals:  # its value would be the next line
            raise InputError(f"{word}: {line!r} has no value; write {line}=value")
        if name in CODE and any(is_code(entry) for entry in value.split(",")):
            raise InputError(f"{word}: {line!r} starts code, which only a command may; type it")
    return kept


def _lines(file: Path) -> list[str]:
    lines = map(str.strip, file.read_text("utf-8").splitlines())
    return [line for line in lines if line and not line.startswith(("#", "//"))]


def _settings_of(folder: Path) -> list[str]:
    """Read the flags of the command that made a run; its data lie where they lay."""
    found = manifest.read(folder) or {}
    if not found.get("command"):
        raise ValueError(f"there is no {manifest.FILE} that names a command")
    data_dir = f"--data_dir={found.get('source', {}).get('data_dir')}"
    flags = shlex.split(found["command"])[3:]
    return [data_dir if flag == DATA_DIR else flag for flag in flags]


def _inner(line: str) -> list[str]:
    """List the flags in the value of a flag, which may be the whole line."""
    found = []
    for text in (line, line.partition("=")[2]):
        with contextlib.suppress(ValueError):
            found += [word for word in shlex.split(text) if word.startswith("-")]
    return found


def help_text(settings: type) -> str:
    """Write the experiment's docstring and its flags with their defaults."""
    module = sys.modules[settings.__module__]
    name = module.__spec__.name if module.__spec__ else module.__name__
    lines = [*_reflowed(inspect.getdoc(module) or ""), f"Flags of python -m {name}:"]
    described, entries = dict[str, str](), dict[str, str]()
    for owner in reversed(settings.__mro__):
        described |= documented(owner, "Attributes")
    for flag in flags_of(settings):
        default = getattr(settings, flag)
        shown = f" (default {default})" if default not in (None, "", ()) else ""
        entries[f"--{flag}{shown}"] = described[flag]
    for head, text in {**entries, **OF_EVERY}.items():
        # A list is broken at its commas.
        lines.append(_hung(head.replace(",", ", ")).replace(", ", ","))
        lines += [f"      {line}" for line in folded(text, WIDTH - 6)]
    if hasattr(settings, "epilogue"):
        lines += ["", settings.epilogue()]
    return "\n".join(lines)


def _reflowed(text: str) -> list[str]:
    """Fold paragraphs to the width of a terminal; what is indented stays as it is."""
    lines: list[str] = []
    for part in text.strip().split("\n\n"):
        kept = "\n " in f"\n{part}"
        lines += [*(part.split("\n") if kept else folded(" ".join(part.split()))), ""]
    return lines


def _hung(text: str) -> str:
    """Fold one entry of a help, indented by two and then by six."""
    return "  " + "\n      ".join(folded(text, WIDTH - 6))


def told_settings(
    builders: Iterable[tuple[str, Callable[..., Any]]], hidden: Collection[str]
) -> list[str]:
    """Write for the help what settings registered names take, their defaults and their ranges.

    Args:
      builders: name -> function, whose keyword-only parameters are the settings.
      hidden: parameters of the functions that are none.

    Returns:
      A line for each name that has settings, then one for each choice that some of them offer.
    """
    lines, choices = list[str](), dict[str, str]()
    for name, function in builders:
        hints = typing.get_type_hints(getattr(function, "func", function), include_extras=True)
        told: list[str] = []
        for key, parameter in inspect.signature(function).parameters.items():
            if parameter.kind is not parameter.KEYWORD_ONLY or key in hidden:
                continue
            default = CHOOSE if parameter.default is None else parameter.default
            text = "-".join(map(str, default)) if isinstance(default, tuple) else f"{default}"
            told.append(f"{key}={text}" if text else key)
            for extra in getattr(hints[key], "__metadata__", ()):
                if isinstance(extra, Range):
                    told[-1] += f" ({extra})"
                elif isinstance(extra, OneOf):
                    choices[key] = f"{key}: {', '.join(extra.names)}"
        lines += [f"{name}: {', '.join(told)}"] if told else []
    return [_hung(line) for line in [*lines, *(choices[key] for key in sorted(choices))]]


def _told(error: BaseException, verbose: bool = False) -> str:
    """Print the first line of an error, and return it.

    Args:
      error: as raised.
      verbose: whether the traceback of code of a person's own comes before it, that code's alone.
    """
    if verbose and error.__cause__:
        frames = traceback.extract_tb(error.__cause__.__traceback__)
        ours = (str(Path(__file__).parents[1] / name) for name in ("catdog_jax", "experiments"))
        known = *ours, sysconfig.get_path("purelib"), sysconfig.get_path("stdlib")
        own = [frame for frame in frames if not frame.filename.startswith(known)]
        _say("".join(traceback.format_list(own)).rstrip())
    line = str(error).strip().split("\n")[0] or type(error).__name__
    line = line if len(line) <= 2 * LONGEST else f"{line[:LONGEST]} … {line[-LONGEST:]}"
    _say(f"error: {line}")
    return line


def _say(line: str) -> None:
    with contextlib.suppress(OSError):  # a terminal that was closed
        print(line, file=sys.stderr, flush=True)
