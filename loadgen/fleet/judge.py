"""What would become of a key in a real P1 or in a server's key folder: findings with remedies. Pure.

A device with a key that its firmware misreads presents the right public key and fails for ever at the cloud's answer.
So everything here is judged by the firmware's own rules (``communication/src/handshake.cpp`` of
particle-iot/device-os), not by whether a library can read the key.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from loadgen.fleet.address import (
    ADDRESS_OFFSET,
    SERVER_KEY_FILE_SIZE,
    AddressError,
    ServerAddress,
    parse_address_record,
)
from loadgen.fleet.findings import Code, Finding, Level
from loadgen.fleet.identity import FirmwareReading, firmware_readings
from loadgen.fleet.keydata import Encoding, KeyDataError, RsaKey, belongs_together, is_pem
from loadgen.fleet.keyslot import SlotKind, fingerprint, presented_by_mistake, read_key_slot
from loadgen.fleet.names import Role
from loadgen.protocol.wire import (
    DEVICE_MODULUS_SIZE,
    SERVER_MODULUS_SIZE,
    SERVER_SPKI_SIZE,
    device_spki,
    is_server_spki,
    server_spki,
)

DEVICE_BITS: Final = DEVICE_MODULUS_SIZE * 8
SERVER_BITS: Final = SERVER_MODULUS_SIZE * 8
EXPONENT: Final = 65537
"""The public exponent that firmware assumes without looking."""

_FATE = (
    'The device presents the right public key, but its log says "Could not set key", code 6 (-240 from 2.0), orange LED'
)
_NEW_KEY = "Make a new key with loadgen fleet generate, or particle keys new until this is gone, and load that."
_REMEDIES: Final = {
    Code.ENCRYPTED: "Take the password off with: openssl rsa -traditional -in FILE -out NEW",
    Code.CURVE_KEY: "A P1 knows RSA only: make a key with openssl genrsa -traditional 1024.",
    Code.CUT_OFF: "Take the file from its source again.",
    Code.EMPTY: "Take the file from its source again.",
    Code.TOO_LARGE: "A key file has a few kilobytes at most; remove this one from the folder.",
    Code.NOT_A_KEY: "Take the key from its source again, or remove the file from the folder.",
    Code.UNREADABLE: "Check the file and its permissions.",
}


class Judge:
    """Looks at one file: the same place and device in all its findings."""

    def __init__(self, where: str, role: Role, device_id: str | None = None) -> None:
        self._where = where
        self._role = role
        self._device_id = device_id

    def finding(self, level: Level, code: Code, what: str, remedy: str = "") -> Finding:
        """One about this file."""
        return Finding(level, code, self._where, what, remedy, self._device_id)

    def refused(self, error: KeyDataError) -> Finding:
        """A file that holds no usable key: an error where its name promises one."""
        level = Level.ERROR if self._device_id is not None else Level.WARNING
        return self.finding(level, error.code, str(error), _REMEDIES.get(error.code, ""))

    def device_key(self, key: RsaKey, data: bytes) -> Iterator[Finding]:
        """Everything about a device's key, private or public."""
        mistake = _presented_by_mistake(key)
        if mistake is not None:
            what = f"this is what a device presents with {_IN_SLOT[mistake]} in its key slot; it has no private half"
            remedy = "Load a PKCS#1 key to the device, and replace this public key by that key's."
            yield self.finding(Level.ERROR, Code.NO_SUCH_KEY, what, remedy)
            return
        yield from self._size_and_exponent(key, DEVICE_BITS, "device")
        yield from self._form(key)
        if key.private_der is None:
            yield from self._public(key)
            return
        if self._role is Role.PUBLIC_PEM:
            yield self.finding(
                Level.ERROR,
                Code.PRIVATE_AS_PUBLIC,
                "this is a private key where servers want the public one",
                "Make the public key with: openssl rsa -in FILE -pubout -out NEW, and keep the private one elsewhere.",
            )
        if is_playable(key):
            yield from self._private(key.private_der)
        if self._role is Role.DER:
            yield from self._slot(key, data)

    def server_key(self, key: RsaKey, data: bytes) -> Iterator[Finding]:
        """Everything about a server's key, private or public."""
        yield from self._size_and_exponent(key, SERVER_BITS, "server")
        yield from self._form(key)
        if key.private_der is not None and not belongs_together(key.private_der):
            yield self._inconsistent()
        if key.is_private or key.is_pem or not self._where.endswith(".der"):
            return
        if not is_server_spki(data[:SERVER_SPKI_SIZE]):
            yield self.finding(
                Level.ERROR,
                Code.SERVER_KEY,
                f"this is {key.encoding}; a P1 takes 256 bytes from offset 33 without looking, which is no key here",
                "Write it with: openssl rsa -pubin -in FILE -outform DER -out NEW (294 bytes).",
            )
        if len(data) >= SERVER_KEY_FILE_SIZE and server_address(data) is None:
            yield self._address(data)

    def _size_and_exponent(self, key: RsaKey, bits: int, owner: str) -> Iterator[Finding]:
        if key.bits != bits:
            what = f"this key has {key.bits} bits; a {owner}'s has {bits}"
            hint = " (it looks like a server's key)" if (owner, key.bits) == ("device", SERVER_BITS) else ""
            yield self.finding(Level.ERROR, Code.KEY_SIZE, what + hint, f"Give the {owner} an RSA-{bits} key.")
        if key.exponent != EXPONENT:
            what = f"this key has the public exponent {key.exponent}; devices always use {EXPONENT}"
            yield self.finding(
                Level.ERROR, Code.EXPONENT, what, "Make a new key; 65537 is the default of openssl genrsa."
            )

    def _form(self, key: RsaKey) -> Iterator[Finding]:
        """What is odd about the way in which a key is written and does no harm to the key."""
        if key.has_byte_order_mark:
            yield self.finding(
                Level.WARNING,
                Code.BYTE_ORDER_MARK,
                "the text begins with a byte order mark, which older programs do not read over",
                "Save the file without it, as plain ASCII.",
            )
        if key.has_crlf:
            yield self.finding(Level.NOTE, Code.LINE_ENDS, "the lines end as on Windows, which does no harm")
        if key.trailing and not _is_server_key_file(key):
            yield self.finding(Level.NOTE, Code.TRAILING, _trailing(key))

    def _public(self, key: RsaKey) -> Iterator[Finding]:
        if self._role in (Role.PRIVATE_PEM, Role.DER):
            yield self.finding(
                Level.WARNING, Code.PUBLIC_AS_PRIVATE, "this is a public key where the private one belongs"
            )
        if self._role is Role.PUBLIC_PEM and not key.is_pem:
            yield self.finding(
                Level.ERROR,
                Code.NOT_PEM,
                "this is DER under the name of a PEM file; servers cannot read it",
                "Write it with: openssl rsa -pubin -inform DER -in FILE -out NEW",
            )
        if self._role is Role.PUBLIC_PEM and key.encoding is Encoding.PKCS1_PUBLIC:
            yield self.finding(
                Level.WARNING,
                Code.ENCODING,
                "this is a PKCS#1 public key; servers want a SubjectPublicKeyInfo (BEGIN PUBLIC KEY)",
                "Write it with: openssl rsa -RSAPublicKey_in -in FILE -pubout -out NEW",
            )

    def _private(self, der: bytes) -> Iterator[Finding]:
        if not belongs_together(der):
            yield self._inconsistent()
        misreads = [reading for reading in firmware_readings(der) if not reading.is_right]
        if misreads:
            what = f"a P1 misreads this key: {'; '.join(map(_misread, misreads))}. {_FATE}"
            yield self.finding(Level.ERROR, Code.MISREAD, what, _NEW_KEY)

    def _slot(self, key: RsaKey, data: bytes) -> Iterator[Finding]:
        """What a device makes of this file as it is, since particle keys load writes it unchanged."""
        if is_pem(data):
            yield self.finding(
                Level.ERROR,
                Code.PEM_IN_SLOT,
                "this is PEM under the name of a DER file; a P1 would take the text for its key",
                "Write it with: openssl rsa -in FILE -traditional -outform DER -out NEW",
            )
        elif key.encoding is Encoding.PKCS8:
            presented = read_key_slot(data).presented
            yield self.finding(
                Level.ERROR,
                Code.PKCS8_IN_SLOT,
                "this is PKCS#8: a P1 would present a public key that begins with the key's own header "
                f"(SHA-256 {fingerprint(presented)[:16]}…) and that no private key belongs to. "
                "Its log says: Could not set key, code 6, orange LED",
                "Write it with: openssl rsa -inform DER -in FILE -traditional -outform DER -out NEW",
            )

    def _inconsistent(self) -> Finding:
        what = "the integers of this key do not belong together, so nothing can be decrypted with it"
        return self.finding(
            Level.ERROR, Code.INCONSISTENT, what, "Take the key from its source again, or make a new one."
        )

    def _address(self, data: bytes) -> Finding:
        try:
            parse_address_record(data[ADDRESS_OFFSET:])
        except AddressError as error:
            return self.finding(Level.ERROR, Code.ADDRESS, str(error), "Write the file again with a valid address.")
        return self.finding(
            Level.WARNING,
            Code.ADDRESS,
            'the file has no server address; loading it erases the device\'s ("type:255"), which then calls the vendor',
            "Write it with an address: loadgen fleet export --format particle-cli --address HOST[:PORT].",
        )


_IN_SLOT: Final = {
    SlotKind.PKCS8: "a PKCS#8 key",
    SlotKind.CURVE: "an elliptic-curve key",
    SlotKind.BLANK: "nothing (FF)",
}


def is_playable(key: RsaKey) -> bool:
    """Whether a virtual device can use this key: private, RSA-1024, e = 65537."""
    return key.is_private and (key.bits, key.exponent) == (DEVICE_BITS, EXPONENT)


def device_public_key(key: RsaKey) -> bytes | None:
    """The 162 bytes of an RSA-1024 key; None for other keys."""
    if (key.bits, key.exponent) != (DEVICE_BITS, EXPONENT):
        return None
    return device_spki(key.modulus.to_bytes(DEVICE_MODULUS_SIZE))


def server_public_key(key: RsaKey) -> bytes | None:
    """The 294 bytes of an RSA-2048 key; None for other keys."""
    if (key.bits, key.exponent) != (SERVER_BITS, EXPONENT):
        return None
    return server_spki(key.modulus.to_bytes(SERVER_MODULUS_SIZE))


def server_address(data: bytes) -> ServerAddress | None:
    """The address in a server key file as particle-cli writes it; None where there is none that a device could use."""
    if not is_server_spki(data[:SERVER_SPKI_SIZE]):
        return None
    try:
        return parse_address_record(data[ADDRESS_OFFSET:])
    except AddressError:
        return None


def _presented_by_mistake(key: RsaKey) -> SlotKind | None:
    """The slot behind a public key that no private one belongs to; its top bits may be clear, so it can look short."""
    if key.is_private or key.bits > DEVICE_BITS:
        return None
    return presented_by_mistake(device_spki(key.modulus.to_bytes(DEVICE_MODULUS_SIZE)))


def _is_server_key_file(key: RsaKey) -> bool:
    """Whether what follows the key is the padding and the address that particle-cli puts there."""
    padding = key.trailing[: ADDRESS_OFFSET - SERVER_SPKI_SIZE]
    is_long = len(key.trailing) >= SERVER_KEY_FILE_SIZE - SERVER_SPKI_SIZE
    return not key.is_private and key.bits == SERVER_BITS and is_long and not padding.strip(b"\xff")


def _misread(reading: FirmwareReading) -> str:
    size = reading.end - reading.begin
    return (
        f"{reading.name} stands in bytes {reading.begin} to {reading.end - 1} ({size} of them), "
        f"the firmware reads {reading.read_begin} to {reading.read_end - 1}"
    )


def _trailing(key: RsaKey) -> str:
    if key.is_pem:
        return "there is text behind the key, which is not looked at"
    size = len(key.trailing)
    if not key.trailing.strip(b"\xff"):
        return f"{size} bytes of erased flash (FF) follow the key, as in a copy from a device"
    return f"{size} bytes follow the key, such as the rest of an older one in a copy from a device; they do no harm"
