"""Only notebooks are collected here: the scripts beside them are no modules to import."""

collect_ignore_glob = ["*.py", "data/*"]
