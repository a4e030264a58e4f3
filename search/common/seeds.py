"""Every random stream of a study, from its one seed."""

import hashlib


def derive_seed(*parts: int | str) -> int:
    """A seed of 32 bits from the study's seed and the names of what it is for.

    Unlike seed + fold, streams of different purposes never coincide, and unlike hash(), the value is the same
    in every process.
    """
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
