"""IKEv2 as a responder needs it, written from RFC 7296, 7383 and 5282.

Independent of the client under test: nothing here was taken from it, and nothing there is used.
One suite, the client's first with one key exchange: AES-256-GCM with a 16-octet ICV, PRF HMAC-SHA2-384, ECP-384.
"""

import hmac
import os
import struct

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

# Exchanges (RFC 7296 section 3.1) and flags.
IKE_SA_INIT, IKE_AUTH, CREATE_CHILD_SA, INFORMATIONAL = 34, 35, 36, 37
INITIATOR, RESPONSE = 0x08, 0x20
# Payloads (section 3.2), SKF of RFC 7383.
SA, KE, IDI, IDR, CERT, CERTREQ, AUTH, NONCE, N, D, V, TSI, TSR, SK, CP, EAP = range(33, 49)
SKF = 53
# Notifies (section 3.10.1).
NO_PROPOSAL_CHOSEN, AUTHENTICATION_FAILED, INVALID_IKE_SPI, INVALID_SYNTAX = 14, 24, 4, 7
INVALID_KE_PAYLOAD, COOKIE = 17, 16390
NAT_SOURCE, NAT_DESTINATION, FRAGMENTATION, HASHES = 16388, 16389, 16430, 16431
HEADER = struct.Struct(">8s8sBBBBII")
ICV, IV, SALT, PRF, KEY = 16, 8, 4, 48, 32


def header(spis, exchange, flags, message_id, first, length):
    return HEADER.pack(spis[0], spis[1], first, 0x20, exchange, flags, message_id, length)


def read_header(datagram):
    """Returns (SPIs, first payload, exchange, flags, message id)."""
    spi_i, spi_r, first, _version, exchange, flags, message_id, _length = HEADER.unpack_from(datagram)
    return (spi_i, spi_r), first, exchange, flags, message_id


def chain(payloads):
    """Encodes [(type, body)]; returns (first type, octets)."""
    octets = b""
    for position, (_, body) in enumerate(payloads):
        following = payloads[position + 1][0] if position + 1 < len(payloads) else 0
        octets += struct.pack(">BBH", following, 0, 4 + len(body)) + body
    return (payloads[0][0] if payloads else 0), octets


def unchain(first, octets):
    """Decodes a chain of payloads to [(type, body)]; an SK or SKF payload is the last."""
    payloads, at = [], 0
    while first and at + 4 <= len(octets):
        following, _, length = struct.unpack_from(">BBH", octets, at)
        if length < 4:
            raise ValueError("a payload is too short")
        payloads.append((first, octets[at + 4 : at + length]))
        if first in (SK, SKF):
            break
        first, at = following, at + length
    return payloads


def message(spis, exchange, flags, message_id, payloads):
    """Encodes a message without protection."""
    first, octets = chain(payloads)
    return header(spis, exchange, flags, message_id, first, HEADER.size + len(octets)) + octets


def notify(kind, data=b""):
    return (N, struct.pack(">BBH", 0, 0, kind) + data)


def notify_kinds(payloads):
    return [struct.unpack_from(">H", body, 2)[0] for kind, body in payloads if kind == N]


def proposals(sa_body):
    """Splits an SA body into its proposals."""
    at = 0
    while at + 8 <= len(sa_body):
        length = struct.unpack_from(">H", sa_body, at + 2)[0]
        yield sa_body[at : at + length]
        at += max(length, 8)


def has_additional_exchanges(proposal):
    """Whether a proposal wants more than one key exchange (types 6 to 12, RFC 9370)."""
    at = 8 + proposal[6]
    while at + 8 <= len(proposal):
        if 6 <= proposal[at + 4] <= 12:
            return True
        at += max(struct.unpack_from(">H", proposal, at + 2)[0], 8)
    return False


def first_proposal(sa_body, spi=b""):
    """Returns an SA body with the first proposal that has one key exchange alone, with our SPI."""
    chosen = next(proposal for proposal in proposals(sa_body) if not has_additional_exchanges(proposal))
    _, _, length, number, protocol, spi_size, count = struct.unpack_from(">BBHBBBB", chosen)
    transforms = chosen[8 + spi_size : length]
    return struct.pack(">BBHBBBB", 0, 0, 8 + len(spi) + len(transforms), number, protocol, len(spi), count) + spi + transforms


def prf(key, data):
    return hmac.new(key, data, "sha384").digest()


def prf_plus(key, seed, length):
    octets, block, count = b"", b"", 1
    while len(octets) < length:
        block = prf(key, block + seed + bytes([count]))
        octets, count = octets + block, count + 1
    return octets[:length]


class Keys:
    """The keys of an IKE SA (RFC 7296 section 2.14), of the responder's side."""

    def __init__(self, peer_public, nonce_i, nonce_r, spis, private):
        point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP384R1(), b"\x04" + peer_public)
        secret = private.exchange(ec.ECDH(), point)
        seed = prf(nonce_i + nonce_r, secret)
        stream = prf_plus(seed, nonce_i + nonce_r + spis[0] + spis[1], 3 * PRF + 2 * (KEY + SALT))
        cut = [PRF, KEY + SALT, KEY + SALT, PRF, PRF]
        parts = []
        for size in cut:
            parts.append(stream[:size])
            stream = stream[size:]
        self.d, self.ei, self.er, self.pi, self.pr = parts
        self.counter = 0

    def open(self, datagram, body):
        """Opens an SK body that ends `datagram`; returns the chain's octets."""
        associated = datagram[: len(datagram) - len(body)]
        nonce = self.ei[KEY:] + body[:IV]
        plain = AESGCM(self.ei[:KEY]).decrypt(nonce, body[IV:], associated)
        return plain[: len(plain) - 1 - plain[-1]]

    def seal(self, spis, exchange, flags, message_id, payloads):
        first, octets = chain(payloads)
        return self.seal_octets(spis, exchange, flags, message_id, SK, first, b"", octets)

    def seal_fragment(self, spis, exchange, flags, message_id, first, number, total, octets):
        return self.seal_octets(spis, exchange, flags, message_id, SKF, first, struct.pack(">HH", number, total), octets)

    def seal_octets(self, spis, exchange, flags, message_id, kind, first, front, octets):
        plain = octets + b"\x00"
        length = 4 + len(front) + IV + len(plain) + ICV
        head = header(spis, exchange, flags, message_id, kind, HEADER.size + length)
        head += struct.pack(">BBH", first, 0, length) + front
        self.counter += 1
        iv = struct.pack(">Q", self.counter)
        return head + iv + AESGCM(self.er[:KEY]).encrypt(self.er[KEY:] + iv, plain, head)


class Responder:
    """One IKE SA from its first request: the answer to IKE_SA_INIT, and the keys."""

    def __init__(self, request, leave_out=()):
        spis, first, _, _, _ = read_header(request)
        self.request, self.first_payloads = request, unchain(first, request[HEADER.size :])
        body = dict((kind, body) for kind, body in self.first_payloads)
        self.spis = (spis[0], os.urandom(8))
        private = ec.generate_private_key(ec.SECP384R1())
        public = private.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )[1:]
        self.nonce_i, self.nonce_r = body[NONCE], os.urandom(32)
        self.keys = Keys(body[KE][4:], self.nonce_i, self.nonce_r, self.spis, private)
        payloads = [
            (SA, first_proposal(body[SA])),
            (KE, struct.pack(">HH", 20, 0) + public),
            (NONCE, self.nonce_r),
            # Hashes that match no address: a NAT seems to be there.
            notify(NAT_SOURCE, os.urandom(20)),
            notify(NAT_DESTINATION, os.urandom(20)),
            notify(FRAGMENTATION),
            notify(HASHES, struct.pack(">HHH", 2, 3, 4)),
        ]
        payloads = [p for p in payloads if p[0] != N or struct.unpack_from(">H", p[1], 2)[0] not in leave_out]
        self.response = message(self.spis, IKE_SA_INIT, RESPONSE, 0, payloads)
        self.fragments = {}

    def octets_of_responder(self, identity):
        """What the responder's AUTH covers (section 2.15)."""
        return self.response + self.nonce_i + prf(self.keys.pr, identity)

    def shared_key_auth(self, key, identity):
        padded = prf(key, b"Key Pad for IKEv2")
        return struct.pack(">BBBB", 2, 0, 0, 0) + prf(padded, self.octets_of_responder(identity))

    def seal(self, exchange, message_id, payloads, response=True):
        return self.keys.seal(self.spis, exchange, RESPONSE if response else 0, message_id, payloads)

    def read(self, datagram):
        """Opens a protected message; returns its payloads, or none while fragments are missing."""
        _, first, _, _, message_id = read_header(datagram)
        kind, body = unchain(first, datagram[HEADER.size :])[-1]
        inner = datagram[HEADER.size]
        if kind == SK:
            return unchain(inner, self.keys.open(datagram, body))
        number, total = struct.unpack_from(">HH", body)
        parts = self.fragments.setdefault(message_id, {})
        parts[number] = (inner, self.keys.open(datagram, body[4:]))
        if len(parts) < total:
            return None
        return unchain(parts[1][0], b"".join(parts[part][1] for part in sorted(parts)))
