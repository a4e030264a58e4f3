"""Seeds of all random streams of a study, derived from the study's one seed."""

import hashlib


def derive_seed(*parts: int | str) -> int:
    """A 32-bit seed from the study's seed and the names of the stream's purpose.

    Unlike seed + fold, streams for different purposes never coincide by construction. Unlike hash(), the value
    is the same in every process.
    """
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
