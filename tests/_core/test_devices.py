"""Arrays on devices."""

import numpy as np
import pytest

from ginseng._core.devices import ALIGNMENT, aligned, cells_sharding, local_mesh, put, rounded_up


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (1024, 7)])
def test_arrays_that_devices_read_in_place(shape: tuple[int, int]) -> None:
    mesh = local_mesh()
    arrays = [aligned((rounded_up(mesh, shape[0]), shape[1])) for _ in range(5)]
    for i, a in enumerate(arrays):
        assert a.ctypes.data % ALIGNMENT == 0
        assert a.dtype == np.float32
        assert a.flags.c_contiguous
        assert not a.any()
        a[:] = i
    for i, a in enumerate(arrays):  # none shares memory with another
        assert (a == i).all()
        np.testing.assert_array_equal(put(a, cells_sharding(mesh)), a)
