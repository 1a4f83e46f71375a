"""Why a device does not connect: every cause as a value, with what speaks for it, against it, and the way out.

A cause is told apart by *when* the failure comes (the wire carries no reason), by what the device and the cloud log
and by what can be compared. Numbers and endings name their causes by identifier; a diagnosis weighs the same
values against what it has measured.

Sources: Device OS v0.4.0 … v3.3.1 (``system/src/system_task.cpp``, ``communication/src``), particle-iot/spark-protocol
``js/lib/Handshake.js`` and Brewskey/spark-protocol ``src/lib/Handshake.js`` for what clouds do and log, particle-iot/
particle-cli ``src/cmd/keys.js`` for the commands.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from loadgen.protocol.moments import Moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One cause. Texts are sentences without a full stop."""

    id: str
    """Short words with hyphens; a key."""
    what: str
    """What is wrong."""
    moments: tuple[Moment, ...]
    """When the failure then comes."""
    evidence: tuple[str, ...] = ()
    """What speaks for it."""
    against: tuple[str, ...] = ()
    """What rules it out."""
    cloud_log: tuple[str, ...] = ()
    """What public servers log; their words, misspellings included."""
    remedy: str
    """What to do first; at the cloud or the network where that is enough."""
    with_dfu: str = ""
    """What to do at a device that can be reached by DFU or ST-Link."""
    without_dfu: str = ""
    """What is left without either; empty where the device needs nothing done to it."""


_M = Moment
_WRITE_SERVER_KEY: Final = (
    "put the device into DFU mode and write the cloud's key and address: `particle keys server cloud.pub.pem --host "
    "ADDRESS --port 5683`; with an ST-Link write the same 512 bytes to offset 2082 of the application's section of "
    "the DCT"
)
_WRITE_DEVICE_KEY: Final = (
    "in DFU mode save the device's key (`particle keys save FILE`), give its public half to the cloud as "
    "ID.pub.pem, or "
    "load a new key (`particle keys load FILE.der`) and register that one; with an ST-Link dump 16 KiB at 0x08004000"
)

_CONNECTING: Final = (
    Cause(
        id="nothing-listens",
        what="nothing listens on this address and port",
        moments=(_M.ROUND_TRIP,),
        evidence=("a connection from another machine is refused as well", "`ss -lnt` at the cloud lacks the port"),
        against=("other devices connect to the same address and port",),
        remedy="start the cloud, and compare its port with the target's (5683 unless it was changed)",
    ),
    Cause(
        id="accept-queue-full",
        what="the listener's queue is full: its machine drops connection requests, or answers them with a reset",
        moments=(_M.DEVICE_LIMIT, _M.ROUND_TRIP),
        evidence=("`nstat -az TcpExtListenOverflows` grows at the cloud", "failures begin above some rate"),
        against=("a single connection fails as well",),
        remedy="raise somaxconn and the listener's backlog, and lower the rate to see whether it recovers",
    ),
    Cause(
        id="firewall",
        what="a firewall or a load balancer between the device and the cloud drops or cuts the connection",
        moments=(_M.DEVICE_LIMIT, _M.FIXED, _M.ANY),
        evidence=(
            "the cloud logs no connection at that moment",
            "the same connection works from inside the cloud's network",
        ),
        remedy="open TCP port 5683 towards the cloud and take TLS and HTTP inspection off it",
    ),
    Cause(
        id="wrong-address",
        what="the device is sent to another address than the cloud's",
        moments=(_M.DEVICE_LIMIT, _M.ROUND_TRIP),
        evidence=("the device's log names the address: Read Server Address, connected to cloud",),
        against=("the cloud logs this connection",),
        remedy="compare the address in the device's log with the cloud's, byte order and port included",
        with_dfu=_WRITE_SERVER_KEY,
        without_dfu="let the name that the device asks for resolve to the cloud, in the DNS of the device's network",
    ),
    Cause(
        id="address-erased",
        what="the server address in the device's flash is erased, so it calls the vendor's cloud",
        moments=(_M.ROUND_TRIP,),
        evidence=(
            "the log says Read Server Address = type:255, or Public Server Address was blank, restoring.",
            "the private cloud sees no connection at all",
        ),
        against=("the private cloud logs this device's connection",),
        remedy="write key and address together; a bare key padded to 512 bytes erases the address",
        with_dfu=_WRITE_SERVER_KEY,
        without_dfu=(
            "point device.spark.io at the private cloud in the DNS of the device's network; the key must be its key, "
            "too"
        ),
    ),
    Cause(
        id="name-not-resolved",
        what="the cloud's name does not resolve for the device",
        moments=(_M.AT_ONCE, _M.DEVICE_LIMIT),
        evidence=("the log says unable to resolve IP for", "0.4.9 to 0.5.5 go to 54.208.229.4, the vendor's, instead"),
        remedy="add the name to the DNS that the device's network gives out, or give the device an address instead",
        with_dfu=_WRITE_SERVER_KEY,
        without_dfu="serve the name in the DNS of the device's network",
    ),
    Cause(
        id="network-down",
        what="the network between the device and the cloud is down: Wi-Fi, a route, a VPN, or an interface",
        moments=(_M.AT_ONCE, _M.DEVICE_LIMIT, _M.ANY),
        evidence=("many devices of one place fail in the same second", "the log has WLAN lines just before"),
        against=("devices of the same network stay connected",),
        remedy="check the path to the cloud (interface, route, VPN) at the time of the failure",
        without_dfu="move the device nearer to its access point, or restart that",
    ),
)

_ANSWERING: Final = (
    Cause(
        id="no-backend",
        what="a load balancer accepted the connection and has no cloud behind it",
        moments=(_M.ROUND_TRIP, _M.AT_ONCE),
        evidence=("the cloud itself logs no connection", "a connection straight to the cloud gets 40 bytes"),
        remedy="check the load balancer's list of back ends and its health check, which must not wait for the client",
    ),
    Cause(
        id="connection-limit",
        what="the cloud is at its limit of connections, descriptors or handshakes",
        moments=(_M.ROUND_TRIP, _M.AT_ONCE, _M.DEVICE_LIMIT),
        evidence=("failures begin at some number of open sessions", "the cloud logs EMFILE or its own limit"),
        against=("a cloud without load fails as well",),
        remedy="raise the limit (ulimit -n, the cloud's settings) or spread the devices over more processes",
    ),
    Cause(
        id="not-this-protocol",
        what=(
            "something else listens there: a service that greets, or one that waits for the client to speak (TLS, HTTP)"
        ),
        moments=(_M.DEVICE_LIMIT, _M.ROUND_TRIP, _M.CLOUD_LIMIT, _M.FIXED),
        evidence=("`nc HOST PORT | xxd` shows text, or nothing; this protocol sends 40 random bytes at once",),
        against=("other devices connect to the same port",),
        remedy="send the devices to the port of the device service, and take TLS and HTTP sniffing off a proxy's port",
    ),
    Cause(
        id="cloud-crashed",
        what="the cloud's process ended or was restarted",
        moments=(_M.ANY,),
        evidence=("all sessions end in the same moment", "connections are refused right after"),
        against=("other sessions of the same process live on",),
        remedy="look for this moment in the cloud's log: it names the reason that the wire does not carry",
    ),
    Cause(
        id="cloud-overloaded",
        what="the cloud is overloaded: its accept, RSA or database work is behind",
        moments=(_M.DEVICE_LIMIT, _M.CLOUD_LIMIT),
        evidence=("its CPU is at its limit", "failures vanish at a lower rate", "the stages before grow with the rate"),
        against=("a single device alone fails as well",),
        cloud_log=("Handshake did not complete in 10 seconds", "Handshake did not complete in 120 seconds"),
        remedy="lower the rate: if the failures vanish, the cloud is past its capacity",
    ),
    Cause(
        id="cloud-time-limit",
        what="the cloud's own limit for a handshake ran out",
        moments=(_M.CLOUD_LIMIT,),
        evidence=("every such failure takes the same time: 10 s at Brewskey, 30 s at the vendor's server",),
        against=("failures come after one round trip",),
        cloud_log=(
            "Handshake did not complete in 10 seconds",
            "read_coreid timed out",
            "get_hello timed out",
            "wrong device public keys",
        ),
        remedy="find out what takes the time: a slow device, a lost segment, or the cloud's own database",
    ),
    Cause(
        id="proxy-idle-limit",
        what="an idle limit of a proxy or load balancer is shorter than the silence of this protocol",
        moments=(_M.FIXED,),
        evidence=("failures come at one fixed time that is neither the device's nor the cloud's",),
        against=("a direct connection fails at the same time",),
        remedy="set the proxy's idle limit above 30 s; devices are silent for up to 15 s between pings",
    ),
    Cause(
        id="local-limit",
        what="a limit of this machine was reached; the cloud has no part in it",
        moments=(_M.ANY,),
        evidence=("`loadgen preflight` with the same options names the limit",),
        remedy="raise the limit (ulimit -n, net.ipv4.ip_local_port_range) or lower the number in flight",
    ),
)

_KEYS: Final = (
    Cause(
        id="wrong-server-key",
        what="the device has another server key than the cloud, which cannot decrypt what it is sent",
        moments=(_M.ROUND_TRIP,),
        evidence=(
            "every device with this key fails, whatever its id",
            "the SHA-256 of the 294 bytes at DCT offset 2082 is not that of the cloud's public key",
        ),
        against=("other devices with the same server key connect", "the cloud answers with 384 bytes"),
        cloud_log=(
            "handshake data decryption failed. You probably have incorrect server key for device",
            "nonces didn`t match",
            "pkcs decoding error",
            "data too large for modulus",
        ),
        remedy=(
            "compare the fingerprints of the server key on the device (for a load test: of --server-key) and at the "
            "cloud"
        ),
        with_dfu=_WRITE_SERVER_KEY,
        without_dfu="give the cloud the private key that belongs to the device's server key, where it still exists",
    ),
    Cause(
        id="blank-server-key",
        what=(
            "the server key in the device's flash is erased (from 0.7.0-rc.1 on the vendor's built-in key takes its "
            "place)"
        ),
        moments=(_M.ROUND_TRIP,),
        evidence=(
            "the log says Public Server Key was blank, restoring.",
            "the cloud gets an event spark/device/key/error with bit 1 from a device that does connect",
        ),
        cloud_log=("handshake data decryption failed. You probably have incorrect server key for device",),
        remedy=(
            "write the cloud's key; never send such a device the event spark/device/key/restore, which makes it "
            "permanent"
        ),
        with_dfu=_WRITE_SERVER_KEY,
        without_dfu=(
            "nothing: nobody has a private key to a modulus of FF (to 0.6.4), and the vendor's cloud alone has the one "
            "that belongs to the built-in key"
        ),
    ),
    Cause(
        id="unknown-device",
        what="the cloud does not know the device's id",
        moments=(_M.ROUND_TRIP,),
        evidence=("the key folder has no ID.pub.pem", "other devices with the same server key connect"),
        cloud_log=("no public key found for device: ID", "couldn't find key for core: ID"),
        remedy=(
            "give the cloud the device's public key; older Brewskey servers remember a miss for an hour or until a "
            "restart"
        ),
        without_dfu="the vendor's server has stored the presented key as ID_handshake.pub.pem: rename it to ID.pub.pem",
    ),
    Cause(
        id="other-key-on-record",
        what="the cloud has another public key on record for this device than the device presents",
        moments=(_M.ROUND_TRIP,),
        evidence=("the device got new keys since it was registered", "the SHA-256 of both public keys differ"),
        against=("the cloud was given the key that the device presents",),
        cloud_log=("key passed to device during handshake doesn'tmatch saved public key: ID",),
        remedy="replace the stored ID.pub.pem by the device's present public key",
        with_dfu=_WRITE_DEVICE_KEY,
        without_dfu="take the key that the device presents from the cloud's own handshake",
    ),
    Cause(
        id="old-key-used",
        what="the cloud encrypted the session key to an older or a foreign public key of this device",
        moments=(_M.ROUND_TRIP,),
        evidence=(
            "384 bytes came, and the device cannot decrypt them",
            "the device got new keys since it was registered",
        ),
        against=("the stored public key is the one that the device presents",),
        cloud_log=("get_hello timed out",),
        remedy="replace the stored ID.pub.pem by the device's present public key",
        with_dfu=_WRITE_DEVICE_KEY,
        without_dfu="the vendor's server keeps the presented key as ID_handshake.pub.pem: rename it to ID.pub.pem",
    ),
    Cause(
        id="misread-private-key",
        what="the firmware misreads its private key: a number in it is one byte shorter than its parser assumes",
        moments=(_M.ROUND_TRIP,),
        evidence=(
            "the public key fits, and decryption fails for ever; nearly one in a hundred ordinary keys is such a one",
            "a number in the DER is shorter than usual: length(d) < 128, or of p, q, dp, dq, qinv < 64",
        ),
        against=("the device made its key itself (611 bytes, from 0.4.8-rc.2)",),
        cloud_log=("wrong device public keys", "get_hello timed out"),
        remedy="give the device another key; a tool must draw again until every number has its full length",
        with_dfu=_WRITE_DEVICE_KEY,
        without_dfu="nothing: the private key is used by the firmware alone",
    ),
    Cause(
        id="damaged-private-key",
        what=(
            "the private key in the device's flash is damaged or of a foreign format (PKCS#8 or PEM instead of "
            "PKCS#1 DER)"
        ),
        moments=(_M.ROUND_TRIP,),
        evidence=(
            "the presented modulus begins 2a 86 48 86 f7 0d 01 01 01: PKCS#8 of OpenSSL 3 without -traditional",
            "the key was loaded by hand, or a flash image was restored",
        ),
        cloud_log=("wrong device public keys", "get_hello timed out"),
        remedy=(
            "compute it again from what of it is whole (`loadgen dct extract DUMP mend --only repaired-key`), or make "
            "a key with `openssl genrsa -traditional 1024` and write it with `openssl rsa -traditional -outform DER`"
        ),
        with_dfu="in DFU mode load a whole key (`particle keys load FILE.der`), and register its public half if it is "
        "a new one",
        without_dfu="nothing: the key slot can be written by DFU or ST-Link only",
    ),
    Cause(
        id="signs-wrongly",
        what="the cloud signs with DigestInfo, another hash or PSS instead of the bare 20-byte HMAC",
        moments=(_M.ROUND_TRIP,),
        evidence=(
            "every device fails at this place",
            "a library's sign() was used instead of a raw private encryption",
        ),
        against=("other devices connect to this cloud",),
        cloud_log=("wrong device public keys", "get_hello timed out"),
        remedy=(
            "sign with RSA PKCS#1 v1.5 padding type 1 over the bare HMAC-SHA1, keyed with all 40 bytes, of the 128 "
            "bytes"
        ),
    ),
    Cause(
        id="two-server-keys",
        what="the cloud signs with another key than it decrypts with",
        moments=(_M.ROUND_TRIP,),
        evidence=(
            "several processes behind one address, of which some fail",
            "the server key was replaced in one place",
        ),
        against=("all processes have one key file",),
        remedy="give every process of the cloud the same key file and restart it",
    ),
    Cause(
        id="cloud-cannot-decrypt",
        what="the cloud's crypto library refuses every decryption, whatever the keys",
        moments=(_M.ROUND_TRIP,),
        evidence=(
            "every device fails, although fingerprints of both keys agree",
            "the cloud runs on Node 18.19.1, 20.11.1, 21.6.2 or later, built without implicit rejection",
            "a Brewskey server has just made its key: it fails until its first restart",
        ),
        against=("one device connects",),
        cloud_log=("handshake data decryption failed. You probably have incorrect server key for device",),
        remedy="restart a server that has made its key; start Node 18 to 21 with --security-revert=CVE-2023-46809, or "
        "update the server to one with its own RSA",
    ),
    Cause(
        id="split-ciphertext",
        what="the 256 bytes reached the cloud in two segments, or with bytes behind them: public servers take one read",
        moments=(_M.ROUND_TRIP,),
        evidence=(
            "it fails on one path (VPN, small MTU, a proxy) and works on another",
            "a few fail under load, not all",
        ),
        against=("the device is in the cloud's own network",),
        cloud_log=("handshake data decryption failed. You probably have incorrect server key for device",),
        remedy="look at the segments with tcpdump, and take the proxy or the small MTU off the path",
    ),
)

_SESSION: Final = (
    Cause(
        id="session-key-differs",
        what="the cloud reads the session with another key or IV than it sent",
        moments=(_M.ROUND_TRIP, _M.CLOUD_LIMIT, _M.DEVICE_LIMIT),
        evidence=("384 bytes came and verified; the first frame cannot be read by one side",),
        cloud_log=("CryptoStream transform error", "wrong device public keys"),
        remedy="check the cloud: key is bytes 0 to 15 of the 40, IV bytes 16 to 31, the same for both directions",
    ),
    Cause(
        id="wrong-iv-rule",
        what="the cloud chains its IVs with another rule",
        moments=(_M.ANY, _M.DEVICE_LIMIT),
        evidence=("handshakes are fine; sessions die at the first message over 15 bytes, or 25 s later",),
        cloud_log=("CryptoStream transform error", "bad decrypt", "Invalid CoAP version", "Unknown message code"),
        remedy=(
            "use the first 16 bytes of the previous ciphertext of the same direction as the next IV, not the last 16"
        ),
    ),
    Cause(
        id="bad-framing",
        what="the cloud's frames are out of step: a length prefix was split, or bytes stand in front of a frame",
        moments=(_M.ANY,),
        evidence=("the device reads both bytes of a length at once; one in a segment of its own is lost",),
        remedy=(
            "write two bytes of length and the AES-128-CBC ciphertext with PKCS#7 padding in one send, without Nagle"
        ),
    ),
    Cause(
        id="coded-acknowledgement",
        what="the cloud sent a code that the firmware cannot classify, such as an acknowledgement with 2.04 or 4.00",
        moments=(_M.ROUND_TRIP, _M.ANY),
        evidence=(
            "firmware 0.4.8-rc.2 to 0.7.0 disconnects, older and newer does not",
            "it follows an event or a subscription",
        ),
        against=("the firmware is 0.8.0 or later",),
        remedy="acknowledge with empty messages only (60 00 and the id), whatever the cloud thinks of the request",
    ),
    Cause(
        id="not-a-hello",
        what="the cloud's first message is not its Hello",
        moments=(_M.ROUND_TRIP,),
        evidence=("other firmware that only waits for any message connects",),
        remedy="send CON or NON, POST, path h first: 50 02, a message id, b1 68",
    ),
    Cause(
        id="slow-hello",
        what="the cloud answers Hello only after a look-up that takes longer than the device waits",
        moments=(_M.DEVICE_LIMIT,),
        evidence=(
            "the cloud has read the device's Hello long before",
            "0.4.8-rc.2 to 0.7.0 wait 2 s, later firmware 4 s",
        ),
        remedy="answer Hello first and look up afterwards",
    ),
    Cause(
        id="same-id-twice",
        what="another connection with the same device id replaced this one",
        moments=(_M.ANY,),
        evidence=("two sessions of one id end each other in turn", "two generators share a fleet"),
        against=("the cloud is the vendor's server, which keeps both",),
        cloud_log=("Device was already connected. Reconnecting.",),
        remedy="give every connection its own id: split the fleet between generators, and look for a cloned device",
    ),
    Cause(
        id="idle-limit",
        what="the cloud's idle limit ran out: 31 s at Brewskey, less at some proxies",
        moments=(_M.FIXED,),
        evidence=("sessions end a fixed time after their last message",),
        against=("the device pings every 15 s and the cloud hears it",),
        cloud_log=("socket timeout",),
        remedy="check that pings arrive, and set limits above 30 s",
    ),
    Cause(
        id="describe-missing",
        what="the cloud asked for a description and got none with functions (v) and modules (m)",
        moments=(_M.FIXED,),
        evidence=("sessions end 15 s after Hello at a Brewskey server",),
        cloud_log=("Request timed out - Describe",),
        remedy="let the device answer Describe, and give an overloaded cloud less to do: the 15 s are its own",
    ),
    Cause(
        id="attributes-missing",
        what="the cloud has no attributes of the device, although it has its key",
        moments=(_M.ANY,),
        evidence=("Brewskey's file store has ID.pub.pem but no ID.json", "the session ends right after Describe"),
        cloud_log=("Could not find device with ID ID",),
        remedy='put {"deviceID": "ID"} as ID.json beside the key; @brewskey/spark-protocol 1.0.21 ends without it',
    ),
    Cause(
        id="message-id",
        what="the cloud noticed a message id out of order: one was lost, sent twice or skipped",
        moments=(_M.ROUND_TRIP,),
        evidence=("it follows an event or a subscription, never a ping",),
        cloud_log=("MessageId other than expected", "Bad Counter"),
        remedy="count every message that is no acknowledgement, in both directions, from the id of Hello",
    ),
    Cause(
        id="stalled-session",
        what="the cloud has lost the session but keeps the socket open, and answers no ping",
        moments=(_M.DEVICE_LIMIT,),
        evidence=("the session ends 25 s after the last message: 15 s of silence and 10 s for the ping",),
        cloud_log=("CryptoStream transform error", "Cannot read property 'length' of null"),
        remedy="check that the cloud answers an empty CON with 60 00 and the same id",
    ),
    Cause(
        id="missing-token",
        what="the cloud asked for a function or a variable without a token",
        moments=(_M.ROUND_TRIP,),
        evidence=("firmware from 1.5.0 closes the session, older does not",),
        remedy="send one token byte with every function call and variable request",
    ),
    Cause(
        id="message-too-large",
        what="a message is larger than the device's buffer: 768 bytes of ciphertext up to 2.x, 928 in 3.x",
        moments=(_M.ANY,),
        evidence=("the log says Insufficient storage for message size", "many functions and variables are described"),
        remedy="send shorter events and arguments, or register fewer and shorter names",
    ),
)

_DEVICE: Final = (
    Cause(
        id="event-rate",
        what="the application publishes faster than its firmware allows: four a second, a burst of four",
        moments=(_M.ANY,),
        evidence=("the event is refused on the device; nothing reaches the cloud",),
        remedy="publish less often, or put several values into one event",
    ),
    Cause(
        id="device-memory",
        what="the device ran out of memory or packet buffers",
        moments=(_M.ANY,),
        evidence=(
            "free memory falls before (System.freeMemory())",
            "other connections of the application fail as well",
        ),
        remedy="free memory in the application: fewer sockets, no growing String objects",
        with_dfu="put the device into safe mode and flash a smaller application",
        without_dfu="hold MODE at start for safe mode: the system runs without the application",
    ),
    Cause(
        id="device-radio",
        what="the device's Wi-Fi or network stack went away in mid-connection",
        moments=(_M.ANY, _M.AT_ONCE),
        evidence=("WLAN lines stand near it in the log", "it happens at devices with a weak signal"),
        remedy=(
            "look at signal strength and the access point's log; the device resets its network by itself after failures"
        ),
    ),
    Cause(
        id="firmware-fault",
        what="the firmware met a condition that its authors did not expect",
        moments=(_M.ANY,),
        evidence=("the same firmware does it again under the same conditions", "another version does not"),
        remedy="compare with another firmware version, and keep the lines before it for a report",
        with_dfu="flash another system version by DFU, bootloader first where the release notes ask for it",
        without_dfu="update over the air, from safe mode if the application keeps the device from connecting",
    ),
    Cause(
        id="wrong-use",
        what="the application or a tool asked the firmware for something in a wrong way or a wrong state",
        moments=(_M.ANY,),
        evidence=("it appears at one place of the application",),
        remedy="look at the call that returned it",
    ),
    Cause(
        id="other-transport",
        what="the number belongs to devices that speak DTLS over UDP, or to hardware that a P1 does not have",
        moments=(_M.ANY,),
        evidence=("the log is of another platform (Electron and later)",),
        against=("the device is a P1 or a Photon",),
        remedy="look into the documentation of that platform",
    ),
)

CAUSES: Final[dict[str, Cause]] = {
    cause.id: cause for cause in (*_CONNECTING, *_ANSWERING, *_KEYS, *_SESSION, *_DEVICE)
}
"""Every cause, by identifier."""


def causes(ids: Iterable[str]) -> tuple[Cause, ...]:
    """The causes called ``ids``, each once, in their order. Raises :class:`KeyError` for an unknown one."""
    return tuple(CAUSES[name] for name in dict.fromkeys(ids))
