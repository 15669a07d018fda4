"""Files and folders: atomic writes, readers, writers, and guards against harmful input."""
