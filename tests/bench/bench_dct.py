"""Examining a flash image of 1 MB: recognising it, choosing the copy, all fields, keys, firmware and troubles.

Usage: ``python -m tests.bench.bench_dct``
"""

from __future__ import annotations

import random
import time

from loadgen.fleet.dct import find_troubles, read_dct
from loadgen.fleet.flash import examine
from loadgen.report.dct_documents import dump_document
from tests.bench.harness import median_of
from tests.fleet.dumps import copy, flash, module, with_record

ROUNDS = 20
LIMIT_S = 0.2


def image() -> bytes:
    """A flash full of firmware, both copies with a record of WICED 3.7 to be checked."""
    source = random.Random(1)
    parts = {0x20000: module(0x08020000, version=207), 0x60000: module(0x08060000, version=207, index=2, vectors=0)}
    data = bytearray(flash(with_record(copy(), sequence=1, crc=1), with_record(copy(), sequence=2), parts))
    for begin in (0x30000, 0x70000):
        data[begin : begin + 0x30000] = source.randbytes(0x30000)
    return bytes(data)


def examine_all(data: bytes) -> int:
    """Everything that ``dct show --json`` does but reading the file."""
    dct = read_dct(examine(data))
    return len(dump_document("flash.bin", dct, find_troubles(dct)))


def main() -> None:
    data = image()
    took = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        examine_all(data)
        took.append(time.perf_counter() - begin)
    median, slowest = median_of(took) * 1e3, max(took) * 1e3
    print(f"1 MB flash image examined: median {median:.1f} ms, slowest {slowest:.1f} ms of {ROUNDS}")
    print(f"limit {LIMIT_S * 1e3:.0f} ms: {'kept' if max(took) < LIMIT_S else 'MISSED'}")


if __name__ == "__main__":
    main()
