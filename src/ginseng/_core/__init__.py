"""The core: arrays in, arrays out. It knows nothing of AnnData, files or the user.

Nothing is imported here, so that code without JAX can use the modules that do not need it.
"""
