#!/usr/bin/python3
"""A hostile gateway, or a hostile network in front of a good one.

    rogue.py BEHAVIOUR [--listen ADDRESS] [--to ADDRESS] [--psk KEY] [--folder FOLDER]

It listens on UDP 500 and 4500 of ADDRESS and writes what it did and heard as lines of JSON. The
behaviours are the classes below, each with what a client must not let pass.
"""

import argparse
import json
import os
import pathlib
import select
import socket
import struct
import sys

import certificate
import ikev2
from ikev2 import AUTH, CERT, CP, D, EAP, IDR, IKE_AUTH, IKE_SA_INIT, INFORMATIONAL, RESPONSE, SA, TSI, TSR

MARKER = b"\x00" * 4
FQDN = struct.pack(">BBBB", 2, 0, 0, 0) + b"vpn.example.test"


def tell(what, **more):
    print(json.dumps({"what": what, **more}), flush=True)


class Behaviour:
    """Answers IKE_SA_INIT properly; what follows is the subclass's."""

    leave_out = ()

    def __init__(self, arguments):
        self.arguments, self.sa, self.last = arguments, None, {}

    def hear(self, datagram, reply):
        spis, _, exchange, flags, message_id = ikev2.read_header(datagram)
        if exchange == IKE_SA_INIT:
            if self.sa is None or self.sa.spis[0] != spis[0]:
                self.sa, self.last = ikev2.Responder(datagram, self.leave_out), {}
                tell("init")
            return reply(self.sa.response)
        if self.sa is None or spis != self.sa.spis:
            return None
        if not flags & RESPONSE and message_id in self.last:
            return [reply(answer) for answer in self.last[message_id]]
        payloads = self.sa.read(datagram)
        if payloads is None:
            return None
        for kind, body in payloads:
            if kind == EAP:
                tell("eap", octets=body.hex())
        if flags & RESPONSE:
            tell("response", message_id=message_id, payloads=[kind for kind, _ in payloads])
            return None
        answers = self.answer(exchange, message_id, payloads)
        self.last[message_id] = answers
        for answer in answers:
            reply(answer)
        return self.after(exchange, reply)

    def answer(self, exchange, message_id, payloads):
        return [self.sa.seal(exchange, message_id, [])]

    def after(self, exchange, reply):
        return None

    def tick(self):
        """Called now and then."""


class AsksWithoutProof(Behaviour):
    """Never authenticates and asks for EAP: nothing but an identity may be heard."""

    opening = bytes([1, 7, 0, 5, 1])
    challenge = bytes([1, 8, 0, 31, 26, 1, 8, 0, 26, 16]) + bytes(range(16)) + b"rogue"

    def answer(self, exchange, message_id, payloads):
        packet = self.opening if message_id == 1 else self.challenge
        tell("asked", message_id=message_id)
        return [self.sa.seal(exchange, message_id, [(IDR, FQDN), (EAP, packet)] if message_id == 1 else [(EAP, packet)])]


class EarlyChallenge(AsksWithoutProof):
    """The challenge at once."""

    opening = AsksWithoutProof.challenge


class EarlySuccess(AsksWithoutProof):
    """EAP-Success before anything was proved."""

    opening = bytes([3, 7, 0, 4])


class EarlyFiveOctetSuccess(AsksWithoutProof):
    """The success of five octets that a FortiGate sends before a code, out of its place."""

    opening = bytes([3, 7, 0, 5, 0])


class ProvesByKey(Behaviour):
    """Proves itself by a shared key, to a client that wants a certificate."""

    def answer(self, exchange, message_id, payloads):
        tell("asked", message_id=message_id)
        auth = self.sa.shared_key_auth(self.arguments.psk.encode(), FQDN)
        return [self.sa.seal(exchange, message_id, [(IDR, FQDN), (AUTH, auth), (EAP, AsksWithoutProof.opening)])]


class OversizedCertificates(Behaviour):
    """Certificates of 60,000 octets, eight of them, in fragments; all of it under the right keys."""

    def answer(self, exchange, message_id, payloads):
        tell("asked", message_id=message_id)
        blob = b"\x04\x30\x82\xea\x60" + b"\x41" * 60000
        auth = struct.pack(">BBBB", 14, 0, 0, 0) + os.urandom(272)
        first, octets = ikev2.chain([(IDR, FQDN)] + [(CERT, blob)] * 8 + [(AUTH, auth), (EAP, AsksWithoutProof.opening)])
        parts = [octets[at : at + 1100] for at in range(0, len(octets), 1100)]
        seal = self.sa.keys.seal_fragment
        return [
            seal(self.sa.spis, exchange, RESPONSE, message_id, first if number == 1 else 0, number, len(parts), part)
            for number, part in enumerate(parts, 1)
        ]


class ExponentOne(Behaviour):
    """A certificate of the right authority and name whose RSA key has e = 1, and the signature that
    anybody can make for it."""

    def answer(self, exchange, message_id, payloads):
        folder = pathlib.Path(self.arguments.folder)
        authority = [(folder / name).read_bytes() for name in ("ca.pem", "ca.key")]
        leaf, modulus = certificate.with_exponent_one(*authority, "vpn.example.test")
        identifier = bytes.fromhex("300d06092a864886f70d01010b0500")
        signature = certificate.forged_signature(self.sa.octets_of_responder(FQDN), modulus)
        auth = struct.pack(">BBBB", 14, 0, 0, 0) + bytes([len(identifier)]) + identifier + signature
        tell("asked", message_id=message_id)
        inner = [(IDR, FQDN), (CERT, b"\x04" + leaf), (AUTH, auth), (EAP, AsksWithoutProof.opening)]
        return [self.sa.seal(exchange, message_id, inner)]


class Honest(Behaviour):
    """A gateway that has the shared key and does what it should: the measure for what follows."""

    def answer(self, exchange, message_id, payloads):
        if exchange != IKE_AUTH:
            return [self.sa.seal(exchange, message_id, [])]
        body = dict(payloads)
        spi, address = os.urandom(4), bytes([10, 97, 0, 9])
        selector = lambda low, high: struct.pack(">B3xBBHHH", 1, 7, 0, 16, 0, 65535) + low + high
        auth = self.sa.shared_key_auth(self.arguments.psk.encode(), FQDN)
        inner = [
            (IDR, FQDN),
            (AUTH, auth),
            (CP, struct.pack(">B3xHH", 2, 1, 4) + address),
            (SA, ikev2.first_proposal(body[SA], spi)),
            (TSI, selector(address, address)),
            (TSR, selector(bytes([10, 98, 0, 0]), bytes([10, 98, 0, 255]))),
        ]
        tell("authenticated")
        return [self.sa.seal(exchange, message_id, inner)]

    question, way = None, None

    def alive(self, reply):
        """Asks whether the client is still there, under the right keys, until it answers: a flood
        may have filled the way there."""
        self.question, self.way = self.sa.seal(INFORMATIONAL, 0, [], response=False), reply

    def tick(self):
        if self.question:
            self.way(self.question)


class FragmentFlood(Honest):
    """Proves itself, then sends fragments of messages that never become whole."""

    def after(self, exchange, reply):
        if exchange == IKE_AUTH:
            seal, spis = self.sa.keys.seal_fragment, self.sa.spis
            for number in range(1, 20001):
                reply(seal(spis, INFORMATIONAL, 0, 0, D if number == 1 else 0, number, 65535, b"\x00" * 1100))
            for total in range(2, 2000):
                reply(seal(spis, INFORMATIONAL, 0, 0, 0, 1, total, b"\x00" * 1100))
            tell("flooded")
            self.alive(reply)


class UnprotectedFlood(Honest):
    """Proves itself, and then somebody who has no keys says that it is all over."""

    def after(self, exchange, reply):
        if exchange != IKE_AUTH:
            return
        for number in range(3000):
            for flags in (0, RESPONSE):
                for exchange in (IKE_AUTH, INFORMATIONAL, 36, IKE_SA_INIT):
                    lies = [
                        ikev2.notify(ikev2.AUTHENTICATION_FAILED),
                        ikev2.notify(ikev2.INVALID_IKE_SPI),
                        (D, struct.pack(">BBH", 1, 0, 0)),
                    ]
                    reply(ikev2.message(self.sa.spis, exchange, flags, number % 4, [lies[number % 3]]))
            reply(self.sa.spis[0] + os.urandom(200))
        tell("flooded")
        self.alive(reply)


class Proxy:
    """Stands between the client and a good gateway."""

    def __init__(self, arguments):
        self.arguments = arguments

    def to_gateway(self, datagram, back):
        return [datagram]

    def to_client(self, datagram):
        return [datagram]


class RefusesFirst(Proxy):
    """Forges unprotected refusals before each answer of the real gateway, whose answer must count."""

    def to_client(self, datagram):
        spis, _, exchange, flags, message_id = ikev2.read_header(datagram)
        lies = []
        if flags & RESPONSE and exchange in (IKE_SA_INIT, IKE_AUTH):
            for kind in (ikev2.NO_PROPOSAL_CHOSEN, ikev2.AUTHENTICATION_FAILED, ikev2.INVALID_SYNTAX):
                lies.append(ikev2.message(spis, exchange, flags, message_id, [ikev2.notify(kind)]))
            blank = (spis[0], b"\x00" * 8)
            lies.append(ikev2.message(blank, exchange, flags, message_id, [ikev2.notify(ikev2.NO_PROPOSAL_CHOSEN)]))
            lies.append(ikev2.message(spis, INFORMATIONAL, 0, 0, [(D, struct.pack(">BBH", 1, 0, 0))]))
            tell("refused", exchange=exchange)
        return lies + [datagram]


class AnswersFirst(Proxy):
    """Answers IKE_SA_INIT itself before the real gateway does, twice, each time with keys of its own,
    and goes on as a gateway whose proof is wrong."""

    def __init__(self, arguments):
        super().__init__(arguments)
        self.forged = {}

    def to_gateway(self, datagram, back):
        spis, _, exchange, _, message_id = ikev2.read_header(datagram)
        if spis in self.forged:
            sa = self.forged[spis]
            if exchange == IKE_AUTH and sa.read(datagram) is not None:
                proof = sa.shared_key_auth(b"some other key", FQDN)
                back(sa.seal(exchange, message_id, [(IDR, FQDN), (AUTH, proof)]))
                tell("impersonated")
            return []
        if exchange == IKE_SA_INIT:
            for sa in (ikev2.Responder(datagram), ikev2.Responder(datagram)):
                self.forged[sa.spis] = sa
                back(sa.response)
            tell("answered")
        return [datagram]


class AsksForCookies(Proxy):
    """Asks for a cookie before the real gateway, which wants none, answers."""

    def to_gateway(self, datagram, back):
        spis, first, exchange, _, _ = ikev2.read_header(datagram)
        if exchange == IKE_SA_INIT:
            for _ in range(3):
                cookie = ikev2.notify(ikev2.COOKIE, os.urandom(20))
                back(ikev2.message((spis[0], b"\x00" * 8), exchange, RESPONSE, 0, [cookie]))
            tell("asked")
        return [datagram]


class SpoofsRefusals(Proxy):
    """Answers the first IKE_SA_INIT with a refusal of each kind and swallows it and the next: the
    real gateway is heard only later."""

    def __init__(self, arguments):
        super().__init__(arguments)
        self.seen = 0

    def to_gateway(self, datagram, back):
        spis, _, exchange, _, _ = ikev2.read_header(datagram)
        if exchange != IKE_SA_INIT:
            return [datagram]
        self.seen += 1
        if self.seen == 1:
            lies = [(kind, b"") for kind in (ikev2.NO_PROPOSAL_CHOSEN, ikev2.AUTHENTICATION_FAILED, ikev2.INVALID_SYNTAX)]
            for kind, data in lies + [(ikev2.INVALID_KE_PAYLOAD, b"\x00\x02"), (ikev2.INVALID_KE_PAYLOAD, b"\x00\x0e")]:
                back(ikev2.message((spis[0], b"\x00" * 8), exchange, RESPONSE, 0, [ikev2.notify(kind, data)]))
            tell("spoofed")
        return [datagram] if self.seen > 2 else []


class Unreachable(Proxy):
    """Says by ICMP that nobody is there, and swallows the first IKE_SA_INIT."""

    def __init__(self, arguments):
        super().__init__(arguments)
        self.seen = 0

    def to_gateway(self, datagram, back):
        if ikev2.read_header(datagram)[2] != IKE_SA_INIT:
            return [datagram]
        self.seen += 1
        address, port = self.source
        ends = socket.inet_aton(address) + socket.inet_aton(self.arguments.listen)
        length = len(datagram)
        front = struct.pack("!BBHHHBBH", 0x45, 0, 28 + length, 0, 0, 64, 17, 0) + ends
        body = front + struct.pack("!HHHH", port, 500, 8 + length, 0) + datagram
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
            for code in (1, 2, 3, 13):
                word = struct.pack("!BBHI", 3, code, 0, 0) + body[:548]
                word += b"\x00" * (len(word) % 2)
                total = sum(struct.unpack(f"!{len(word) // 2}H", word))
                while total >> 16:
                    total = (total & 0xFFFF) + (total >> 16)
                raw.sendto(word[:2] + struct.pack("!H", ~total & 0xFFFF) + word[4:], (address, 0))
        tell("unreachable")
        return [datagram] if self.seen > 1 else []


class Reflects(Proxy):
    """Sends every message of the client back to it too."""

    def to_gateway(self, datagram, back):
        back(datagram)
        _, _, exchange, flags, _ = ikev2.read_header(datagram)
        flipped = datagram[:19] + bytes([flags ^ RESPONSE ^ ikev2.INITIATOR]) + datagram[20:]
        back(flipped)
        tell("reflected", exchange=exchange)
        return [datagram]


class Replays(Proxy):
    """Answers IKE_SA_INIT with the answer to an earlier one, then hands on the real one."""

    def __init__(self, arguments):
        super().__init__(arguments)
        self.old = None

    def to_client(self, datagram):
        spis, _, exchange, flags, _ = ikev2.read_header(datagram)
        if exchange == IKE_SA_INIT and flags & RESPONSE:
            old, self.old = self.old, self.old or datagram
            if old and old[:8] != spis[0]:
                tell("replayed")
                return [old, datagram]
        return [datagram]


class Strips(Proxy):
    """Takes notifies out of the gateway's answer to IKE_SA_INIT; AUTH covers that answer."""

    kinds = ()

    def to_client(self, datagram):
        spis, first, exchange, flags, message_id = ikev2.read_header(datagram)
        if exchange != IKE_SA_INIT or not flags & RESPONSE:
            return [datagram]
        payloads = ikev2.unchain(first, datagram[ikev2.HEADER.size :])
        kept = [p for p in payloads if p[0] != ikev2.N or struct.unpack_from(">H", p[1], 2)[0] not in self.kinds]
        if len(kept) < len(payloads):
            tell("stripped", count=len(payloads) - len(kept))
        return [ikev2.message(spis, exchange, flags, message_id, kept)]


class StripsNatDetection(Strips):
    """NAT detection."""

    kinds = (ikev2.NAT_SOURCE, ikev2.NAT_DESTINATION)


class StripsFragmentation(Strips):
    """Fragmentation."""

    kinds = (ikev2.FRAGMENTATION,)


class StripsHashes(Strips):
    """The hashes for signatures, so that SHA-1 seems to be all that is left."""

    kinds = (ikev2.HASHES,)


BEHAVIOURS = {
    "asks-without-proof": AsksWithoutProof,
    "early-challenge": EarlyChallenge,
    "early-success": EarlySuccess,
    "early-five-octet-success": EarlyFiveOctetSuccess,
    "proves-by-key": ProvesByKey,
    "oversized-certificates": OversizedCertificates,
    "exponent-one": ExponentOne,
    "honest": Honest,
    "fragment-flood": FragmentFlood,
    "unprotected-flood": UnprotectedFlood,
    "passes-on": Proxy,
    "refuses-first": RefusesFirst,
    "answers-first": AnswersFirst,
    "asks-for-cookies": AsksForCookies,
    "spoofs-refusals": SpoofsRefusals,
    "unreachable": Unreachable,
    "reflects": Reflects,
    "replays": Replays,
    "strips-nat-detection": StripsNatDetection,
    "strips-fragmentation": StripsFragmentation,
    "strips-hashes": StripsHashes,
}


def bound(address, port):
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    opened.bind((address, port))
    return opened


def serve_gateway(behaviour, arguments):
    sockets = {bound(arguments.listen, port): port for port in (500, 4500)}
    tell("ready")
    while True:
        for ready in select.select(list(sockets), [], [], 0.5)[0]:
            datagram, client = ready.recvfrom(65535)
            marked = sockets[ready] == 4500
            if marked and datagram[:4] != MARKER:
                continue
            front = MARKER if marked else b""
            reply = lambda octets, to=(ready, front, client): to[0].sendto(to[1] + octets, to[2])
            try:
                behaviour.hear(datagram[len(front) :], reply)
            except Exception as error:  # Whatever the client sends, this end goes on.
                tell("trouble", error=repr(error))
        behaviour.tick()


def serve_proxy(behaviour, arguments):
    near = {bound(arguments.listen, port): port for port in (500, 4500)}
    far, clients = {}, {}
    for opened, port in near.items():
        outward = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        outward.connect((arguments.to, port))
        far[outward] = opened
        clients[opened] = [outward, None]
    tell("ready")
    while True:
        for ready in select.select(list(near) + list(far), [], [])[0]:
            port = near[ready] if ready in near else near[far[ready]]
            try:
                datagram, source = ready.recvfrom(65535)
            except ConnectionRefusedError:
                continue
            is_ike = port == 500 or datagram[:4] == MARKER
            front = MARKER if port == 4500 else b""
            if ready in near:
                clients[ready][1] = source
                behaviour.source = source
                back = lambda octets: ready.sendto(front + octets, source)
                passed = behaviour.to_gateway(datagram[len(front) :], back) if is_ike and len(datagram) > 28 else None
                for octets in passed if passed is not None else [datagram]:
                    clients[ready][0].send(front + octets if passed is not None else octets)
            else:
                opened = far[ready]
                passed = behaviour.to_client(datagram[len(front) :]) if is_ike and len(datagram) > 28 else None
                for octets in passed if passed is not None else [datagram]:
                    opened.sendto(front + octets if passed is not None else octets, clients[opened][1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("behaviour", choices=BEHAVIOURS)
    parser.add_argument("--listen", default="10.99.0.2")
    parser.add_argument("--to", help="the good gateway, for what stands in front of one")
    parser.add_argument("--psk", default="", help="the shared key that it knows")
    parser.add_argument("--folder", help="where ca.pem and ca.key of the client's authority lie")
    arguments = parser.parse_args()
    behaviour = BEHAVIOURS[arguments.behaviour](arguments)
    serve = serve_proxy if isinstance(behaviour, Proxy) else serve_gateway
    try:
        serve(behaviour, arguments)
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
