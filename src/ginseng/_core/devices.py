"""Devices that share the work: each has its own part of the cells, and a copy of everything else."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

#: Axis of the mesh over which cells are split.
CELLS = "cells"
#: Bytes, of which an address must be a multiple for XLA to read an array of NumPy in place.
ALIGNMENT = 64
#: Largest share of the memory of a device for counts that are kept there.
SHARE_OF_COUNTS = 1 / 3


def local_mesh() -> Mesh:
    """Return a mesh of the devices of this process."""
    return _mesh(jax.local_devices())


def global_mesh() -> Mesh:
    """Return a mesh of the devices of all processes, which must then make the same calls in the same order."""
    return _mesh(sorted(jax.devices(), key=lambda device: (device.process_index, device.id)))


def _mesh(devices: list[Any]) -> Mesh:
    return Mesh(np.array(devices), (CELLS,), axis_types=(AxisType.Auto,))


def has_bfloat16() -> bool:
    """Whether the GPU multiplies matrices in bfloat16, and has the fused attention: NVIDIA Ampere or later."""
    version = str(getattr(jax.local_devices()[0], "compute_capability", ""))  # of GPUs by AMD, a name
    return jax.default_backend() == "gpu" and version[:1].isdigit() and float(version) >= 8


def memory_for_counts(mesh: Mesh) -> int:
    """Return the bytes that counts may take on each device, which keep the rest for training; 0 if unknown."""
    stats = [device.memory_stats() or {} for device in mesh.local_devices]
    return int(SHARE_OF_COUNTS * min(found.get("bytes_limit", 0) for found in stats))


def cells_sharding(mesh: Mesh, axis: int = 0) -> NamedSharding:
    """Return the sharding of arrays whose `axis` are cells."""
    return NamedSharding(mesh, PartitionSpec(*[None] * axis, CELLS))


def replicated(mesh: Mesh) -> NamedSharding:
    """Return the sharding of arrays that each device has in full."""
    return NamedSharding(mesh, PartitionSpec())


def aligned(shape: tuple[int, ...]) -> np.ndarray:
    """Return float32 zeros that CPU devices can read in place, without a copy by :func:`put`."""
    n_bytes = 4 * math.prod(shape)
    room = np.zeros(n_bytes + ALIGNMENT, np.uint8)
    start = -room.ctypes.data % ALIGNMENT
    return room[start : start + n_bytes].view(np.float32).reshape(shape)


def put(tree: Any, sharding: NamedSharding) -> Any:
    """Return the arrays on the devices of a mesh; of cells, each process passes its own."""
    return jax.tree.map(lambda a: jax.make_array_from_process_local_data(sharding, np.asarray(a)), tree)


def own_cells(mesh: Mesh, n_cells: int) -> tuple[int, int]:
    """Return the first cell of a batch that the devices of this process have, and the one after their last.

    `n_cells` must be a multiple of the number of devices.
    """
    own = [device.process_index == jax.process_index() for device in mesh.devices]
    size = n_cells // mesh.size
    return own.index(True) * size, (own.index(True) + sum(own)) * size


def rounded_up(mesh: Mesh, n_cells: int) -> int:
    """Return the least multiple of the number of devices that is not below `n_cells`."""
    return -(-n_cells // mesh.size) * mesh.size


def per_cell(f: Callable[..., Any], mesh: Mesh | None, shared: Any, *cells: Any) -> Any:
    """Return `f(shared, *cells)`, where each device of the mesh applies `f` to its own cells.

    `f` may use no other arrays than these.
    """
    if mesh is None:
        return f(shared, *cells)
    each = PartitionSpec(CELLS)
    specs = (PartitionSpec(), *[each] * len(cells))
    return jax.shard_map(f, mesh=mesh, in_specs=specs, out_specs=each, check_vma=False)(shared, *cells)
