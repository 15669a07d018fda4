#: They need packages that are in environments of their own.
collect_ignore_glob = ["golden/*.py"]
