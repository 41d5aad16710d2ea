"""The written rule: how members share a device, per kind of device, from measurements.

Two Zen4 cores, float32, jax 0.10.2, batches of CIFAR-10 size, all members seeing the same batches;
member-steps a second of both cores together, medians of interleaved samples:

    model (weights)                map      chunk 4   chunk 64   one core each, matrices 'stored'
    linear (25 kB)                 1,000    -         24,300
    mlp:width=16:depth=1 (197 kB)  1,700    4,800     -
    mlp:width=32:depth=1 (393 kB)  720      1,130     -
    mlp:width=64:depth=1 (786 kB)  480      400       -
    mlp (3.4 MB)                   130      94        -
                                                                the same, matrices 'transposed'
    linear                         4,200    -         30,000
    mlp:width=16:depth=1           4,700    5,900     -
    mlp:width=32:depth=1           1,540    1,600     -
    mlp:width=64:depth=1           760      670       -
    mlp                            167      170       -

Later, with XLA kept from copying the moments (`devices.loop_options`), matrices 'transposed', calls
of seconds as in a run: linear 33,000 in chunks of 32, 64 or 128; mlp:width=32:depth=1 1,800 (map),
2,310 (4), 2,100 (8); mlp:width=64:depth=1 1,070 (map), 1,020 (4); mlp 242 (map), 235 (4).

The gradient of a matrix that multiplies pictures, [3072, H], is a product that XLA:CPU's kernel
does at 2 to 120 GF/s for H = 2 to 256; its transpose it does at 140 to 190. So CPUs carry such
matrices transposed. Weights that fill the second-level cache are best alone in it: 'map'.
Convolutions under vmap are grouped convolutions, or products of patches, both far slower: 'map'.

One member on two devices (member-steps/s, one device / both): convolutional network 16.5 / 27.7,
residual network 12.4 / 17.5; without convolutions the exchange costs more than it brings (mlp
165 / 80). So the batch is shared where there are convolutions.

Convolutions of few channels are 'wide' on a CPU (see `ops.conv`; the residual network of the
embedded data 1.3 times as fast), and 'winograd' where a run is long enough to earn its compilation.
Members that share their batches have their first layers computed as one where its output stays in
the second-level cache: 32 convolutional networks of the embedded data 1.38 times as fast in chunks
of 8, 1.24 in chunks of 4; 8 networks 16-32-64, whose output is 8 times as large, 0.98 times.

On an H200 'vmap' with patches was the fastest for convolutions (bfloat16, 256 members: 18,300
member-steps/s; grouped convolutions 13,100 as 'lax' and 11,200 as 'direct'), since one member alone
leaves such a device idle. TPUs were not at hand; `--strategy=measure` finds out.
"""

import math

_TINY = 64 * 1024  # bytes of weights
_SMALL = 512 * 1024
_WAVE_STATE = 48 * 2**20  # bytes of weights and moments per CPU device
_MOST_IN_TURN = 16
_WORTH = 5e12  # operations of a run, a minute of two cores, that 'winograd' makes a tenth less
_CACHE = 512 * 1024  # bytes, second level
_MOST_JOINED = 8


def choose(
    backend: str, strategy: str, conv: str, weights: int, has_conv: bool, flops: int
) -> tuple[str, int, str]:
    """Apply the rule.

    Args:
      backend: 'cpu', 'gpu' or 'tpu'.
      strategy: as asked for; 'auto' leaves it to the rule.
      conv: form of the convolution, likewise.
      weights: bytes of one member's.
      has_conv: whether the formula has convolutions.
      flops: operations of the whole run.

    Returns:
      ('map', 'chunk' or 'vmap'; most members vmapped together, 0 for all of a device; form of the
      convolution).
    """
    if strategy == "auto":
        on_cpu = "map" if has_conv or weights > _SMALL else "chunk"
        strategy = on_cpu if backend == "cpu" else "vmap"
    chunk = {"map": 1, "vmap": 0}.get(strategy, 64 if weights <= _TINY and not has_conv else 4)
    if conv == "auto":
        on_cpu = "winograd" if flops > _WORTH else "wide"
        mapped = on_cpu if backend == "cpu" and has_conv else "direct"
        conv = mapped if strategy == "map" else "patches"
    return strategy, chunk, conv


def members_joined(made: int, num_members: int) -> int:
    """Decide for how many members in turn a first layer that is computed as one has room.

    Neither devices nor processes decide it, since bits depend on it. Room that stays empty costs:
    8 convolutional networks of the embedded data, 4 a device, were 0.84 times as fast as torch with
    room for 8 members.

    Args:
      made: bytes of one member's output of it, for the examples of a gradient part.
      num_members: of the whole run.
    """
    return max(min(_CACHE // made, _MOST_JOINED, num_members // 2), 1)


def members_in_turn(weights: int) -> int:
    """Decide how many members a CPU device trains, one or one chunk after another, in one wave.

    Each segment of steps moves every member's weights and moments in and out. A segment lasts a few
    seconds for the whole wave, so fewer members make more steps in it: 32 MLPs 3072-256-256 on two
    devices lost 0.9 s per segment, and mlp:width=32:depth=1 made 1,790 member-steps/s in waves of
    64 and 445 in waves of 2,048. Linear models do not mind: 33,900 and 30,200.

    Args:
      weights: bytes of one member's.
    """
    fitting = max(_WAVE_STATE // (3 * weights), 1)
    return fitting if weights <= _TINY else min(fitting, _MOST_IN_TURN)


def devices_for(
    num_members: int, num_devices: int, batch_size: int, has_conv: bool
) -> tuple[int, int]:
    """Decide how many devices to use where there are fewer members, and how many share a member.

    Returns:
      (devices, devices that share each member's batch); the second divides the first.
    """
    if num_members >= num_devices:
        return num_devices, 1
    if not has_conv:
        return num_members, 1
    apart = max(n for n in range(1, num_members + 1) if num_devices % n == 0)
    share = math.gcd(num_devices // apart, batch_size)
    return apart * share, share
