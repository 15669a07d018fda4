"""The core: arrays in, arrays out. It knows nothing of AnnData, files or the user.

Nothing is imported here, so that what needs no JAX can use the files that need none.
"""
