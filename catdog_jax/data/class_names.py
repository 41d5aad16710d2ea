"""Which classes of a source are used, and in which order."""

from collections.abc import Sequence

from catdog_jax.registry import unknown
from catdog_jax.types import InputError


def choose_classes(requested: Sequence[str], found: Sequence[str], where: str) -> tuple[str, ...]:
    """Find the requested classes among those of a source.

    A name matches exactly, or else in any letter case where that leaves one.

    Args:
      requested: names as typed, in label order.
      found: names of the source.
      where: the source, for messages.

    Returns:
      The source's spelling of each requested name.

    Raises:
      InputError: fewer than two, one given twice, or one that is not there.
    """
    if len(requested) < 2:
        raise InputError(
            f"--classes={','.join(requested)} is one class; give at least two of: {_listed(found)}"
        )
    chosen = []
    for name in requested:
        alike = [f for f in found if f == name] or [
            f for f in found if f.casefold() == name.casefold()
        ]
        if len(alike) != 1:
            raise unknown(f"class of {where}:", name, found, "choose with --classes=a,b")
        chosen.append(alike[0])
    twice = [name for name in chosen if chosen.count(name) > 1]
    if twice:
        raise InputError(f"--classes={','.join(requested)}: {twice[0]!r} is given twice")
    return tuple(chosen)


def default_classes(found: Sequence[str], where: str) -> tuple[str, ...]:
    """Choose cat and dog where both are there, or both classes of a pair.

    Raises:
      InputError: there are others; the message lists them.
    """
    lower = [name.casefold() for name in found]
    if lower.count("cat") == 1 and lower.count("dog") == 1:
        return ("cat", "dog")
    if len(found) == 2:
        return tuple(found)
    raise InputError(
        f"{where} has {len(found)} classes and not both cat and dog; "
        f"choose with --classes=a,b among: {_listed(found)}"
    )


def _listed(names: Sequence[str], most: int = 40) -> str:
    more = f", … and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
