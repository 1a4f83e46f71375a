"""Why a handshake failed: whose fault, at which stage, for which enumerated reason.

Text is never a key. What a real P1 prints for a failure is the *device code*; it depends on the firmware and is
looked up in :mod:`loadgen.protocol.firmware`.
"""

from __future__ import annotations

from enum import StrEnum

from loadgen.protocol.stages import Stage


class Side(StrEnum):
    """The two ends of a connection."""

    DEVICE = "device"
    CLOUD = "cloud"


class Reason(StrEnum):
    """Why a handshake, or a session after it, ended before it should have."""

    REFUSED = "refused"
    """The connection was refused (RST in answer to SYN)."""
    UNREACHABLE = "unreachable"
    """No route to the host or network."""
    TIMEOUT = "timeout"
    """The stage's time is over, whatever had come by then."""
    CLOSED = "closed"
    """FIN, and no byte of the awaited message had come."""
    SHORT = "short"
    """FIN after some bytes of the awaited message."""
    RESET = "reset"
    """RST at any time after the connection stood."""
    BAD_KEY = "bad_key"
    """The 128 bytes do not decrypt to exactly 40."""
    BAD_SIGNATURE = "bad_signature"
    """The 256 bytes do not verify."""
    BAD_FRAME = "bad_frame"
    """A frame's length or padding is wrong."""
    BAD_HELLO = "bad_hello"
    """A frame decrypts, but is no message that may stand there."""
    BAD_CIPHERTEXT = "bad_ciphertext"
    """Cloud: the 256 bytes do not decrypt to a plaintext of a known length."""
    BAD_NONCE = "bad_nonce"
    """Cloud: the plaintext carries another nonce."""
    UNKNOWN_DEVICE = "unknown_device"
    """Cloud: the registry does not know the device id."""
    KEY_MISMATCH = "key_mismatch"
    """Cloud: the device presents another key than the registered one."""
    OVERLOAD = "overload"
    """Cloud: its limit or one of its bounds was reached."""
    PING_TIMEOUT = "ping_timeout"
    """Session: a keep-alive ping was not answered."""
    LOCAL_RESOURCE = "local_resource"
    """This machine ran out of something (descriptors, ports, memory). Has no device code."""


class CryptoFault(StrEnum):
    """Why one lane of a crypto batch has no result. Every backend gives the same one for the same input."""

    BAD_KEY = "bad_key"
    """The padding is wrong or the plaintext is not exactly 40 bytes (device side)."""
    BAD_SIGNATURE = "bad_signature"
    """The signature does not recover to the HMAC (device side)."""
    BAD_CIPHERTEXT = "bad_ciphertext"
    """The padding is wrong or the value is not below the modulus (cloud side)."""
    BAD_INPUT = "bad_input"
    """A length is wrong, or a key cannot be used for the operation."""
    FAULTY_RESULT = "faulty_result"
    """A CRT result failed its check with the public exponent and was withheld."""


class HandshakeError(Exception):
    """A handshake or session that failed.

    Args:
        stage: where it stood; ``connect`` … ``hello``. After the handshake: ``hello``'s successor, the session,
            is told apart by :attr:`in_session`.
        reason: why.
        fault: the side that did not do its part.
        in_session: the failure came after the cloud's Hello; such failures are counted apart.
        detail: for people reading a trace; never compared.
    """

    def __init__(
        self, stage: Stage, reason: Reason, fault: Side, *, in_session: bool = False, detail: str = ""
    ) -> None:
        super().__init__(stage, reason, fault, detail)
        self.stage = stage
        self.reason = reason
        self.fault = fault
        self.in_session = in_session
        self.detail = detail

    def __str__(self) -> str:
        where = f"{self.stage}/{self.reason}"
        return f"{where} ({self.detail})" if self.detail else where
