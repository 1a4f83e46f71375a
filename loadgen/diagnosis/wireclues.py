"""What the other side's bytes say in a live attempt, and what the end of a session says. Pure; one rule a piece.

A device reports one number; whoever has the bytes, the keys and the time after which the other side ends what the
device has given up sees more. Rules yield clues as those of :mod:`loadgen.diagnosis.clues` do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from loadgen.clock import NS_PER_MS, NS_PER_S
from loadgen.diagnosis.clue import CERTAIN, FAIR, RULED_OUT, STRONG, WEAK, Clue
from loadgen.diagnosis.evidence import Attempt, Evidence, looks_random, spoken
from loadgen.diagnosis.reply import KeyBlock, Signature
from loadgen.protocol.coap import ACK, CoapError, Code, decode, is_hello
from loadgen.protocol.device import LACKS_TOKEN
from loadgen.protocol.moments import CLOUD_LIMITS_NS
from loadgen.protocol.reasons import Reason
from loadgen.protocol.stages import Stage
from loadgen.protocol.wire import BLOCK_SIZE, NONCE_SIZE, REPLY_SIZE
from loadgen.units import format_ns, format_number_of

_TOLERANCE_NS: Final = 500 * NS_PER_MS
"""How far from a limit an end may come that is due to it, beside the round trip."""
_DESCRIBE_NS: Final = 15 * NS_PER_S
"""Brewskey/spark-protocol ``src/clients/Device.js``: a description is due so long after Hello."""
_IDLE_NS: Final = 31 * NS_PER_S
"""Brewskey/spark-protocol ``src/settings.js``: ``SOCKET_TIMEOUT``."""
_AT_ONCE_NS: Final = 1_000 * NS_PER_MS
"""A session that ends so soon was ended over its first messages."""
_NEARLY_WHOLE: Final = 4
"""Bytes that are missing at most where numbers lost their leading zero bytes."""

SPEAKS: Final = {
    "tls": ("speaks-tls", "what came is the beginning of a TLS record"),
    "http": ("speaks-http", "what came is HTTP"),
    "text": ("other-greeting", "what came is text, and this protocol begins with 40 random bytes"),
}
"""Other protocol → the cause that it is, and the words for it."""

_REFUSALS: Final = (
    "wrong-server-key", "blank-server-key", "unknown-device", "other-key-on-record", "new-device-key",
    "cloud-cannot-decrypt", "split-ciphertext",
)  # fmt: skip
"""Causes for which a cloud has to read the 256 bytes first."""
_SILENCES: Final = ("cloud-overloaded", "connection-limit", "not-this-protocol")
"""Causes with which nothing comes at all."""
_NO_DEVICE_KEY: Final = ("misread-private-key", "damaged-private-key", "new-device-key", "pkcs8-in-slot")
_SESSION_LIMITS: Final = ("describe-missing", "idle-limit", "proxy-idle-limit", "cloud-time-limit")


def more_candidates(attempt: Attempt) -> tuple[str, ...]:
    """Causes with which an attempt can end beside those that its ending names, by what was seen of it."""
    seen = attempt.seen
    if attempt.in_session:
        return ("cloud-time-limit",) if attempt.reason in (Reason.CLOSED, Reason.RESET) else ()
    if attempt.stage is Stage.KEY and seen.left_early:
        return ("connection-limit", "no-backend", "not-this-protocol")
    if attempt.stage is Stage.KEY and seen.part:
        return ("short-answer",)
    if attempt.stage in (Stage.KEY, Stage.HELLO) and _ended_later(attempt):
        return ("cloud-time-limit",)
    return ()


def of_greeting(evidence: Evidence) -> Iterator[Clue]:
    """What came in place of the nonce, or behind it."""
    attempt = evidence.attempt
    if attempt is None or attempt.stage not in (Stage.NONCE, Stage.KEY, Stage.UNWRAP) or not attempt.heard:
        return
    kind = spoken(attempt.heard)
    if kind is not None:
        yield from other_protocol(SPEAKS[kind][0], f"{SPEAKS[kind][1]}: {shown(attempt.heard)}")
        return
    if not looks_random(attempt.heard[:NONCE_SIZE]):
        text = f"what came first is not random: {attempt.heard[:NONCE_SIZE].hex(' ')}"
        yield Clue("other-greeting", STRONG, text)
    size = attempt.seen.behind_nonce
    if size:
        text = f"{count(size)} came behind the 40 of the nonce before the device had answered it"
        yield Clue("long-nonce", CERTAIN, f"{text}: it takes them for the begin of the 384")
        for name in ("old-key-used", "damaged-answer"):
            yield Clue(name, RULED_OUT, text)
    if attempt.stage is Stage.NONCE:
        text = f"{count(len(attempt.heard))} came, and a cloud sends all 40 at once"
        for name in _without(_SILENCES, "not-this-protocol"):
            yield Clue(name, RULED_OUT, text)
        yield Clue("cloud-crashed", WEAK, f"the {len(attempt.heard)} bytes that came may be a nonce")
        yield Clue("not-this-protocol", -WEAK, "what came is neither text nor TLS")


def other_protocol(cause: str, text: str) -> Iterator[Clue]:
    """It is known which service answers, so that nothing can be said of the cloud that is not there."""
    yield Clue(cause, CERTAIN, text)
    for name in (*_SILENCES, *_REFUSALS, "other-key-on-record", "no-backend", "cloud-crashed", "firewall",
                 "network-down"):  # fmt: skip
        yield Clue(name, RULED_OUT, "it is known which other protocol is spoken there")


def of_early_close(evidence: Evidence) -> Iterator[Clue]:
    """A close before the cloud was given anything to judge."""
    attempt = evidence.attempt
    if attempt is None or attempt.stage is not Stage.KEY or not attempt.seen.left_early:
        return
    text = "the other side had closed already when the 256 bytes were sent: it has not looked at them"
    for name in _REFUSALS:
        yield Clue(name, RULED_OUT, text)
    for name in ("connection-limit", "no-backend"):
        yield Clue(name, WEAK, text)


def of_part(evidence: Evidence) -> Iterator[Clue]:
    """An answer that is cut off."""
    attempt = evidence.attempt
    if attempt is None or attempt.stage is not Stage.KEY or not attempt.seen.part:
        return
    part = attempt.seen.part
    kind = spoken(part)
    if kind is not None:
        yield from other_protocol(SPEAKS[kind][0], f"behind the nonce {SPEAKS[kind][1]}: {shown(part)}")
        return
    text = f"{len(part)} of {REPLY_SIZE} bytes came, and a cloud sends them at once"
    if REPLY_SIZE - len(part) <= _NEARLY_WHOLE:
        yield Clue("short-answer", STRONG, f"{text}: leading zero bytes of a number may be missing")
    for name in (*_SILENCES, "network-down"):
        yield Clue(name, RULED_OUT, text)


def of_reply(evidence: Evidence) -> Iterator[Clue]:
    """What the 384 bytes are that the device could not use."""
    attempt = evidence.attempt
    reply = None if attempt is None else attempt.seen.reply
    if attempt is None or reply is None:
        return
    if attempt.reason is Reason.BAD_KEY:
        yield from _of_key_block(reply.key_block, reply.key_words, reply.signature)
    else:
        yield from _of_signature(reply.signature, reply.signature_words)


def _of_key_block(block: KeyBlock, words: str, signature: Signature) -> Iterator[Clue]:
    if block is KeyBlock.ODD:
        yield Clue("odd-session-key", CERTAIN, words)
        for name in ("old-key-used", "damaged-answer", *_NO_DEVICE_KEY):
            yield Clue(name, RULED_OUT, "it is encrypted to this device, and can be decrypted")
    elif signature is Signature.UNREADABLE or signature is Signature.BLANK:
        text = "the signature is not one of the device's server key either, so all of the 384 bytes are wrong"
        yield Clue("damaged-answer", FAIR, text)
        yield Clue("old-key-used", -WEAK, text)


def _of_signature(signature: Signature, words: str) -> Iterator[Clue]:
    whole = "the device's server key opens the signature"
    if signature is Signature.ODD:
        yield Clue("signs-wrongly", CERTAIN, f"{whole}: {words}" if "signed" in words else words)
        for name in ("two-server-keys", "damaged-answer"):
            yield Clue(name, RULED_OUT, f"{whole}, so it was made with the right key and is whole")
    elif signature is Signature.OTHER_CONTENT:
        yield Clue("two-server-keys", RULED_OUT, f"{whole}, so it was made with the right key")
        yield Clue("signs-wrongly", WEAK, words)
        yield Clue("damaged-answer", WEAK, f"{words}; it can belong to another handshake")
    elif signature is Signature.CLOUD_KEY:
        yield Clue("wrong-server-key", CERTAIN, f"{words}, and the device has another")
        for name in ("signs-wrongly", "two-server-keys", "damaged-answer"):
            yield Clue(name, RULED_OUT, f"{words}: it is in order")
    elif signature is Signature.BLANK:
        yield Clue("damaged-answer", CERTAIN, f"there is no signature in the 256 bytes: {words}")
        for name in ("signs-wrongly", "two-server-keys"):
            yield Clue(name, RULED_OUT, words)
    elif signature is Signature.UNREADABLE:
        text = "the device's server key opens the signature to nothing that any scheme makes"
        yield Clue("signs-wrongly", RULED_OUT, text)
        for name in ("two-server-keys", "damaged-answer"):
            yield Clue(name, WEAK, text)


def of_hello(evidence: Evidence) -> Iterator[Clue]:
    """What came in place of the cloud's Hello."""
    attempt = evidence.attempt
    if attempt is None or not evidence.is_live:
        return
    if attempt.reason is Reason.BAD_FRAME and (attempt.in_session or attempt.stage is Stage.HELLO):
        unread = "wrong-iv-rule" if attempt.in_session else "session-key-differs"
        yield from _of_frame(attempt.seen.message, attempt.detail, unread)
    elif attempt.in_session or attempt.stage is not Stage.HELLO:
        return
    elif attempt.reason is Reason.BAD_HELLO and attempt.seen.message is not None:
        yield from _of_message(attempt.seen.message, lacks_token=attempt.detail == LACKS_TOKEN)


def _of_frame(data: bytes | None, detail: str, unread: str) -> Iterator[Clue]:
    """``unread`` is the cause with which a whole frame cannot be read: at first by its key, later by its IV."""
    if data is None:
        text = f"the length in front of the frame is wrong: {detail}"
        size = int("".join(filter(str.isdigit, detail)) or 0)
        if size and size % BLOCK_SIZE == 0:
            yield Clue("message-too-large", FAIR, text)
            yield Clue("bad-framing", FAIR, text)
        else:
            yield Clue("bad-framing", CERTAIN, text)
            yield Clue("message-too-large", RULED_OUT, text)
        for name in ("session-key-differs", "wrong-iv-rule"):
            yield Clue(name, RULED_OUT, "a length is never encrypted")
    elif is_hello(data):
        text = f"it decrypts to a Hello, so that key and IV are right, and ends with {data[-2:].hex(' ')}"
        yield Clue("bad-padding", CERTAIN, text)
        for name in ("session-key-differs", "bad-framing"):
            yield Clue(name, RULED_OUT, text)
    else:
        text = f"a frame of a right length came, and is not readable with the session's key: {detail}"
        yield Clue(unread, FAIR, text)


def _of_message(data: bytes, *, lacks_token: bool) -> Iterator[Clue]:
    others = ("coded-acknowledgement", "not-a-hello", "missing-token", "session-key-differs")
    try:
        message = decode(data)
    except CoapError as error:
        text = f"it decrypts to no message ({error}): {data[:16].hex(' ')}"
        for name in ("coded-acknowledgement", "missing-token"):
            yield Clue(name, RULED_OUT, text)
        return
    text = f"the cloud's first message is {data[:16].hex(' ')}, code {message.code >> 5}.{message.code & 31:02}"
    cause = "not-a-hello"
    if message.type is ACK and message.code != Code.EMPTY:
        cause = "coded-acknowledgement"
    elif lacks_token:
        cause = "missing-token"
    yield Clue(cause, CERTAIN, text)
    for name in _without(others, cause):
        yield Clue(name, RULED_OUT, text)


def of_holding(evidence: Evidence) -> Iterator[Clue]:
    """When the other side ended what the device had given up."""
    attempt = evidence.attempt
    if attempt is None or attempt.later is None:
        return
    later = attempt.later
    if later.size:
        text = f"{count(later.size)} came within {format_ns(later.held_ns)}, too late for the device"
        yield Clue("cloud-overloaded", FAIR, text)
        for name in ("firewall", "network-down", "not-this-protocol"):
            yield Clue(name, RULED_OUT, text)
    elif later.reason is not None:
        text = f"the other side ended the connection {format_ns(later.held_ns)} after the last thing it was sent"
        for name in ("firewall", "network-down"):
            yield Clue(name, RULED_OUT, f"{text}, so the path is open")
        limit_ns = _limit(later.held_ns, attempt.round_trip_ns)
        if limit_ns is not None and attempt.stage in (Stage.KEY, Stage.HELLO):
            yield Clue("cloud-time-limit", STRONG, f"{text}: {_WHOSE[limit_ns]}")
            if attempt.stage is Stage.HELLO:
                yield Clue("session-key-differs", FAIR, f"{text}: a cloud that cannot read Hello waits for its limit")


def of_session(evidence: Evidence) -> Iterator[Clue]:
    """The time after which a session was ended."""
    attempt = evidence.attempt
    if attempt is None or not attempt.in_session or attempt.elapsed_ns is None:
        return
    if attempt.reason not in (Reason.CLOSED, Reason.RESET):
        return
    text = f"the session ended {format_ns(attempt.elapsed_ns)} after the cloud's Hello"
    limits = _limits_at(attempt)
    for name in _SESSION_LIMITS:
        if name in limits:
            yield Clue(name, STRONG, f"{text}: {limits[name]}")
        elif name != "proxy-idle-limit" or attempt.elapsed_ns < _AT_ONCE_NS:
            yield Clue(name, RULED_OUT, text)
    if attempt.reason is Reason.RESET:
        return
    if attempt.elapsed_ns < _AT_ONCE_NS:
        for name in ("attributes-missing", "message-id"):
            yield Clue(name, WEAK, f"{text}, over the first messages")
    else:
        yield Clue("attributes-missing", -WEAK, f"{text}, and not right after the description")
    if evidence.is_live:
        asked = "asked for a description and got one" if attempt.was_asked else "asked for no description"
        yield Clue("describe-missing", RULED_OUT, f"the cloud {asked}")


_WHOSE: Final = dict(zip(CLOUD_LIMITS_NS, ("the limit of Brewskey's server", "the limit of the vendor's server"),
                         strict=True))  # fmt: skip


def _limits_at(attempt: Attempt) -> dict[str, str]:
    """Causes whose time it is, with what is due then."""
    assert attempt.elapsed_ns is not None
    slack_ns = _TOLERANCE_NS + (attempt.round_trip_ns or 0)
    due = {
        "describe-missing": (_DESCRIBE_NS, "a description is due after 15 s at Brewskey's server"),
        "idle-limit": (_IDLE_NS, "Brewskey's server ends a session after 31 s without a message"),
    }
    found = {cause: words for cause, (at_ns, words) in due.items() if abs(attempt.elapsed_ns - at_ns) <= slack_ns}
    since_ns = attempt.elapsed_ns if attempt.connected_ns is None else attempt.connected_ns
    limit_ns = _limit(since_ns, attempt.round_trip_ns)
    if limit_ns is not None:
        found["cloud-time-limit"] = f"{_WHOSE[limit_ns]} for a handshake, which the Hello should have ended"
    return found


def _limit(elapsed_ns: int, round_trip_ns: int | None) -> int | None:
    """The limit of a public server that a time fits."""
    slack_ns = _TOLERANCE_NS + (round_trip_ns or 0)
    return next((limit_ns for limit_ns in CLOUD_LIMITS_NS if abs(elapsed_ns - limit_ns) <= slack_ns), None)


def _ended_later(attempt: Attempt) -> bool:
    return attempt.later is not None and attempt.later.reason is not None


def count(size: int) -> str:
    """A number of bytes in words."""
    return format_number_of(size, "byte")


def _without(names: Iterable[str], name: str) -> tuple[str, ...]:
    return tuple(each for each in names if each != name)


def shown(data: bytes) -> str:
    """The first bytes of ``data`` for people: as text where they are text, else in hexadecimal."""
    head = data[:24]
    if spoken(data) in ("http", "text"):
        line = head.split(b"\r")[0].split(b"\n")[0]
        return f'"{line.decode("ascii", "backslashreplace")}"'
    return head.hex(" ")


RULES: Final = (of_greeting, of_early_close, of_part, of_reply, of_hello, of_holding, of_session)
