"""What a chip of a machine that is not there can do, and what the compiler must know of a GPU that is not there.

Rates of products and of memory are those of `jaxtag.plan.peaks`. Links of TPUs: Google's pages on each version
(cloud.google.com/tpu/docs/v4, v5e, v5p, v6e); the memory that a program may use is what the TPU compiler says when a
program is too large. GPUs: NVIDIA's data sheets of the A100 80GB, H100 and H200 in SXM form, one network card of 400
Gbit/s a GPU (200 of the A100), and facts that the driver tells of the device.
"""

from dataclasses import dataclass

from jaxtag.plan.peaks import Peak, known

GIB = 2**30
GPU_SHARE = 0.75  # of a GPU's memory that JAX takes, unless XLA_PYTHON_CLIENT_MEM_FRACTION says otherwise


@dataclass(frozen=True)
class Chip:
    """A chip's public figures; bytes a second, one way where a link has two.

    Attributes:
      name: as in a topology's name, such as `v5e`.
      title: for the reader, or as JAX calls the device.
      kind: `tpu` or `gpu`.
      peak: operations of products, and bytes to and from its memory, a second.
      memory: bytes on the chip that a program may use.
      links: bytes a second that a chip sends over all its links to other chips of a slice, or GPUs of a host.
      network: bytes a second that a chip sends to other slices or hosts: its share of its host's network cards.
      axes: of the torus that a slice is; 0 of GPUs.
    """

    name: str
    title: str
    kind: str
    peak: Peak
    memory: int
    links: float
    network: float
    axes: int = 0


# Of a GPU, what the compiler chooses by: memory in bytes, its rate, second-level cache, multiprocessors, clock in GHz,
# shared memory of a multiprocessor and the most of it that a block may ask for, compute capability, float32 units.
_FACTS = {
    "a100": (85_899_345_920, 2_039_000_000_000, 41_943_040, 108, 1.41, 167_936, 166_912, (8, 0), 64),
    "h100": (84_942_979_072, 3_352_320_000_000, 52_428_800, 132, 1.98, 233_472, 232_448, (9, 0), 128),
    "h200": (151_397_597_184, 4_800_000_000_000, 62_914_560, 132, 1.98, 233_472, 232_448, (9, 0), 128),
}


def _chip(name: str, kind: str, title: str, memory: float, links: float, network: float, axes: int = 0) -> Chip:
    peak = known(title)
    assert peak, title
    return Chip(name, title, kind, peak, int(memory), links, network, axes)


CHIPS = {
    chip.name: chip
    for chip in (
        _chip("v4", "tpu", "TPU v4", 30.75 * GIB, 300e9, 6.25e9, 3),
        _chip("v5e", "tpu", "TPU v5e", 15.75 * GIB, 200e9, 3.125e9, 2),
        _chip("v5p", "tpu", "TPU v5p", 95.74 * GIB, 600e9, 6.25e9, 3),
        _chip("v6e", "tpu", "TPU v6e", 31.25 * GIB, 400e9, 12.5e9, 2),
        _chip("a100", "gpu", "NVIDIA A100-SXM4-80GB", GPU_SHARE * _FACTS["a100"][0], 300e9, 25e9),
        _chip("h100", "gpu", "NVIDIA H100", GPU_SHARE * _FACTS["h100"][0], 450e9, 50e9),
        _chip("h200", "gpu", "NVIDIA H200", GPU_SHARE * _FACTS["h200"][0], 450e9, 50e9),
    )
}


def gpu_target(chip: Chip) -> str:
    """A GPU described to a compiler that does not see one, as the text of XLA's `GpuTargetConfigProto`."""
    memory, rate, cache, cores, clock, shared, asked, (major, minor), units = _FACTS[chip.name]
    facts = {
        "threads_per_block_limit": 1024, "threads_per_warp": 32, "shared_memory_per_block": 49152,
        "shared_memory_per_core": shared, "threads_per_core_limit": 2048, "core_count": cores, "fpus_per_core": units,
        "block_dim_limit_x": 2**31 - 1, "block_dim_limit_y": 65535, "block_dim_limit_z": 65535,
        "memory_bandwidth": rate, "l2_cache_size": cache, "clock_rate_ghz": clock, "device_memory_size": memory,
        "shared_memory_per_block_optin": asked, "registers_per_core_limit": 65536, "registers_per_block_limit": 65536,
    }  # fmt: skip
    lines = [f"  {name}: {value}" for name, value in facts.items()]
    lines.append(f"  cuda_compute_capability {{ major: {major} minor: {minor} }}")
    rest = [
        'platform_name: "CUDA"', "dnn_version_info { major: 9 minor: 10 }", "runtime_version { major: 12 minor: 8 }",
        f'device_description_str: "{chip.title}"',
    ]  # fmt: skip
    return "\n".join(["gpu_device_info {", *lines, "}", *rest, ""])
