"""The JAX core: arrays in, arrays out. It knows nothing of AnnData, files or the user.

The order of these imports is the order of `registry.names()`: the default comes first.
"""

from ginseng._core import gated, linear, instance, transformer  # noqa: F401, I001
