"""Files of W&B's runs, which its packages write and read nowhere but at a server."""

import json
import struct

from wandb.proto.wandb_internal_pb2 import Record

BLOCK = 32768  # blocks, and records that may span them, as in LevelDB's log
HEADER = struct.Struct("<IHB")  # checksum, length, kind
WHOLE, LAST = 1, 4


def records(path):
    """What a run has told W&B, in order."""
    data, place, record = path.read_bytes(), 7, b""
    while place < len(data):
        if BLOCK - place % BLOCK < HEADER.size:
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = HEADER.unpack_from(data, place)
        place += HEADER.size + length
        record += data[place - length : place]
        if kind in (WHOLE, LAST):
            yield Record.FromString(record)
            record = b""


def values(items):
    """Items of a configuration, a summary or a history; W&B's own are left out."""
    named = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in items}
    return {name: value for name, value in named.items() if not name.startswith("_")}
