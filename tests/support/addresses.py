"""Studies at an address, for commands that take one in place of a folder."""

import fsspec


def in_memory(folder, monkeypatch, cache):
    """Copy a study to an address, and give the address; copies of it are kept in `cache`."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    memory = fsspec.filesystem("memory")  # one for the whole process
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]
    memory.put(str(folder), f"/lab/{folder.name}", recursive=True)
    return f"memory://lab/{folder.name}"
