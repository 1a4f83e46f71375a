"""Keys of the extension: encodings, limits, and what is refused."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.native import keys
from tests.native.keys import Numbers, from_primes, integer, tlv

VECTORS = Path(__file__).parent.parent / "vectors"


def works(native: Any, handle: Any, numbers: Numbers) -> bool:
    value = numbers.n - 2
    (result,) = native.private_raw([handle], [value.to_bytes(numbers.size, "big")])
    return bool(int.from_bytes(result, "big") == numbers.private(value))


def kind_of(native: Any, bits: int) -> Any:
    return native.DeviceKey if bits == 1024 else native.ServerKey


@pytest.mark.parametrize("bits", [1024, 2048])
@pytest.mark.parametrize("leading", [0, 1, 5])
def test_leading_zeros_change_nothing(native: Any, bits: int, leading: int) -> None:
    numbers = keys.key(bits, 0)
    kind = kind_of(native, bits)
    for handle in (kind(**numbers.integers(leading)), kind.from_der(numbers.pkcs1(leading))):
        assert handle.modulus == keys.magnitude(numbers.n)
        assert works(native, handle, numbers)


def test_pkcs8_is_unwrapped(native: Any) -> None:
    numbers = keys.key(2048, 1)
    assert works(native, native.ServerKey.from_der(numbers.pkcs8()), numbers)


def test_both_orders_of_the_primes(native: Any) -> None:
    for index in range(4):
        numbers = keys.key(1024, index)
        for p, q in ((numbers.p, numbers.q), (numbers.q, numbers.p)):
            assert works(native, native.DeviceKey(**from_primes(p, q).integers()), numbers)


def test_recorded_odd_keys_load_and_work(native: Any) -> None:
    """Keys that the device's own parser misreads are ordinary keys here."""
    for entry in json.loads((VECTORS / "odd-keys.json").read_text())["keys"]:
        handle = native.DeviceKey.from_der(bytes.fromhex(entry["private_key_der"]))
        (result,) = native.private_raw([handle], [bytes(127) + b"\2"])
        n = int.from_bytes(handle.modulus, "big")
        assert pow(int.from_bytes(result, "big"), keys.E, n) == 2


def test_a_fleet_of_keys_is_modest_in_memory(native: Any) -> None:
    assert sys.getsizeof(native.DeviceKey(**keys.key(1024, 0).integers())) < 1200
    assert sys.getsizeof(native.DevicePublicKey(keys.magnitude(keys.key(1024, 0).n))) < 600


def test_public_keys_take_a_modulus_and_give_it_back(native: Any) -> None:
    for kind, bits in ((native.DevicePublicKey, 1024), (native.ServerPublicKey, 2048)):
        n = keys.key(bits, 0).n
        assert kind(b"\0\0" + keys.magnitude(n)).modulus == keys.magnitude(n)
        for wrong in (b"", b"\0", keys.magnitude(n)[8:], keys.magnitude(n) + b"\1", keys.magnitude(n - 1)):
            with pytest.raises(ValueError, match="modulus"):
                kind(wrong)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n": 3}, "not the product"),
        ({"n": 1}, "even"),
        ({"p": 1}, "even"),
        ({"q": 1}, "even"),
        ({"p": 2}, "not the product"),
    ],
)
@pytest.mark.parametrize("bits", [1024, 2048])
def test_inconsistent_integers_are_refused(native: Any, bits: int, changes: dict[str, int], message: str) -> None:
    integers = keys.key(bits, 0).integers()
    for name, bit in changes.items():
        changed = int.from_bytes(integers[name], "big") ^ (1 << bit if bit > 1 else 1)
        integers[name] = keys.magnitude(changed)
    with pytest.raises(ValueError, match=message):
        kind_of(native, bits)(**integers)


def test_exponents_and_qinv_must_be_below_their_primes(native: Any) -> None:
    numbers = keys.key(1024, 0)
    for name, limit in (("dp", numbers.p), ("dq", numbers.q), ("qinv", numbers.p)):
        for value in (limit, (1 << 512) - 1, 1 << 600):
            with pytest.raises(ValueError, match=r"below its prime|too long"):
                native.DeviceKey(**{**numbers.integers(), name: keys.magnitude(value)})


def test_primes_of_very_different_lengths_are_refused(native: Any) -> None:
    rng = random.Random(5)
    numbers = from_primes(keys.prime(rng, 500), keys.prime(rng, 524))
    with pytest.raises(ValueError, match="differ too much"):
        native.DeviceKey(**numbers.integers())


def test_sizes_do_not_mix(native: Any) -> None:
    with pytest.raises(ValueError, match="2048"):
        native.ServerKey(**keys.key(1024, 0).integers())
    with pytest.raises(ValueError, match="1024"):
        native.DeviceKey.from_der(keys.key(2048, 0).pkcs1())


def test_broken_der_is_refused_wherever_it_breaks(native: Any) -> None:
    good = keys.key(1024, 0).pkcs1()
    native.DeviceKey.from_der(good)
    for length in range(len(good)):
        with pytest.raises(ValueError, match="DER"):
            native.DeviceKey.from_der(good[:length])
    with pytest.raises(ValueError, match="DER"):
        native.DeviceKey.from_der(good + b"\0")
    rng = random.Random(6)
    for _ in range(2000):
        at = rng.randrange(len(good))
        damaged = good[:at] + bytes((rng.randrange(256),)) + good[at + 1 :]
        try:
            handle = native.DeviceKey.from_der(damaged)
        except ValueError:
            continue
        assert len(handle.modulus) == 128  # d is not read, and a wrong exponent only shows in use


def test_other_exponents_and_versions_are_refused(native: Any) -> None:
    numbers = keys.key(1024, 0)
    values = [numbers.d, numbers.p, numbers.q, *numbers.crt]
    tail = b"".join(map(integer, values))
    head = tlv(0x02, b"\0") + integer(numbers.n)
    for e in (3, 17, 65539, 1 << 64):
        with pytest.raises(ValueError, match="exponent"):
            native.DeviceKey.from_der(tlv(0x30, head + integer(e) + tail))
    with pytest.raises(ValueError, match="DER"):
        native.DeviceKey.from_der(tlv(0x30, tlv(0x02, b"\1") + head[3:] + integer(keys.E) + tail))
    with pytest.raises(ValueError, match="DER"):
        native.DeviceKey.from_der(tlv(0x30, tlv(0x02, b"\0") + tlv(0x02, b"\xff" * 128) + integer(keys.E) + tail))


def test_wrong_types_are_the_callers_fault(native: Any) -> None:
    numbers = keys.key(1024, 0)
    device = native.DeviceKey(**numbers.integers())
    server = native.ServerPublicKey(keys.magnitude(keys.key(2048, 0).n))
    with pytest.raises(TypeError, match="DeviceKey"):
        native.unwrap_key([server], [server], [b""])
    with pytest.raises(TypeError, match="bytes"):
        native.unwrap_key([device], [server], [bytearray(384)])
    with pytest.raises(TypeError, match="None"):
        native.encrypt_nonce([server], [None])
    with pytest.raises(ValueError, match="differ in length"):
        native.unwrap_key([device, device], [server], [b""])
    with pytest.raises(TypeError):
        native.encrypt_nonce(5, [b""])
    with pytest.raises(TypeError):
        native.DeviceKey(n=1, p=2, q=3, dp=4, dq=5, qinv=6)
    with pytest.raises(AttributeError):
        device.modulus = b""
