"""Native kernel against OpenSSL: ns per operation, every implementation side by side in one process.

Usage: python tests/bench/bench_native.py [--rounds 15] [--json]

Each round times every (implementation, operation, lanes) once, one after the other, so that a slow moment of the
machine hits all of them; a number is the median over the rounds and a ratio the median of the rounds' ratios. OpenSSL
runs through ``cryptography``, lane by lane, as the ``openssl`` backend does, with its keys loaded beforehand. Exits 1
where a full batch does not reach the ratio that is asked for.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

REQUIRED = {
    "RSA-1024 private": 4.0,
    "RSA-2048 public": 3.0,
    "RSA-2048 private": 1.8,
    "device side": 3.5,
}
"""Least ratio to OpenSSL with all lanes full."""

LANES = (8, 64)
TARGET_NS = 20_000_000
"""About how long one timing lasts."""

PKCS1 = padding.PKCS1v15()
Work = Callable[[], object]


def signature_check(key: rsa.RSAPublicKey, reply: bytes, material: bytes) -> None:
    """The device's check of the last 256 bytes."""
    mac = hmac.digest(material, reply[:128], hashlib.sha1)
    assert key.recover_data_from_signature(reply[128:], PKCS1, None) == mac


def seal(key: bytes, iv: bytes, padded: bytes) -> bytes:
    """One CBC frame with OpenSSL."""
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    return encryptor.update(padded) + encryptor.finalize()


class Material:
    """Keys and messages for 64 lanes, made once and used by all implementations: each lane has its own device key."""

    def __init__(self, native: Any) -> None:
        lanes = max(LANES)
        self.server = rsa.generate_private_key(65537, 2048)
        self.server_public = self.server.public_key()
        self.devices = [rsa.generate_private_key(65537, 1024) for _ in range(lanes)]
        self.device_publics = [device.public_key() for device in self.devices]
        self.plain = [os.urandom(214) for _ in range(lanes)]
        self.secret = [os.urandom(40) for _ in range(lanes)]
        self.hello = os.urandom(16)
        self.native_devices = [native.DeviceKey(**private_integers(device)) for device in self.devices]
        self.native_publics = [native.DevicePublicKey(modulus(device)) for device in self.devices]
        self.native_server = native.ServerKey(**private_integers(self.server))
        self.native_server_public = native.ServerPublicKey(modulus(self.server))
        self.ciphertexts = [self.server_public.encrypt(plain, PKCS1) for plain in self.plain]
        self.replies = native.wrap_key([self.native_server] * lanes, self.native_publics, self.secret)


def modulus(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_numbers().n.to_bytes(key.key_size // 8, "big")


def private_integers(key: rsa.RSAPrivateKey) -> dict[str, bytes]:
    """Arguments of the extension's key types."""
    numbers = key.private_numbers()
    named = {"p": numbers.p, "q": numbers.q, "dp": numbers.dmp1, "dq": numbers.dmq1, "qinv": numbers.iqmp}
    return {"n": modulus(key), **{name: value.to_bytes(256, "big") for name, value in named.items()}}


def openssl_work(m: Material, lanes: int) -> dict[str, Work]:
    """Every operation, lane by lane, through ``cryptography``."""
    ciphers = [reply[:128] for reply in m.replies]

    def device_side() -> None:
        for i in range(lanes):
            m.server_public.encrypt(m.plain[i], PKCS1)
            material = m.devices[i].decrypt(ciphers[i], PKCS1)
            signature_check(m.server_public, m.replies[i], material)
            seal(material[:16], material[16:32], m.hello)

    def cloud_side() -> None:
        for i in range(lanes):
            m.server.decrypt(m.ciphertexts[i], PKCS1)
            cipher = m.device_publics[i].encrypt(m.secret[i], PKCS1)
            m.server.sign(hmac.digest(m.secret[i], cipher, hashlib.sha1), PKCS1, utils.NoDigestInfo())

    return {
        "RSA-1024 private": lambda: [m.devices[i].decrypt(ciphers[i], PKCS1) for i in range(lanes)],
        "RSA-2048 public": lambda: [m.server_public.encrypt(m.plain[i], PKCS1) for i in range(lanes)],
        "RSA-2048 private": lambda: [m.server.decrypt(m.ciphertexts[i], PKCS1) for i in range(lanes)],
        "device side": device_side,
        "cloud side": cloud_side,
    }


def native_work(native: Any, m: Material, lanes: int) -> dict[str, Work]:
    """The same operations in batches of ``lanes``. All of them include padding and checks; the private one of 1024 bits
    is the raw operation, as the extension offers no step with it alone."""
    devices, publics = m.native_devices[:lanes], m.native_publics[:lanes]
    server, server_public = [m.native_server] * lanes, [m.native_server_public] * lanes
    plain, secret, replies = m.plain[:lanes], m.secret[:lanes], m.replies[:lanes]
    ciphers, hellos = [reply[:128] for reply in replies], [m.hello] * lanes

    def device_side() -> None:
        native.encrypt_nonce(server_public, plain)
        materials = native.unwrap_key(devices, server_public, replies)
        native.seal_hello([x[:16] for x in materials], [x[16:32] for x in materials], hellos)

    def cloud_side() -> None:
        native.decrypt_nonce(server, m.ciphertexts[:lanes])
        native.wrap_key(server, publics, secret)

    return {
        "RSA-1024 private": lambda: native.private_raw(devices, ciphers),
        "RSA-2048 public": lambda: native.encrypt_nonce(server_public, plain),
        "RSA-2048 private": lambda: native.decrypt_nonce(server, m.ciphertexts[:lanes]),
        "device side": device_side,
        "cloud side": cloud_side,
    }


def timed(work: Work, repetitions: int) -> int:
    """CPU time of ``repetitions``: other processes on the core then count less."""
    begin = time.process_time_ns()
    for _ in range(repetitions):
        work()
    return time.process_time_ns() - begin


def measure(native: Any, rounds: int) -> dict[tuple[str, int, str], list[float]]:
    """ns per lane of each (operation, lanes, implementation), one value a round."""
    material = Material(native)
    names = ["portable"] + (["avx512ifma"] if "avx512ifma" in native.features() else [])
    jobs: list[tuple[str, int, str, Work, int]] = []
    for lanes in LANES:
        for implementation in ("openssl", *names):
            openssl = implementation == "openssl"
            native.force_isa(None if openssl else implementation)
            works = openssl_work(material, lanes) if openssl else native_work(native, material, lanes)
            for operation, work in works.items():
                work()
                repetitions = max(1, TARGET_NS // max(1, timed(work, 1)))
                jobs.append((operation, lanes, implementation, work, repetitions))
    result: dict[tuple[str, int, str], list[float]] = {job[:3]: [] for job in jobs}
    jobs.sort(key=lambda job: (job[0], job[1]))
    for _ in range(rounds):
        for operation, lanes, implementation, work, repetitions in jobs:
            native.force_isa(None if implementation == "openssl" else implementation)
            result[operation, lanes, implementation].append(timed(work, repetitions) / repetitions / lanes)
    native.force_isa(None)
    return result


def rows(result: dict[tuple[str, int, str], list[float]]) -> list[dict[str, Any]]:
    """One row for each (operation, lanes): medians in ns and the ratios of OpenSSL's time to each implementation's."""
    table = []
    for operation, lanes in dict.fromkeys((key[0], key[1]) for key in result):
        openssl = result[operation, lanes, "openssl"]
        row: dict[str, Any] = {"operation": operation, "lanes": lanes, "required": REQUIRED.get(operation)}
        for implementation in ("openssl", "portable", "avx512ifma"):
            times = result.get((operation, lanes, implementation))
            if times:
                row[f"{implementation}_ns"] = round(statistics.median(times))
                ratio = statistics.median(a / b for a, b in zip(openssl, times, strict=True))
                row[f"{implementation}_ratio"] = round(ratio, 2)
        table.append(row)
    return table


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description="Native kernel against OpenSSL, ns per operation and lane.")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        from loadgen import _native as native
    except ImportError as missing:
        print(f"the native extension is not built: {missing}", file=sys.stderr)
        return 2
    table = rows(measure(native, options.rounds))
    if options.json:
        print(json.dumps(table, indent=1))
    else:
        print(f"{'operation':18} {'lanes':>5} {'openssl':>9} {'portable':>9} {'ifma':>8}   ratio  at least")
        for row in table:
            required = f"{row['required']:.1f} x" if row["required"] else "-"
            print(
                f"{row['operation']:18} {row['lanes']:5} {row['openssl_ns']:9,} {row['portable_ns']:9,} "
                f"{row.get('avx512ifma_ns', 0):8,} {row.get('avx512ifma_ratio', 0):7.2f}  {required:>8}"
            )
    missed = [row for row in table if row["required"] and row.get("avx512ifma_ratio", 0) < row["required"]]
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
