"""Seeds for several purposes from one: torch's CPU generator reads only 32 bits, so they are hashed."""

import hashlib


def derive(seed: int, purpose: str, number: int = 0) -> int:
    """Return a seed of 32 bits that another purpose or number would not share."""
    return int.from_bytes(hashlib.sha256(f"{seed} {purpose} {number}".encode()).digest()[:4])
