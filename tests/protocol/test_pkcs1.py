from __future__ import annotations

import json
from pathlib import Path

import pytest

from loadgen.protocol.pkcs1 import private_key_integers, private_key_size

ODD_KEYS = json.loads((Path(__file__).parent.parent / "vectors" / "odd-keys.json").read_text(encoding="utf-8"))["keys"]
DER = bytes.fromhex(ODD_KEYS[0]["private_key_der"])


def test_finds_the_integers_of_every_recorded_key() -> None:
    for key in ODD_KEYS:
        integers = private_key_integers(bytes.fromhex(key["private_key_der"]))
        lengths = key["integer_lengths"]
        assert [len(value) for value in (integers.n, integers.d, integers.p, integers.q)] == [
            lengths["N"],
            lengths["D"],
            lengths["P"],
            lengths["Q"],
        ]
        assert [len(value) for value in (integers.dp, integers.dq, integers.qp)] == [
            lengths["DP"],
            lengths["DQ"],
            lengths["QP"],
        ]
        n, e, d, p, q, dp, dq, qp = (int.from_bytes(value) for value in integers)
        assert (p * q, dp, dq, q * qp % p) == (n, d % (p - 1), d % (q - 1), 1)
        assert e == 65537


def test_takes_the_size_from_the_key_and_not_from_the_slot() -> None:
    assert private_key_size(DER.ljust(612, b"\xff")) == len(DER)
    assert private_key_integers(DER + b"leftovers of a longer key") == private_key_integers(DER)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 10, 138, 300, len(DER) - 1])
def test_a_key_that_is_cut_off_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="PKCS#1"):
        private_key_integers(DER[:size])


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\xff" * 612, id="an empty slot"),
        pytest.param(b"-----BEGIN RSA PRIVATE KEY-----", id="PEM"),
        pytest.param(b"\x30\x80" + DER[4:], id="indefinite length"),
        pytest.param(b"\x30\x83\x00\x02\x5a" + DER[4:], id="three bytes of length"),
        pytest.param(DER[:4] + b"\x02\x01\x01" + DER[7:], id="version 1"),
        pytest.param(b"\x30\x03\x02\x01\x00", id="no integers"),
        pytest.param(DER[:4] + b"\x02\x00" + DER[6:], id="an empty integer"),
        pytest.param(b"\x30\x82\x02\x77\x02\x01\x00\x30\x0d" + bytes(0x26E), id="PKCS#8"),
    ],
)
def test_another_encoding_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="PKCS#1"):
        private_key_integers(data)
