"""Files and folders: atomic writes, readers and writers, and what is refused before it is read."""
