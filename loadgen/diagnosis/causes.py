"""Causes that only a diagnosis tells apart, and what decides between causes, with the way to mend by ST-Link.

They stand beside :mod:`loadgen.protocol.causes`, which numbers and endings name. Offsets are those of one 16 KiB copy
of the device's table as ``st-flash read dump.bin 0x08004000 0x4000`` writes it; its application section begins at 7548.
"""

from __future__ import annotations

from typing import Final

from loadgen.fleet.dct_layout import ADDRESS_AT, PRIVATE_KEY_AT, SECTION_AT, SERVER_KEY_AT
from loadgen.protocol.causes import CAUSES, Cause
from loadgen.protocol.moments import Moment

_M = Moment
_KEY_IN_COPY: Final = SECTION_AT + PRIVATE_KEY_AT
_SERVER_IN_COPY: Final = SECTION_AT + SERVER_KEY_AT
_ADDRESS_IN_COPY: Final = SECTION_AT + ADDRESS_AT

_OWN: Final = (
    Cause(
        id="new-device-key",
        what="the device has made itself a new key, since its key slot was erased (FF at offset 34), and the cloud "
        "does not know it",
        moments=(_M.ROUND_TRIP,),
        evidence=("the device's flash was erased or restored in part, as by a downgrade",),
        against=("the cloud accepts any key",),
        cloud_log=("key passed to device during handshake doesn'tmatch saved public key: ID",),
        remedy="give the cloud the public key that the device presents now, or write the old key back",
        with_dfu="`particle keys save new.der`, then register its public half (`particle keys send ID new.pub.pem`)",
        without_dfu="take the presented key from the cloud's own handshake, where the cloud keeps it",
    ),
    Cause(
        id="pkcs8-in-slot",
        what="the device's key is stored as PKCS#8, which the firmware cannot read: it presents a public key to which "
        "no private one exists",
        moments=(_M.ROUND_TRIP,),
        evidence=("the presented modulus begins 2a 86 48 86 f7 0d 01 01 01",),
        remedy="write the same key as PKCS#1, as `loadgen dct extract` takes it out of a dump; the cloud needs no "
        "other public key",
        with_dfu="`loadgen dct extract dump.bin keys`, then `particle keys load keys/device.der` in DFU mode",
        without_dfu="nothing: the key slot can be written by DFU or ST-Link only",
    ),
    Cause(
        id="damaged-address",
        what="the server address in the device's flash is none that leads to a cloud",
        moments=(_M.ANY,),
        evidence=("the log names an odd address or name, or cannot resolve it",),
        remedy="write the address record again, with the cloud's key",
        with_dfu="`particle keys server cloud.pub.pem --host ADDRESS --port 5683` in DFU mode",
        without_dfu="nothing to 1.0.1; newer firmware goes to device.spark.io, which the DNS of the device's network "
        "can point at the private cloud, if the device has that cloud's key",
    ),
    Cause(
        id="lost-table",
        what="neither copy of the device's table is valid: it starts without keys, address and Wi-Fi",
        moments=(_M.ANY,),
        remedy="write a good dump of the table back, or set the device up anew",
    ),
    Cause(
        id="speaks-tls",
        what="a TLS service listens there, not a device service",
        moments=(_M.ANY,),
        remedy="send the devices to the port of the device service, and take TLS off a proxy in front of it",
    ),
    Cause(
        id="speaks-http",
        what="an HTTP service listens there, not a device service",
        moments=(_M.ANY,),
        remedy="send the devices to the device service's port (5683 unless it was changed), not to that of its API",
    ),
    Cause(
        id="other-greeting",
        what="a service of another protocol listens there and greets by itself",
        moments=(_M.ANY,),
        remedy="send the devices to the port of the device service (5683 unless it was changed)",
    ),
    Cause(
        id="long-nonce",
        what="more than the 40 bytes of a nonce come before the device has answered: another protocol, or a cloud that "
        "does not wait",
        moments=(_M.ANY,),
        evidence=("every device fails at this cloud", "a capture shows more than 40 bytes before the device's 256"),
        against=("another device completes a handshake",),
        remedy="let the cloud send 40 bytes and wait for 256 before it sends anything else",
    ),
    Cause(
        id="short-answer",
        what="the cloud's answer has fewer than 384 bytes: a number lost its leading zero bytes, or it was cut off",
        moments=(_M.ANY,),
        evidence=("one handshake in 128 fails like that, and the next one of the same device is completed",),
        remedy="let the cloud write the encrypted key as 128 and the signature as 256 bytes, with leading zero bytes",
    ),
    Cause(
        id="odd-session-key",
        what="the cloud packs the session key in another way than 40 bytes with PKCS#1 v1.5 in the first 128 bytes",
        moments=(_M.ANY,),
        evidence=("every device fails at this cloud with code 6",),
        against=("another device completes a handshake",),
        remedy="encrypt 16 bytes of key, 16 of IV and 8 of salt with RSAES-PKCS1-v1_5 (type 2), and put the signature "
        "behind it",
    ),
    Cause(
        id="bad-padding",
        what="the cloud pads the messages of the session in another way than PKCS#7",
        moments=(_M.ANY,),
        evidence=("other firmware, which hardly looks at the padding, connects",),
        remedy="fill every message up to a multiple of 16 with 1 to 16 bytes that say how many they are",
    ),
    Cause(
        id="damaged-answer",
        what="the cloud's 384 bytes are damaged, or made for another device, although its records are right",
        moments=(_M.ANY,),
        evidence=("one device fails now and then, and completes at another time",),
        against=("the stored public key is not the one that the device presents",),
        remedy="try again; if it stays, record the 384 bytes and look at how the cloud makes them",
    ),
    Cause(
        id="slow-cloud",
        what="the cloud answers, but so late that devices are near the end of their patience",
        moments=(_M.ANY,),
        remedy="look for what the cloud waits for (RSA, a database, a queue) before load makes it fail",
    ),
)

DOCTOR_CAUSES: Final[dict[str, Cause]] = {**CAUSES, **{cause.id: cause for cause in _OWN}}
"""Every cause that a diagnosis can name."""

_SERVER_KEY_DECIDES: Final = (
    f"the 294 bytes at {_SERVER_IN_COPY} (0x{_SERVER_IN_COPY:x}) of a 16 KiB dump: FF means erased; else their SHA-256 "
    "must be that of the cloud's public key (--cloud-key)"
)
_DEVICE_KEY_DECIDES: Final = (
    f"the key at {_KEY_IN_COPY} (0x{_KEY_IN_COPY:x}) of a 16 KiB dump: FF means that a new one will be made; else the "
    "SHA-256 of its public half must be that of the key on record at the cloud (--registered)"
)
_ADDRESS_DECIDES: Final = (
    f"the byte at {_ADDRESS_IN_COPY} (0x{_ADDRESS_IN_COPY:x}) of a 16 KiB dump: 0 IPv4, 1 a name, FF erased"
)

DECIDES: Final[dict[str, str]] = {
    **dict.fromkeys(("wrong-server-key", "blank-server-key"), _SERVER_KEY_DECIDES),
    **dict.fromkeys(("new-device-key", "unknown-device", "other-key-on-record", "old-key-used"), _DEVICE_KEY_DECIDES),
    **dict.fromkeys(
        ("misread-private-key", "damaged-private-key", "pkcs8-in-slot"),
        "the device's own key: `loadgen fleet verify ID.der`, or a dump of it with --dct",
    ),
    "address-erased": _ADDRESS_DECIDES,
    "damaged-answer": "the same handshake again, and the key on record at the cloud (--registered)",
    "cloud-cannot-decrypt": "the same handshake by a device that is known to be good (--good-fleet)",
    "split-ciphertext": "the same handshake from the cloud's own network",
    "signs-wrongly": "the same handshake by a device that is known to be good (--good-fleet)",
    "two-server-keys": "several handshakes: some succeed where one process of the cloud has the right key",
    "not-this-protocol": "what the port says to a line of HTTP (--probe)",
    "speaks-tls": "what the port says to a line of HTTP (--probe)",
    "speaks-http": "what the port says to a line of HTTP (--probe)",
    "no-backend": "a connection straight to the cloud, past the load balancer: it begins with 40 bytes",
    "connection-limit": "the same attempt while no other device is connected",
    "cloud-overloaded": "the same attempt while nothing else loads the cloud",
    "cloud-crashed": "the cloud's log of this moment",
    "firewall": "the same attempt from inside the cloud's network",
    "accept-queue-full": "`nstat -az TcpExtListenOverflows` at the cloud",
    "nothing-listens": "`ss -lnt` at the cloud",
    "not-a-hello": "the cloud's log: what it sent first in this session",
    "short-answer": "the same handshake again: an answer with a lost zero byte is rare",
    "network-down": "the same attempt from another place of the network",
    "cloud-time-limit": "the same attempt again: a limit takes the same time",
    "proxy-idle-limit": "the same attempt again (an idle limit takes the same time), and once past the proxy",
    "bad-framing": "a capture: two bytes of length and so many bytes in every segment",
    "session-key-differs": "the same handshake by a device that is known to be good (--good-fleet)",
    "slow-hello": "the cloud's log: when it read the device's Hello",
}
"""Cause → what tells it from the others."""

_READ: Final = "read both copies of the table with an ST-Link (`st-flash read dump.bin 0x08004000 0x8000`)"
_MAKE: Final = "loadgen dct make --base dump.bin --layout both -o mended.bin"
_WRITE: Final = "and write it back where it was (`st-flash write mended.bin 0x08004000`; docs/flash-dumps.md)"

ST_LINK: Final[dict[str, str]] = {
    **dict.fromkeys(
        ("blank-server-key", "wrong-server-key"),
        f"{_READ}, `{_MAKE} --server-key cloud.pub.pem`, {_WRITE}",
    ),
    **dict.fromkeys(
        ("address-erased", "wrong-address", "damaged-address"),
        f"{_READ}, `{_MAKE} --server-key cloud.pub.pem --address HOST`, {_WRITE}",
    ),
    **dict.fromkeys(
        ("new-device-key", "other-key-on-record", "old-key-used", "unknown-device"),
        f"{_READ}, `loadgen dct extract dump.bin keys` and give the cloud the public key in it; or write the old key "
        f"back with `{_MAKE} --device-key old.der`, {_WRITE}",
    ),
    "misread-private-key": f"{_READ}, `{_MAKE} --device-key new.der`, {_WRITE}, and give the cloud the new public key",
    "damaged-private-key": f"{_READ}, `loadgen dct extract dump.bin mend --only repaired-key`, `{_MAKE} --device-key "
    f"mend/device-repaired.der` (or a new key, whose public half the cloud has to be given), {_WRITE}",
    "pkcs8-in-slot": f"{_READ}, `loadgen dct extract dump.bin keys`, `{_MAKE} --device-key keys/device.der`, {_WRITE}",
    "lost-table": "write a good copy of the table to 0x08004000 (`st-flash write good.bin 0x08004000`)",
}
"""Cause → how to mend it by ST-Link, without DFU."""
