"""A study kept at an address: the copy of its folder in object storage, and the lock that one process holds on it.

The study runs in a working folder on this machine. Every two seconds what has changed there is uploaded:

- `.log/00000007.json.gz`, an entry: `study.json`, both journals and the names of the checkpoints as they were at
  one instant. A base entry holds whole journals, the next ones what was appended. So whenever the process dies,
  the entries are a study that was killed at some instant, which resumes exactly.
- `checkpoints/`, each under a new name and before the entry that names it.
- what the journal starts from once it has started again, see `search.records.sealed`, before the first such entry.
- everything else under its own name, for readers: tables, `study.json`, the model, the page.
"""
