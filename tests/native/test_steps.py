"""Whole protocol steps: padding, HMAC, checks and per-lane faults, on every implementation."""

from __future__ import annotations

import hashlib
import hmac
import json
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.native import keys
from tests.native.keys import E, Numbers

VECTORS = Path(__file__).parent.parent / "vectors"
SERVER, OTHER_SERVER = keys.key(2048, 0), keys.key(2048, 1)


def block(size: int, kind: int, padding: bytes, data: bytes) -> bytes:
    result = bytes((0, kind)) + padding + b"\0" + data
    assert len(result) == size
    return result


def public(numbers: Numbers, value: bytes) -> bytes:
    return pow(int.from_bytes(value, "big"), E, numbers.n).to_bytes(numbers.size, "big")


def private(numbers: Numbers, value: bytes) -> bytes:
    return numbers.private(int.from_bytes(value, "big")).to_bytes(numbers.size, "big")


def signed(server: Numbers, material: bytes, ciphertext: bytes) -> bytes:
    mac = hmac.new(material, ciphertext, hashlib.sha1).digest()
    return ciphertext + private(server, block(256, 1, b"\xff" * 233, mac))


def reply(device: Numbers, server: Numbers, material: bytes, rng: random.Random) -> bytes:
    padding = bytes(rng.randrange(1, 256) for _ in range(125 - len(material)))
    return signed(server, material, public(device, block(128, 2, padding, material)))


@cache
def recorded(lane: int) -> tuple[bytes, bytes]:
    """Session material and a good reply for device ``lane``."""
    rng = random.Random(lane)
    material = rng.randbytes(40)
    return material, reply(keys.key(1024, lane), SERVER, material, rng)


class Fixed:
    """Devices with their replies, one server, and the handles of an implementation."""

    def __init__(self, native: Any, lanes: int = 17) -> None:
        self.rng = random.Random(lanes)
        self.devices = [keys.key(1024, index) for index in range(lanes)]
        self.materials = [recorded(lane)[0] for lane in range(lanes)]
        self.replies = [recorded(lane)[1] for lane in range(lanes)]
        if native is None:  # vectors alone
            return
        self.device_handles = [native.DeviceKey(**numbers.integers()) for numbers in self.devices]
        self.device_publics = [native.DevicePublicKey(keys.magnitude(numbers.n)) for numbers in self.devices]
        self.server = native.ServerKey(**SERVER.integers())
        self.server_public = native.ServerPublicKey(keys.magnitude(SERVER.n))


@pytest.fixture
def fixed(kernel: Any) -> Fixed:
    return Fixed(kernel)


def test_encryption_with_given_padding_is_the_formula(kernel: Any, fixed: Fixed) -> None:
    plains = [fixed.rng.randbytes(length) for length in (214, 52, 0, 1, 245, 244, 100, 33, 214, 52)]
    paddings = [bytes(fixed.rng.randrange(1, 256) for _ in range(253 - len(plain))) for plain in plains]
    expected = [public(SERVER, block(256, 2, pad, plain)) for pad, plain in zip(paddings, plains, strict=True)]
    assert kernel.encrypt_nonce([fixed.server_public] * 10, plains, paddings) == expected


def test_random_padding_is_fresh_long_and_never_zero(kernel: Any, fixed: Fixed) -> None:
    ciphertexts = kernel.encrypt_nonce([fixed.server_public] * 24, [b"x" * 40] * 24)
    blocks = [private(SERVER, ciphertext) for ciphertext in ciphertexts]
    assert len(set(blocks)) == 24
    for plain in blocks:
        assert plain[:2] == b"\0\2"
        assert plain[-41:] == b"\0" + b"x" * 40
        assert 0 not in plain[2:-41]
    seen = {byte for plain in blocks for byte in plain[2:-41]}
    assert seen == set(range(1, 256))


def test_encryption_refuses_long_plaintexts_and_wrong_paddings_by_lane(kernel: Any, fixed: Fixed) -> None:
    key = fixed.server_public
    assert kernel.encrypt_nonce([key] * 3, [b"a" * 246, b"a" * 300, b"a" * 1000]) == [kernel.BAD_INPUT] * 3
    paddings = [b"\1" * 212, b"\1" * 214, b"\1" * 100 + b"\0" + b"\1" * 112, b"\1" * 213]
    results = kernel.encrypt_nonce([key] * 4, [b"a" * 40] * 4, paddings)
    assert results[:3] == [kernel.BAD_INPUT] * 3
    assert results[3] == public(SERVER, block(256, 2, b"\1" * 213, b"a" * 40))


@pytest.mark.parametrize("lanes", range(18))
def test_a_handshakes_steps_with_every_lane_count(native: Any, kernel: Any, lanes: int) -> None:
    if lanes == 0:
        empty: list[Any] = []
        assert kernel.encrypt_nonce(empty, empty) == kernel.decrypt_nonce(empty, empty) == empty
        assert kernel.unwrap_key(empty, empty, empty) == kernel.wrap_key(empty, empty, empty) == empty
        return
    fixed = Fixed(kernel, lanes)
    plains = [fixed.rng.randbytes(214 if lane % 3 else 52) for lane in range(lanes)]
    ciphertexts = kernel.encrypt_nonce([fixed.server_public] * lanes, plains)
    if native.isa() == "avx512ifma" or lanes in (1, 9):  # the portable one has no lanes, and is slow
        assert kernel.decrypt_nonce([fixed.server] * lanes, ciphertexts) == plains
        wrapped = kernel.wrap_key([fixed.server] * lanes, fixed.device_publics, fixed.materials)
        assert kernel.unwrap_key(fixed.device_handles, [fixed.server_public] * lanes, wrapped) == fixed.materials
    assert kernel.unwrap_key(fixed.device_handles, [fixed.server_public] * lanes, fixed.replies) == fixed.materials


def test_wrapping_with_given_padding_is_the_formula(kernel: Any, fixed: Fixed) -> None:
    paddings = [bytes(fixed.rng.randrange(1, 256) for _ in range(85)) for _ in range(9)]
    expected = [
        signed(SERVER, material, public(device, block(128, 2, pad, material)))
        for device, material, pad in zip(fixed.devices, fixed.materials, paddings, strict=False)
    ]
    arguments = [fixed.server] * 9, fixed.device_publics[:9], fixed.materials[:9]
    assert kernel.wrap_key(*arguments, paddings) == expected
    paddings[3] = b"\1" * 84 + b"\0"
    assert kernel.wrap_key(*arguments, paddings)[2:5] == [expected[2], kernel.BAD_INPUT, expected[4]]


def test_wrapping_refuses_material_of_other_lengths(kernel: Any, fixed: Fixed) -> None:
    materials = [b"", b"m" * 39, b"m" * 41, b"m" * 40]
    results = kernel.wrap_key([fixed.server] * 4, fixed.device_publics[:4], materials)
    assert results[:3] == [kernel.BAD_INPUT] * 3
    assert len(results[3]) == 384


Fault = Callable[[Fixed, int], bytes]


def change(at: int) -> Fault:
    def changed(fixed: Fixed, lane: int) -> bytes:
        good = fixed.replies[lane]
        return good[:at] + bytes((good[at] ^ 1,)) + good[at + 1 :]

    return changed


def other_length(length: int) -> Fault:
    """A reply whose plaintext has another length, correctly signed."""
    return lambda fixed, lane: reply(fixed.devices[lane], SERVER, b"m" * length, fixed.rng)


def raw_plaintext(plain: bytes) -> Fault:
    return lambda fixed, lane: signed(SERVER, b"m" * 40, public(fixed.devices[lane], plain))


def foreign_signature(fixed: Fixed, lane: int) -> bytes:
    return signed(OTHER_SERVER, fixed.materials[lane], fixed.replies[lane][:128])


def digest_info(fixed: Fixed, lane: int) -> bytes:
    """What a library signs that adds DigestInfo: right key, right hash, wrong block."""
    prefix = bytes.fromhex("3021300906052b0e03021a05000414")
    mac = prefix + hmac.new(fixed.materials[lane], fixed.replies[lane][:128], hashlib.sha1).digest()
    return fixed.replies[lane][:128] + private(SERVER, block(256, 1, b"\xff" * 218, mac))


UNWRAP_FAULTS: list[tuple[str, Fault, str]] = [
    ("changed ciphertext", change(100), "BAD_KEY"),
    ("ciphertext = modulus", lambda f, i: keys.magnitude(f.devices[i].n) + f.replies[i][128:], "BAD_KEY"),
    ("ciphertext all ones", lambda f, i: b"\xff" * 128 + f.replies[i][128:], "BAD_KEY"),
    ("ciphertext zero", lambda f, i: bytes(128) + f.replies[i][128:], "BAD_KEY"),
    ("39 bytes", other_length(39), "BAD_KEY"),
    ("41 bytes", other_length(41), "BAD_KEY"),
    ("no bytes", other_length(0), "BAD_KEY"),
    ("117 bytes", other_length(117), "BAD_KEY"),
    ("type 1", raw_plaintext(b"\0\1" + b"\xff" * 85 + b"\0" + b"m" * 40), "BAD_KEY"),
    ("first byte 1", raw_plaintext(b"\1\2" + b"\xff" * 85 + b"\0" + b"m" * 40), "BAD_KEY"),
    ("no end of padding", raw_plaintext(b"\0\2" + b"\xff" * 126), "BAD_KEY"),
    ("short padding", raw_plaintext(b"\0\2" + b"\xff" * 7 + b"\0" + b"m" * 118), "BAD_KEY"),
    ("changed signature", change(200), "BAD_SIGNATURE"),
    ("last bit of the signature", change(383), "BAD_SIGNATURE"),
    ("signature = modulus", lambda f, i: f.replies[i][:128] + keys.magnitude(SERVER.n), "BAD_SIGNATURE"),
    ("signature all ones", lambda f, i: f.replies[i][:128] + b"\xff" * 256, "BAD_SIGNATURE"),
    ("signature zero", lambda f, i: f.replies[i][:128] + bytes(256), "BAD_SIGNATURE"),
    ("another server's", foreign_signature, "BAD_SIGNATURE"),
    ("with DigestInfo", digest_info, "BAD_SIGNATURE"),
    ("both wrong", lambda f, i: bytes(384), "BAD_KEY"),
    ("one byte short", lambda f, i: f.replies[i][:-1], "BAD_INPUT"),
    ("one byte long", lambda f, i: f.replies[i] + b"\0", "BAD_INPUT"),
    ("empty", lambda f, i: b"", "BAD_INPUT"),
]


@pytest.mark.parametrize(("fault", "name"), [f[1:] for f in UNWRAP_FAULTS], ids=[f[0] for f in UNWRAP_FAULTS])
def test_one_bad_lane_is_named_and_disturbs_no_other(native: Any, kernel: Any, fault: Fault, name: str) -> None:
    lanes = 9
    fixed = Fixed(kernel, lanes)
    places = range(lanes) if native.isa() == "avx512ifma" else (8,)
    for bad in places:
        replies = list(fixed.replies)
        replies[bad] = fault(fixed, bad)
        expected: list[Any] = list(fixed.materials)
        expected[bad] = getattr(kernel, name)
        assert kernel.unwrap_key(fixed.device_handles, [fixed.server_public] * lanes, replies) == expected


def test_all_faults_in_one_batch(kernel: Any) -> None:
    fixed = Fixed(kernel, len(UNWRAP_FAULTS))
    replies = [fault(fixed, lane) for lane, (_, fault, _) in enumerate(UNWRAP_FAULTS)]
    result = kernel.unwrap_key(fixed.device_handles, [fixed.server_public] * len(replies), replies)
    assert result == [getattr(kernel, name) for _, _, name in UNWRAP_FAULTS]


def test_a_wrong_device_key_is_a_bad_key_and_a_wrong_server_key_a_bad_signature(kernel: Any, fixed: Fixed) -> None:
    turned = fixed.device_handles[1:] + fixed.device_handles[:1]
    assert kernel.unwrap_key(turned, [fixed.server_public] * 17, fixed.replies) == [kernel.BAD_KEY] * 17
    other = kernel.ServerPublicKey(keys.magnitude(OTHER_SERVER.n))
    assert kernel.unwrap_key(fixed.device_handles, [other] * 17, fixed.replies) == [kernel.BAD_SIGNATURE] * 17


def test_different_servers_share_a_batch(kernel: Any) -> None:
    fixed = Fixed(kernel, 8)
    other = kernel.ServerPublicKey(keys.magnitude(OTHER_SERVER.n))
    replies = [
        reply(device, OTHER_SERVER if lane % 2 else SERVER, material, fixed.rng)
        for lane, (device, material) in enumerate(zip(fixed.devices, fixed.materials, strict=True))
    ]
    servers = [fixed.server_public, other] * 4
    assert kernel.unwrap_key(fixed.device_handles, servers, replies) == fixed.materials
    assert kernel.unwrap_key(fixed.device_handles, servers[::-1], replies) == [kernel.BAD_SIGNATURE] * 8


def test_decryption_names_bad_ciphertexts(kernel: Any, fixed: Fixed) -> None:
    good = block(256, 2, b"\7" * 39, b"p" * 214)
    plains = [
        good,
        block(256, 1, b"\7" * 39, b"p" * 214),
        b"\1" + good[1:],
        b"\0\2" + b"\7" * 254,
        b"\0\2" + b"\7" * 7 + b"\0" + b"p" * 246,
        b"\0\2" + b"\7" * 8 + b"\0" + b"p" * 245,
        b"\0\2" + b"\7" * 253 + b"\0",
    ]
    ciphertexts = [public(SERVER, plain) for plain in plains]
    ciphertexts += [keys.magnitude(SERVER.n), b"\xff" * 256, bytes(256), ciphertexts[0][:-1], b""]
    bad, wrong = kernel.BAD_CIPHERTEXT, kernel.BAD_INPUT
    expected = [b"p" * 214, bad, bad, bad, bad, b"p" * 245, b"", bad, bad, bad, wrong, wrong]
    assert kernel.decrypt_nonce([fixed.server] * len(expected), ciphertexts) == expected


@pytest.mark.parametrize("number", ["dp", "dq", "qinv"])
def test_faulty_results_are_withheld_from_every_step(kernel: Any, number: str) -> None:
    def broken(numbers: Numbers) -> dict[str, bytes]:
        integers = numbers.integers()
        return {**integers, number: keys.magnitude(int.from_bytes(integers[number], "big") ^ 4)}

    fixed = Fixed(kernel, 3)
    bad_server, bad_device = kernel.ServerKey(**broken(SERVER)), kernel.DeviceKey(**broken(fixed.devices[1]))
    servers = [fixed.server, bad_server, fixed.server]
    ciphertexts = kernel.encrypt_nonce([fixed.server_public] * 3, [b"p" * 214] * 3)
    assert kernel.decrypt_nonce(servers, ciphertexts) == [b"p" * 214, kernel.FAULTY_RESULT, b"p" * 214]
    wrapped = kernel.wrap_key(servers, fixed.device_publics, fixed.materials)
    assert wrapped[1] == kernel.FAULTY_RESULT
    assert [len(wrapped[0]), len(wrapped[2])] == [384, 384]
    devices = [fixed.device_handles[0], bad_device, fixed.device_handles[2]]
    expected = [fixed.materials[0], kernel.FAULTY_RESULT, fixed.materials[2]]
    assert kernel.unwrap_key(devices, [fixed.server_public] * 3, fixed.replies) == expected


@pytest.mark.parametrize("name", ["sparkprotocol-0.7.0", "lightssl-0.7.0"])
def test_recorded_handshakes_of_the_firmware(kernel: Any, name: str) -> None:
    path = VECTORS / f"{name}.json"
    transcripts = json.loads(path.read_text())["transcripts"]
    records = [{k: bytes.fromhex(v) for k, v in t.items() if k in FIELDS} for t in transcripts]
    devices = [kernel.DeviceKey.from_der(record["device_private_key_der"]) for record in records]
    servers = [kernel.ServerPublicKey(record["server_public_key_der"][33:289]) for record in records]
    result = kernel.unwrap_key(devices, servers, [record["reply"] for record in records])
    assert result == [record["session"] for record in records]
    assert [device.modulus for device in devices] == [record["device_public_key_der"][29:157] for record in records]
    cloud = [kernel.ServerKey.from_der(pem_body(t["server_private_key_pem"])) for t in transcripts]
    plains = kernel.decrypt_nonce(cloud, [record["ciphertext"] for record in records])
    assert plains == [record["ciphertext_plain"] for record in records]
    for record, transcript in zip(records, transcripts, strict=True):
        hello = next(bytes.fromhex(f["frame"]) for f in transcript["frames"] if f["dir"] == "c2s")[2:]
        padded = kernel.open(record["key"], record["iv"], hello)
        assert kernel.seal(record["key"], record["iv"], padded) == hello
        if len(padded) == 16:
            assert kernel.seal_hello([record["key"]], [record["iv"]], [padded]) == [hello]


FIELDS = {
    "device_private_key_der",
    "server_public_key_der",
    "device_public_key_der",
    "reply",
    "session",
    "ciphertext",
    "ciphertext_plain",
    "key",
    "iv",
}


def pem_body(pem: str) -> bytes:
    import base64

    return base64.b64decode("".join(line for line in pem.splitlines() if not line.startswith("-")))


@pytest.mark.long
@pytest.mark.ifma
def test_many_handshakes_between_the_two_implementations(native: Any) -> None:
    """What one implementation made, the other takes, 100,000 lanes in both directions."""
    if "avx512ifma" not in native.features():
        pytest.skip("this CPU has no AVX-512 IFMA")
    fixed = Fixed(native, 64)
    servers, publics = [fixed.server] * 64, [fixed.server_public] * 64
    for batch in range(100_000 // 64):
        materials = [fixed.rng.randbytes(40) for _ in range(64)]
        native.force_isa("avx512ifma")
        wrapped = native.wrap_key(servers, fixed.device_publics, materials)
        if batch % 16 == 0:
            native.force_isa("portable")
        assert native.unwrap_key(fixed.device_handles, publics, wrapped) == materials
