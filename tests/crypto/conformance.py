"""The conformance kit: what every crypto backend must do, on the same vectors.

A backend joins by a test class that inherits :class:`BackendConformance` and a fixture ``backend`` of class
scope. Beside the recordings of genuine firmware the kit makes replies of its own with plain integers, so
that it does not depend on the library that a backend uses.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_der_private_key

from loadgen.crypto.base import CryptoBackend, LaneResult, RawBackend
from loadgen.protocol.events import DecryptNonce, EncryptNonce, KeyHandle, Open, Seal, UnwrapKey, WrapKey
from loadgen.protocol.reasons import CryptoFault
from loadgen.protocol.wire import device_spki, server_spki
from tests.crypto.recordings import Transcript, load_vector, transcripts

T = TypeVar("T")
BATCH_SIZES = range(18)
E = 65537


@dataclass(frozen=True)
class PlainKey:
    """An RSA key as plain integers, with the operations that no library offers."""

    n: int
    p: int
    q: int
    d_p: int
    d_q: int
    q_inverse: int
    size: int

    @classmethod
    def of(cls, der: bytes) -> PlainKey:
        key = load_der_private_key(der, None)
        assert isinstance(key, RSAPrivateKey)
        k = key.private_numbers()
        return cls(k.public_numbers.n, k.p, k.q, k.dmp1, k.dmq1, k.iqmp, key.key_size // 8)

    def public(self, block: bytes) -> bytes:
        return pow(int.from_bytes(block), E, self.n).to_bytes(self.size)

    def private(self, block: bytes) -> bytes:
        value = int.from_bytes(block)
        m_p, m_q = pow(value, self.d_p, self.p), pow(value, self.d_q, self.q)
        return (m_q + (m_p - m_q) * self.q_inverse % self.p * self.q).to_bytes(self.size)


@cache
def plain_key(der: bytes) -> PlainKey:
    return PlainKey.of(der)


def encryption_block(message: bytes, size: int = 128) -> bytes:
    """RFC 8017 EME-PKCS1-v1_5 with a fixed padding string."""
    return b"\0\2" + b"\x5a" * (size - 3 - len(message)) + b"\0" + message


def signature_block(mac: bytes, size: int = 256) -> bytes:
    """RFC 8017 EMSA-PKCS1-v1_5 without DigestInfo."""
    return b"\0\1" + b"\xff" * (size - 3 - len(mac)) + b"\0" + mac


def reply_of(t: Transcript, key_block: bytes, material: bytes, signed: bytes | None = None) -> bytes:
    """A reply with a chosen encryption block; signed as it should be, or over a chosen signature block."""
    ciphertext = plain_key(t.device_key).public(key_block)
    mac = hmac.digest(material, ciphertext, "sha1")
    return ciphertext + plain_key(t.server_key).private(signed or signature_block(mac))


def repeated(items: Sequence[T], size: int) -> list[T]:
    return [items[index % len(items)] for index in range(size)]


def flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


def _parsed(load: Callable[[bytes], KeyHandle], encoded: Sequence[bytes]) -> dict[bytes, KeyHandle]:
    return {data: load(data) for data in dict.fromkeys(encoded)}


class Loaded:
    """The keys of every recording, parsed by the backend under test."""

    def __init__(self, backend: CryptoBackend) -> None:
        self.backend = backend
        recorded = transcripts()
        self.device = _parsed(backend.load_device_key, [t.device_key for t in recorded])
        self.device_public = _parsed(backend.load_device_public_key, [t.device_public_key for t in recorded])
        self.server = _parsed(backend.load_server_key, [t.server_key for t in recorded])
        self.server_public = _parsed(backend.load_server_public_key, [t.server_public_key for t in recorded])

    def encrypt(self, t: Transcript, plaintext: bytes | None = None) -> EncryptNonce:
        return EncryptNonce(self.server_public[t.server_public_key], t.plaintext if plaintext is None else plaintext)

    def unwrap(self, t: Transcript, reply: bytes | None = None) -> UnwrapKey:
        key = self.device[t.device_key]
        return UnwrapKey(key, self.server_public[t.server_public_key], t.reply if reply is None else reply)

    def decrypt(self, t: Transcript, ciphertext: bytes | None = None) -> DecryptNonce:
        return DecryptNonce(self.server[t.server_key], t.ciphertext if ciphertext is None else ciphertext)

    def wrap(self, t: Transcript, material: bytes | None = None) -> WrapKey:
        return WrapKey(
            self.server[t.server_key],
            self.device_public[t.device_public_key],
            t.material if material is None else material,
        )

    def verdict(self, t: Transcript, reply: bytes) -> LaneResult:
        (result,) = self.backend.unwrap_key([self.unwrap(t, reply)])
        return result


_loaded: dict[int, Loaded] = {}


def loaded_by(backend: CryptoBackend) -> Loaded:
    """Checking the numbers of the servers' keys takes long enough to do it once a backend."""
    if id(backend) not in _loaded:
        _loaded[id(backend)] = Loaded(backend)  # holds the backend, so no other gets its id
    return _loaded[id(backend)]


def check_wrapped(t: Transcript, reply: LaneResult) -> None:
    """``reply`` is what a device of recording ``t`` accepts for its session material."""
    assert isinstance(reply, bytes)
    assert len(reply) == 384
    block = plain_key(t.device_key).private(reply[:128])
    assert block[:2] == b"\0\2"
    assert 0 not in block[2:87]
    assert block[87:] == b"\0" + t.material
    mac = hmac.digest(t.material, reply[:128], "sha1")
    assert plain_key(t.server_key).public(reply[128:]) == signature_block(mac)


def check_encrypted(t: Transcript, ciphertext: LaneResult) -> None:
    """``ciphertext`` is RSAES-PKCS1-v1_5 of the recorded plaintext for the recorded server key."""
    assert isinstance(ciphertext, bytes)
    assert len(ciphertext) == 256
    block = plain_key(t.server_key).private(ciphertext)
    separator = 256 - len(t.plaintext) - 1
    assert block[:2] == b"\0\2"
    assert 0 not in block[2:separator]
    assert block[separator:] == b"\0" + t.plaintext


class BackendConformance:
    """Tests to inherit. Needs a fixture ``backend`` that lives as long as the class or longer."""

    @pytest.fixture
    def loaded(self, backend: CryptoBackend) -> Loaded:
        return loaded_by(backend)

    # --- recordings and vectors

    def test_unwraps_every_recording(self, loaded: Loaded) -> None:
        assert loaded.backend.unwrap_key([loaded.unwrap(t) for t in transcripts()]) == [
            t.material for t in transcripts()
        ]

    def test_decrypts_every_recording(self, loaded: Loaded) -> None:
        assert loaded.backend.decrypt_nonce([loaded.decrypt(t) for t in transcripts()]) == [
            t.plaintext for t in transcripts()
        ]

    def test_encrypts_for_every_recorded_server(self, loaded: Loaded) -> None:
        results = loaded.backend.encrypt_nonce([loaded.encrypt(t) for t in transcripts()])
        for t, result in zip(transcripts(), results, strict=True):
            check_encrypted(t, result)

    def test_wraps_for_every_recorded_device(self, loaded: Loaded) -> None:
        results = loaded.backend.wrap_key([loaded.wrap(t) for t in transcripts()])
        for t, result in zip(transcripts(), results, strict=True):
            check_wrapped(t, result)

    def test_seals_and_opens_every_recorded_frame(self, backend: CryptoBackend) -> None:
        for t in transcripts():
            assert t.frames
            for frame in t.frames:
                key = t.material[:16]
                assert backend.seal(Seal(key, frame.iv, frame.padded)) == frame.ciphertext
                assert backend.open(Open(key, frame.iv, frame.ciphertext)) == frame.padded

    def test_agrees_with_the_published_vectors(self, backend: CryptoBackend) -> None:
        vector = load_vector("handshake")
        p, q = int(vector["server"]["p"], 16), int(vector["server"]["q"], 16)
        spki = server_spki((p * q).to_bytes(256))
        assert hashlib.sha256(spki).hexdigest() == vector["server"]["spki_der_sha256"]
        request = UnwrapKey(
            backend.load_device_key(bytes.fromhex(vector["device"]["private_der_device_style"])),
            backend.load_server_public_key(spki),
            bytes.fromhex(vector["key_ciphertext"] + vector["signature"]),
        )
        assert backend.unwrap_key([request]) == [bytes.fromhex(vector["credentials"])]

    def test_sees_a_wrong_key_behind_forty_random_bytes(self, backend: CryptoBackend) -> None:
        vector = load_vector("implicit-rejection")
        device = backend.load_device_key(bytes.fromhex(vector["device_private_key_der"]))
        server = backend.load_server_public_key(bytes.fromhex(vector["server_public_key_der"]))
        batch = [UnwrapKey(device, server, bytes.fromhex(case["reply"])) for case in vector["cases"]]
        assert backend.unwrap_key(batch) == [CryptoFault(case["fault"]) for case in vector["cases"]]

    # --- what a fresh operation may not share with another

    def test_never_pads_twice_alike(self, loaded: Loaded) -> None:
        t = transcripts()[0]
        assert len(set(loaded.backend.encrypt_nonce([loaded.encrypt(t)] * 9))) == 9
        assert len(set(loaded.backend.wrap_key([loaded.wrap(t)] * 9))) == 9

    def test_takes_the_short_plaintext_of_old_firmware(self, loaded: Loaded) -> None:
        t = transcripts()[0]
        (ciphertext,) = loaded.backend.encrypt_nonce([loaded.encrypt(t, t.plaintext[:52])])
        assert isinstance(ciphertext, bytes)
        assert loaded.backend.decrypt_nonce([loaded.decrypt(t, ciphertext)]) == [t.plaintext[:52]]

    # --- wrong keys

    def test_a_reply_for_another_device_is_a_bad_key(self, loaded: Loaded) -> None:
        pairs = [(t, other) for t in transcripts() for other in transcripts() if other is not t]
        batch = [loaded.unwrap(t, other.reply) for t, other in pairs[:200]]
        assert set(loaded.backend.unwrap_key(batch)) == {CryptoFault.BAD_KEY}

    def test_a_reply_of_another_server_is_a_bad_signature(self, loaded: Loaded) -> None:
        first = transcripts()[0]
        others = [t for t in transcripts() if t.server_public_key != first.server_public_key]
        device = loaded.device[first.device_key]
        batch = [UnwrapKey(device, loaded.server_public[t.server_public_key], first.reply) for t in others]
        assert set(loaded.backend.unwrap_key(batch)) == {CryptoFault.BAD_SIGNATURE}

    def test_a_ciphertext_for_another_server_never_gives_the_nonce(self, loaded: Loaded) -> None:
        first = transcripts()[0]
        others = [t for t in transcripts() if t.server_key != first.server_key]
        for result in loaded.backend.decrypt_nonce([loaded.decrypt(t, first.ciphertext) for t in others]):
            assert result == CryptoFault.BAD_CIPHERTEXT or not result.startswith(first.nonce)  # type: ignore[arg-type]

    # --- the encryption block of a reply

    @pytest.mark.parametrize("size", [0, 1, 39, 41, 80, 117])
    def test_material_of_another_size_is_a_bad_key(self, loaded: Loaded, size: int) -> None:
        t = transcripts()[0]
        material = bytes(range(1, size + 1))
        assert loaded.verdict(t, reply_of(t, encryption_block(material), material)) == CryptoFault.BAD_KEY

    @pytest.mark.parametrize(
        "block",
        [
            pytest.param(b"\0\1" + b"\xff" * 85 + b"\0" + b"k" * 40, id="type-1"),
            pytest.param(b"\0\0" + b"\x5a" * 85 + b"\0" + b"k" * 40, id="type-0"),
            pytest.param(b"\0\3" + b"\x5a" * 85 + b"\0" + b"k" * 40, id="type-3"),
            pytest.param(b"\1\2" + b"\x5a" * 85 + b"\0" + b"k" * 40, id="no leading zero"),
            pytest.param(b"\0\2" + b"\x5a" * 86 + b"k" * 40, id="no separator"),
            pytest.param(b"\0\2" + b"\x5a" * 7 + b"\0" + b"\x5a" * 77 + b"\0" + b"k" * 40, id="seven bytes"),
            pytest.param(b"\0\2" + b"\x5a" * 8 + b"\0" + b"\x5a" * 76 + b"\0" + b"k" * 40, id="eight bytes"),
            pytest.param(b"\0\2\0" + b"\x5a" * 84 + b"\0" + b"k" * 40, id="empty padding"),
            pytest.param(b"\0\2" + b"\x5a" * 125 + b"\0", id="separator last"),
            pytest.param(bytes(128), id="zero"),
            pytest.param(bytes(127) + b"\1", id="one"),
        ],
    )
    def test_wrong_padding_is_a_bad_key(self, loaded: Loaded, block: bytes) -> None:
        t = transcripts()[0]
        assert loaded.verdict(t, reply_of(t, block, b"k" * 40)) == CryptoFault.BAD_KEY

    def test_material_may_be_any_forty_bytes(self, loaded: Loaded) -> None:
        t = transcripts()[0]
        for material in (bytes(40), b"\xff" * 40, b"\0" * 39 + b"\1", bytes(range(40))):
            assert loaded.verdict(t, reply_of(t, encryption_block(material), material)) == material

    @pytest.mark.parametrize("beyond", [0, 1, 2**64])
    def test_a_key_block_not_below_the_modulus_is_a_bad_key(self, loaded: Loaded, beyond: int) -> None:
        t = transcripts()[0]
        key = plain_key(t.device_key)
        for value in (min(key.n + beyond, 2**1024 - 1), 2**1024 - 1 - beyond):
            assert loaded.verdict(t, value.to_bytes(128) + t.reply[128:]) == CryptoFault.BAD_KEY

    # --- the signature of a reply

    @pytest.mark.parametrize(
        "make",
        [
            pytest.param(lambda mac: signature_block(flipped(mac, 0)), id="first byte of the MAC"),
            pytest.param(lambda mac: signature_block(flipped(mac, 19)), id="last byte of the MAC"),
            pytest.param(lambda mac: signature_block(mac[:19]), id="19 bytes"),
            pytest.param(lambda mac: signature_block(mac + b"\0"), id="21 bytes"),
            pytest.param(lambda mac: signature_block(b""), id="no MAC"),
            pytest.param(
                lambda mac: signature_block(bytes.fromhex("3021300906052b0e03021a05000414") + mac), id="DigestInfo"
            ),
            pytest.param(lambda mac: encryption_block(mac, 256), id="type-2"),
            pytest.param(lambda mac: flipped(signature_block(mac), 2), id="FE in the padding"),
            pytest.param(lambda mac: flipped(signature_block(mac), 234), id="FE at the end of the padding"),
            pytest.param(lambda mac: flipped(signature_block(mac), 235), id="separator"),
            pytest.param(lambda mac: b"\0\1" + b"\xff" * 8 + b"\0" + mac + bytes(225), id="MAC in front"),
            pytest.param(lambda mac: bytes(256), id="zero"),
            pytest.param(lambda mac: bytes(255) + b"\1", id="one"),
        ],
    )
    def test_a_wrong_signature_block_is_a_bad_signature(self, loaded: Loaded, make: Callable[[bytes], bytes]) -> None:
        t = transcripts()[0]
        block = encryption_block(t.material)
        mac = hmac.digest(t.material, plain_key(t.device_key).public(block), "sha1")
        assert loaded.verdict(t, reply_of(t, block, t.material, make(mac))) == CryptoFault.BAD_SIGNATURE

    def test_a_signature_not_below_the_modulus_is_a_bad_signature(self, loaded: Loaded) -> None:
        t = transcripts()[0]
        n = plain_key(t.server_key).n
        genuine = int.from_bytes(t.reply[128:])
        values = [n, n + 1, 2**256 - 1 << 1792, 2**2048 - 1]
        if n + genuine < 2**2048:
            values.append(n + genuine)
        for value in values:
            assert loaded.verdict(t, t.reply[:128] + value.to_bytes(256)) == CryptoFault.BAD_SIGNATURE

    def test_the_same_signature_plus_the_modulus_is_refused(self, loaded: Loaded) -> None:
        """Needs a signature so small that adding the modulus still fits: made by trying materials."""
        t = transcripts()[0]
        key = plain_key(t.server_key)
        for number in range(400):
            material = number.to_bytes(40)
            reply = reply_of(t, encryption_block(material), material)
            raised = int.from_bytes(reply[128:]) + key.n
            if raised < 2**2048:
                assert loaded.verdict(t, reply) == material
                assert loaded.verdict(t, reply[:128] + raised.to_bytes(256)) == CryptoFault.BAD_SIGNATURE
                return
        pytest.fail("no small signature found")

    def test_any_flipped_bit_of_a_reply_is_seen(self, loaded: Loaded) -> None:
        t = transcripts()[1]
        for position in (0, 1, 64, 127):
            assert loaded.verdict(t, flipped(t.reply, position)) == CryptoFault.BAD_KEY
        for position in (128, 129, 256, 383):
            assert loaded.verdict(t, flipped(t.reply, position)) == CryptoFault.BAD_SIGNATURE

    # --- input of a wrong length or with a wrong key

    @pytest.mark.parametrize("size", [0, 1, 127, 128, 383, 385, 768])
    def test_a_reply_of_another_length_is_bad_input(self, loaded: Loaded, size: int) -> None:
        t = transcripts()[0]
        assert loaded.verdict(t, (t.reply * 2)[:size]) == CryptoFault.BAD_INPUT

    @pytest.mark.parametrize("size", [0, 1, 255, 257, 512])
    def test_a_ciphertext_of_another_length_is_bad_input(self, loaded: Loaded, size: int) -> None:
        t = transcripts()[0]
        request = loaded.decrypt(t, (t.ciphertext * 2)[:size])
        assert loaded.backend.decrypt_nonce([request]) == [CryptoFault.BAD_INPUT]

    @pytest.mark.parametrize("size", [0, 51, 53, 213, 215, 256])
    def test_a_plaintext_of_another_length_is_bad_input(self, loaded: Loaded, size: int) -> None:
        t = transcripts()[0]
        request = loaded.encrypt(t, (t.plaintext * 2)[:size])
        assert loaded.backend.encrypt_nonce([request]) == [CryptoFault.BAD_INPUT]

    @pytest.mark.parametrize("size", [0, 39, 41, 117, 118])
    def test_material_of_another_length_is_bad_input(self, loaded: Loaded, size: int) -> None:
        t = transcripts()[0]
        request = loaded.wrap(t, (t.material * 3)[:size])
        assert loaded.backend.wrap_key([request]) == [CryptoFault.BAD_INPUT]

    def test_a_key_of_another_kind_is_bad_input(self, loaded: Loaded) -> None:
        t = transcripts()[0]
        device = loaded.device[t.device_key]
        device_public = loaded.device_public[t.device_public_key]
        server = loaded.server[t.server_key]
        server_public = loaded.server_public[t.server_public_key]
        backend, bad = loaded.backend, [CryptoFault.BAD_INPUT]
        assert backend.encrypt_nonce([EncryptNonce(device_public, t.plaintext)]) == bad
        assert backend.unwrap_key([UnwrapKey(server, server_public, t.reply)]) == bad
        assert backend.unwrap_key([UnwrapKey(device, device_public, t.reply)]) == bad
        assert backend.decrypt_nonce([DecryptNonce(device, t.ciphertext)]) == bad
        assert backend.wrap_key([WrapKey(server, server_public, t.material)]) == bad
        assert backend.wrap_key([WrapKey(device, device_public, t.material)]) == bad
        assert backend.encrypt_nonce([EncryptNonce(None, t.plaintext)]) == bad

    @pytest.mark.parametrize("beyond", [0, 1])
    def test_a_ciphertext_not_below_the_modulus_is_seen(self, loaded: Loaded, beyond: int) -> None:
        t = transcripts()[0]
        n = plain_key(t.server_key).n
        for value in (n + beyond, 2**2048 - 1 - beyond):
            request = loaded.decrypt(t, value.to_bytes(256))
            assert loaded.backend.decrypt_nonce([request]) == [CryptoFault.BAD_CIPHERTEXT]

    # --- batches

    @pytest.mark.parametrize("size", BATCH_SIZES)
    def test_takes_every_batch_size(self, loaded: Loaded, size: int) -> None:
        batch = repeated(transcripts(), size)
        backend = loaded.backend
        assert backend.unwrap_key([loaded.unwrap(t) for t in batch]) == [t.material for t in batch]
        assert backend.decrypt_nonce([loaded.decrypt(t) for t in batch]) == [t.plaintext for t in batch]
        encrypted = backend.encrypt_nonce([loaded.encrypt(t) for t in batch])
        wrapped = backend.wrap_key([loaded.wrap(t) for t in batch])
        assert len(encrypted) == len(wrapped) == size
        for t, ciphertext, reply in zip(batch, encrypted, wrapped, strict=True):
            check_encrypted(t, ciphertext)
            check_wrapped(t, reply)

    @pytest.mark.parametrize("bad", range(9))
    def test_one_bad_lane_does_not_disturb_its_neighbours(self, loaded: Loaded, bad: int) -> None:
        batch = repeated(transcripts(), 9)
        n = plain_key(batch[bad].server_key).n
        backend = loaded.backend

        def with_bad(good: list[Any], worse: Any) -> list[Any]:
            return [*good[:bad], worse, *good[bad + 1 :]]

        materials = [t.material for t in batch]
        unwrap = [loaded.unwrap(t) for t in batch]
        for reply, fault in (
            (flipped(batch[bad].reply, 5), CryptoFault.BAD_KEY),
            (flipped(batch[bad].reply, 200), CryptoFault.BAD_SIGNATURE),
            (b"", CryptoFault.BAD_INPUT),
        ):
            requests = with_bad(unwrap, loaded.unwrap(batch[bad], reply))
            assert backend.unwrap_key(requests) == with_bad(materials, fault)
        requests = with_bad([loaded.decrypt(t) for t in batch], loaded.decrypt(batch[bad], n.to_bytes(256)))
        plaintexts = [t.plaintext for t in batch]
        assert backend.decrypt_nonce(requests) == with_bad(plaintexts, CryptoFault.BAD_CIPHERTEXT)
        encrypted = backend.encrypt_nonce(with_bad([loaded.encrypt(t) for t in batch], loaded.encrypt(batch[bad], b"")))
        wrapped = backend.wrap_key(with_bad([loaded.wrap(t) for t in batch], loaded.wrap(batch[bad], b"")))
        for index, t in enumerate(batch):
            if index == bad:
                assert encrypted[index] == wrapped[index] == CryptoFault.BAD_INPUT
            else:
                check_encrypted(t, encrypted[index])
                check_wrapped(t, wrapped[index])

    # --- loading keys

    def test_loads_the_device_style_encoding_of_a_private_key(self, backend: CryptoBackend) -> None:
        """The key generator inside the firmware writes 129- and 65-byte integers where 128 and 64 would do."""
        vector = load_vector("handshake")["device"]
        der = bytes.fromhex(vector["private_der_device_style"])
        public = bytes.fromhex(vector["spki_der"])
        assert backend.load_device_key(der) is not None
        assert device_spki(der[11:139]) == public
        assert backend.load_device_public_key(public) is not None

    def test_accepts_an_odd_modulus_that_a_damaged_device_presents(self, backend: CryptoBackend) -> None:
        """A device whose slot holds PKCS#8 presents a modulus that begins with an object identifier."""
        t = transcripts()[0]
        modulus = bytes.fromhex("2a864886f70d01010105000482026130") + b"\x5b" * 112
        request = WrapKey(
            backend.load_server_key(t.server_key),
            backend.load_device_public_key(device_spki(modulus)),
            t.material,
        )
        (reply,) = backend.wrap_key([request])
        assert isinstance(reply, bytes)
        assert len(reply) == 384

    def test_refuses_keys_that_cannot_be_used(self, backend: CryptoBackend) -> None:
        t = transcripts()[0]
        even = device_spki(b"\xff" * 127 + b"\xfe")
        small = device_spki(b"\0" * 2 + b"\xff" * 126)
        refused: list[tuple[Callable[[bytes], Any], bytes]] = [
            *((backend.load_device_public_key, bad) for bad in (b"", t.device_public_key[:-1], even, small)),
            (backend.load_device_public_key, b"\x31" + t.device_public_key[1:]),
            (backend.load_device_public_key, t.device_public_key[:-1] + b"\3"),
            (backend.load_device_public_key, t.server_public_key),
            *((backend.load_server_public_key, bad) for bad in (b"", t.server_public_key[:-1])),
            (backend.load_server_public_key, t.device_public_key),
            (backend.load_server_public_key, t.server_public_key[:-1] + b"\3"),
            (backend.load_server_public_key, b"\x31" + t.server_public_key[1:]),
            *((backend.load_device_key, bad) for bad in (b"", t.server_key, t.device_public_key, b"\xff" * 612)),
            *((backend.load_server_key, bad) for bad in (b"", t.device_key, t.server_public_key, b"\xff" * 1200)),
        ]
        for load, data in refused:
            with pytest.raises(ValueError, match=r"\w") as caught:
                load(data)
            assert "\n" not in str(caught.value)

    # --- the bare private operation

    def test_signs_like_plain_integers(self, loaded: Loaded) -> None:
        backend = loaded.backend
        assert isinstance(backend, RawBackend)
        macs = [bytes([lane]) * 20 for lane in range(9)]
        for keys, encoded in (
            (loaded.device, [t.device_key for t in transcripts()]),
            (loaded.server, [t.server_key for t in transcripts()]),
        ):
            ders = repeated(encoded, 9)
            plain = [plain_key(der) for der in ders]
            expected = [key.private(signature_block(mac, key.size)) for key, mac in zip(plain, macs, strict=True)]
            assert backend.sign([keys[der] for der in ders], macs) == expected
        assert backend.sign([], []) == []

    # --- AES

    @pytest.mark.parametrize("blocks", [1, 2, 3, 50])
    def test_opens_what_it_sealed(self, backend: CryptoBackend, blocks: int) -> None:
        padded = bytes(range(16)) * blocks
        sealed = backend.seal(Seal(b"k" * 16, b"i" * 16, padded))
        assert len(sealed) == len(padded)
        assert sealed[:16] != padded[:16]
        assert backend.open(Open(b"k" * 16, b"i" * 16, sealed)) == padded

    def test_refuses_aes_input_of_a_wrong_length(self, backend: CryptoBackend) -> None:
        block = bytes(16)
        for key, iv, data in ((b"k", block, block), (block, b"i", block), (block, block, b"odd")):
            with pytest.raises(ValueError, match=r"\w"):
                backend.seal(Seal(key, iv, data))
            with pytest.raises(ValueError, match=r"\w"):
                backend.open(Open(key, iv, data))
