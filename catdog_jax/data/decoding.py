"""Many pictures at once: a few threads, one array, and a look at the memory first."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed

import numpy as np
import psutil
from jaxtyping import UInt8

from catdog_jax.data.pictures import PictureError, decode_here, quiet_pillow
from catdog_jax.types import InputError

Progress = Callable[[int, int], None]  # done, total


def check_memory(count: int, image_size: int) -> None:
    """Refuse a data set whose pixels need more than a quarter of the machine's memory.

    Args:
      count: pictures.
      image_size: pixels of a side.

    Raises:
      InputError: it would not fit.
    """
    need, total = count * image_size**2 * 3, psutil.virtual_memory().total
    if need > total // 4:
        fits = int((total / 4 / 3 / count) ** 0.5)
        raise InputError(
            f"{count:,} pictures at --image_size={image_size} need {need / 2**30:,.1f} GiB, more "
            f"than a quarter of this machine's {total / 2**30:,.1f} GiB; "
            f"take --image_size={max(fits, 8)} or less, or fewer pictures"
        )


def decode_many(
    read: Callable[[int], bytes],
    count: int,
    image_size: int,
    progress: Progress | None = None,
) -> tuple[UInt8[np.ndarray, "N S S 3"], list[tuple[str, ...] | PictureError]]:
    """Decode N pictures with a thread per core.

    Args:
      read: gives the encoded bytes of picture i; called from several threads.
      count: N.
      image_size: S, pixels.
      progress: called with (done, N).

    Returns:
      Pixels, black where a picture failed, and for each picture its notes or its error.
    """
    pixels = np.zeros((count, image_size, image_size, 3), dtype=np.uint8)
    outcome: list[tuple[str, ...] | PictureError] = [()] * count

    def one(i: int) -> None:
        try:
            pixels[i], outcome[i] = decode_here(read(i), image_size)
        except PictureError as error:
            outcome[i] = error
        except OSError as error:
            outcome[i] = PictureError(f"cannot be read: {error.strerror or error}")

    with quiet_pillow():
        run_threads(one, count, progress)
    return pixels, outcome


def run_threads(work: Callable[[int], None], count: int, progress: Progress | None = None) -> None:
    """Call `work(i)` for i in 0..count-1 from a thread per core."""
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        # Strides keep the queue short and still let an interrupt through quickly.
        futures = [
            pool.submit(_stride, work, start, min(start + 32, count))
            for start in range(0, count, 32)
        ]
        done = 0
        try:
            for future in as_completed(futures):
                done += future.result()
                if progress is not None:
                    progress(done, count)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _stride(work: Callable[[int], None], start: int, stop: int) -> int:
    for i in range(start, stop):
        work(i)
    return stop - start
