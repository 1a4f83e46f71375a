"""Raw operations of every implementation, bit by bit against Python's integers and OpenSSL."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils
from cryptography.hazmat.primitives.hashes import SHA1

from tests.native import keys
from tests.native.keys import E, Numbers

SIZES = (512, 1024, 2048)
LANE_COUNTS = range(1, 18)


def encode(values: Sequence[int], bits: int) -> list[bytes]:
    return [value.to_bytes(bits // 8, "big") for value in values]


def decode(lanes: Sequence[Any]) -> list[int]:
    return [int.from_bytes(lane, "big") for lane in lanes]


def modulus(rng: random.Random, bits: int) -> int:
    return rng.getrandbits(bits) | 1 << (bits - 1) | 1


def runs(rng: random.Random, bits: int) -> int:
    """A number made of long runs of equal bits."""
    value, at, bit = 0, 0, rng.getrandbits(1)
    while at < bits:
        length = rng.randrange(1, 120)
        value |= (((1 << length) - 1) * bit) << at
        at, bit = at + length, bit ^ 1
    return value & ((1 << bits) - 1)


def edge_values(n: int) -> list[int]:
    """0, 1, n−1, n−2, powers of two around every limb boundary of 52 bits, runs of ones and zeros."""
    rng = random.Random(n & 0xFFFF)
    bits = n.bit_length()
    values = [0, 1, 2, n - 1, n - 2, n // 2, n ^ 1]
    values += [1 << at for at in range(51, bits - 1, 52)] + [(1 << at) - 1 for at in range(52, bits, 52)]
    values += [runs(rng, bits) % n for _ in range(24)]
    return values


def edge_moduli(bits: int) -> list[int]:
    """The smallest and largest of a size, sparse ones, and such whose low limbs are all zeros or all ones."""
    top = 1 << (bits - 1)
    rng = random.Random(bits)
    ones = (1 << bits) - 1
    sparse = [top | 1, ones, ones - 2, top | (1 << 52) | 1, top | ((1 << 200) - 1), ones ^ (((1 << 200) - 1) << 52)]
    # The fixed sizes of the protocol allow up to seven leading zero bits.
    return sparse + [(1 << (bits - 8)) | 1] + [runs(rng, bits) | top | 1 for _ in range(9)]


@pytest.mark.parametrize("bits", SIZES)
def test_multiplication_and_squaring_agree_with_integers(kernel: Any, bits: int) -> None:
    rng = random.Random(bits)
    moduli = [modulus(rng, bits) for _ in range(160)]
    a = [rng.randrange(n) for n in moduli]
    b = [rng.randrange(n) for n in moduli]
    n_bytes, a_bytes, b_bytes = encode(moduli, bits), encode(a, bits), encode(b, bits)
    for count in (1, 2, 5):
        products = [x * pow(y, count, n) % n for x, y, n in zip(a, b, moduli, strict=True)]
        assert decode(kernel.mul_mod(bits, n_bytes, a_bytes, b_bytes, count)) == products
        squares = [pow(x, 2**count, n) for x, n in zip(a, moduli, strict=True)]
        assert decode(kernel.sqr_mod(bits, n_bytes, a_bytes, count)) == squares


@pytest.mark.parametrize("bits", SIZES)
def test_edge_values_multiply_and_square_exactly(kernel: Any, bits: int) -> None:
    for n in edge_moduli(bits):
        values = edge_values(n)
        others = values[1:] + values[:1]
        n_bytes, a_bytes, b_bytes = encode([n] * len(values), bits), encode(values, bits), encode(others, bits)
        products = [x * y % n for x, y in zip(values, others, strict=True)]
        assert decode(kernel.mul_mod(bits, n_bytes, a_bytes, b_bytes)) == products
        assert decode(kernel.sqr_mod(bits, n_bytes, a_bytes)) == [x * x % n for x in values]


@pytest.mark.parametrize("bits", SIZES)
def test_long_chains_do_not_drift_out_of_range(kernel: Any, bits: int) -> None:
    steps = 2000
    moduli = edge_moduli(bits)[:8]
    a = [n - 2 for n in moduli]
    result = decode(kernel.sqr_mod(bits, encode(moduli, bits), encode(a, bits), steps))
    assert result == [pow(x, 1 << steps, n) for x, n in zip(a, moduli, strict=True)]


@pytest.mark.parametrize("bits", SIZES)
def test_public_operation_on_edge_values(kernel: Any, bits: int) -> None:
    for n in edge_moduli(bits)[:8]:
        values = edge_values(n)[:: 1 if bits < 2048 else 3]
        result = kernel.modexp_public(bits, encode([n] * len(values), bits), encode(values, bits))
        assert decode(result) == [pow(x, E, n) for x in values]


@pytest.mark.parametrize("bits", SIZES)
@pytest.mark.parametrize("count", LANE_COUNTS)
def test_every_lane_count(kernel: Any, bits: int, count: int) -> None:
    rng = random.Random(count)
    moduli = [modulus(rng, bits) for _ in range(count)]
    values = [rng.randrange(n) for n in moduli]
    result = kernel.modexp_public(bits, encode(moduli, bits), encode(values, bits))
    assert decode(result) == [pow(x, E, n) for x, n in zip(values, moduli, strict=True)]


def test_no_lanes_give_no_results(kernel: Any) -> None:
    assert kernel.modexp_public(1024, [], []) == []
    assert kernel.private_raw([], []) == []


def private_key(native: Any, numbers: Numbers) -> Any:
    kind = native.DeviceKey if numbers.size == 128 else native.ServerKey
    return kind(**numbers.integers())


def check_private(native: Any, pairs: Sequence[tuple[Numbers, int]]) -> None:
    handles = {numbers: private_key(native, numbers) for numbers, _ in pairs}
    batch = [handles[numbers] for numbers, _ in pairs]
    inputs = [value.to_bytes(numbers.size, "big") for numbers, value in pairs]
    expected = [numbers.private(value) for numbers, value in pairs]
    assert decode(native.private_raw(batch, inputs)) == expected


@pytest.mark.parametrize("bits", [1024, 2048])
def test_private_operation_agrees_with_integers(kernel: Any, bits: int) -> None:
    rng = random.Random(bits)
    pool = [keys.key(bits, index) for index in range(20 if bits == 1024 else 4)]
    count = 256 if bits == 1024 else 24
    check_private(kernel, [(k, rng.randrange(k.n)) for k in (rng.choice(pool) for _ in range(count))])


@pytest.mark.parametrize(
    ("bits", "difference"), [(1024, d) for d in (-4, -2, -1, 0, 1, 2, 4)] + [(2048, d) for d in (-4, -1, 1)]
)
def test_primes_of_different_lengths(kernel: Any, bits: int, difference: int) -> None:
    numbers = keys.uneven_key(bits, difference)
    rng = random.Random(difference)
    values = [0, 1, numbers.n - 1, numbers.p, numbers.q, numbers.n - numbers.q]
    assert numbers.private(values[-1]) == pow(values[-1], numbers.d, numbers.n)
    check_private(kernel, [(numbers, v) for v in (*values, rng.randrange(numbers.n))])


@pytest.mark.parametrize("bits", [1024, 2048])
def test_keys_of_different_lengths_share_a_batch(kernel: Any, bits: int) -> None:
    pool = [keys.uneven_key(bits, d) for d in (-4, 1)] + [keys.key(bits, 0)]
    check_private(kernel, [(numbers, numbers.n - 3) for numbers in pool])


@pytest.mark.parametrize("bits", [1024, 2048])
def test_private_operation_on_edge_values(kernel: Any, bits: int) -> None:
    numbers = keys.key(bits, 1)
    values = edge_values(numbers.n)[: 60 if bits == 1024 else 12]
    check_private(kernel, [(numbers, v) for v in (*values, numbers.p, numbers.q * 2, numbers.n - numbers.p)])


@pytest.mark.parametrize("count", LANE_COUNTS)
def test_private_operation_with_every_lane_count(kernel: Any, count: int) -> None:
    rng = random.Random(count)
    check_private(kernel, [(k, rng.randrange(k.n)) for k in (keys.key(1024, i) for i in range(count))])


def openssl_key(numbers: Numbers) -> rsa.RSAPrivateKey:
    dp, dq, qinv = numbers.crt
    public = rsa.RSAPublicNumbers(E, numbers.n)
    private = rsa.RSAPrivateNumbers(numbers.p, numbers.q, numbers.d, dp, dq, qinv, public)
    return private.private_key(unsafe_skip_rsa_key_validation=True)


@pytest.mark.parametrize("bits", [1024, 2048])
def test_private_operation_is_openssls(kernel: Any, bits: int) -> None:
    """A signature without DigestInfo is the raw operation on a known block."""
    rng = random.Random(7)
    pool = [keys.key(bits, index) for index in range(6)]
    macs = [rng.randbytes(20) for _ in range(24)]
    expected = [
        openssl_key(pool[i % 6]).sign(mac, padding.PKCS1v15(), utils.NoDigestInfo()) for i, mac in enumerate(macs)
    ]
    size = bits // 8
    blocks = [b"\0\1" + b"\xff" * (size - 23) + b"\0" + mac for mac in macs]
    handles = [private_key(kernel, numbers) for numbers in pool]
    assert kernel.private_raw([handles[i % 6] for i in range(24)], blocks) == expected


def test_openssl_verifies_what_the_kernel_signed(kernel: Any) -> None:
    numbers = keys.key(2048, 2)
    mac = bytes(range(20))
    block = b"\0\1" + b"\xff" * 233 + b"\0" + mac
    (signature,) = kernel.private_raw([private_key(kernel, numbers)], [block])
    public = openssl_key(numbers).public_key()
    assert public.recover_data_from_signature(signature, padding.PKCS1v15(), None) == mac
    assert SHA1.digest_size == len(mac)


@pytest.mark.parametrize("number", ["dp", "dq", "qinv"])
@pytest.mark.parametrize("bits", [1024, 2048])
def test_a_result_that_fails_the_check_stays_inside(native: Any, kernel: Any, bits: int, number: str) -> None:
    numbers = keys.key(bits, 3)
    broken = dict(numbers.integers())
    broken[number] = keys.magnitude(int.from_bytes(broken[number], "big") ^ 2)
    kind = kernel.DeviceKey if bits == 1024 else kernel.ServerKey
    good, bad = kind(**numbers.integers()), kind(**broken)
    value = (12345).to_bytes(bits // 8, "big")
    expected = pow(12345, numbers.d, numbers.n).to_bytes(bits // 8, "big")
    for at in range(9) if native.isa() == "avx512ifma" else (8,):
        batch = [bad if lane == at else good for lane in range(9)]
        result = kernel.private_raw(batch, [value] * 9)
        assert result == [kernel.FAULTY_RESULT if lane == at else expected for lane in range(9)]


def test_operands_not_below_the_modulus_or_of_wrong_length_are_refused_by_lane(kernel: Any) -> None:
    numbers = keys.key(1024, 0)
    good = (5).to_bytes(128, "big")
    wrong = [numbers.n.to_bytes(128, "big"), b"\xff" * 128, good[1:], good + b"\0", b""]
    n = numbers.n.to_bytes(128, "big")
    handle = private_key(kernel, numbers)
    for bad in wrong:
        lanes = [good, bad, good]
        assert kernel.private_raw([handle] * 3, lanes)[1] == kernel.BAD_INPUT
        fifth = pow(5, E, numbers.n).to_bytes(128, "big")
        assert kernel.modexp_public(1024, [n] * 3, lanes) == [fifth, kernel.BAD_INPUT, fifth]
        assert kernel.mul_mod(1024, [n] * 3, [good] * 3, lanes)[1] == kernel.BAD_INPUT
        assert kernel.sqr_mod(1024, [n] * 3, lanes)[1] == kernel.BAD_INPUT


@pytest.mark.parametrize(("bits", "n"), [(1024, 1 << 1023), (1024, 3), (512, 1 << 1000 | 1), (777, 1 << 776 | 1)])
def test_bad_moduli_are_refused(native: Any, bits: int, n: int) -> None:
    with pytest.raises(ValueError, match=r"modulus|size"):
        native.modexp_public(bits, [keys.magnitude(n)], [bytes(bits // 8)])


@pytest.mark.long
@pytest.mark.ifma
def test_a_hundred_thousand_pairs(native: Any) -> None:
    """Random (key, message) pairs on the vector code: raw private operations, both sizes, against OpenSSL."""
    if "avx512ifma" not in native.features():
        pytest.skip("this CPU has no AVX-512 IFMA")
    rng = random.Random(11)
    for bits, pool_size, total in ((1024, 40, 90_000), (2048, 6, 10_000)):
        pool = [keys.key(bits, index) for index in range(pool_size)]
        handles = [private_key(native, numbers) for numbers in pool]
        signers = [openssl_key(numbers) for numbers in pool]
        for _ in range(total // 64):
            chosen = [rng.randrange(pool_size) for _ in range(64)]
            macs = [rng.randbytes(20) for _ in chosen]
            blocks = [b"\0\1" + b"\xff" * (bits // 8 - 23) + b"\0" + mac for mac in macs]
            expected = [
                signers[i].sign(mac, padding.PKCS1v15(), utils.NoDigestInfo())
                for i, mac in zip(chosen, macs, strict=True)
            ]
            assert native.private_raw([handles[i] for i in chosen], blocks) == expected
            moduli = [pool[i].n.to_bytes(bits // 8, "big") for i in chosen]
            assert native.modexp_public(bits, moduli, expected) == blocks
