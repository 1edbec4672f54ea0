"""A certificate whose RSA key has the exponent 1, issued by a real authority.

With e = 1 every padded digest is its own signature, so anybody can "sign" with such a key. No library
makes one, so the DER is put together by hand (X.690, RFC 5280).
"""

import datetime
import hashlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa


def der(tag, *parts):
    body = b"".join(parts)
    if len(body) < 128:
        return bytes([tag, len(body)]) + body
    length = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + body


def integer(number):
    return der(2, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def elements(body):
    """Splits the content of a constructed value."""
    found, at = [], 0
    while at < len(body):
        size, start = body[at + 1], at + 2
        if size & 0x80:
            count = size & 0x7F
            size, start = int.from_bytes(body[start : start + count], "big"), start + count
        found.append(body[at : start + size])
        at = start + size
    return found


def content(value):
    size = value[1]
    return value[2 + (size & 0x7F) :] if size & 0x80 else value[2:]


def with_exponent_one(authority_pem, authority_key_pem, host):
    """Returns (certificate in DER, modulus)."""
    authority = x509.load_pem_x509_certificate(authority_pem)
    signer = serialization.load_pem_private_key(authority_key_pem, None)
    modulus = rsa.generate_private_key(65537, 2048).public_key().public_numbers().n
    now = datetime.datetime(2025, 1, 1)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gateway")]))
        .issuer_name(authority.subject)
        .public_key(rsa.RSAPublicNumbers(65537, modulus).public_key())
        .serial_number(4711)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=20000))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), False)
        .add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH]), False)
    )
    whole = elements(content(builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.DER)))
    parts = elements(content(whole[0]))
    info = elements(content(parts[6]))
    key = der(0x30, integer(modulus), integer(1))
    parts[6] = der(0x30, info[0], der(3, b"\x00", key))
    to_be_signed = der(0x30, *parts)
    if isinstance(signer, ec.EllipticCurvePrivateKey):
        signature = signer.sign(to_be_signed, ec.ECDSA(hashes.SHA256()))
    else:
        signature = signer.sign(to_be_signed, padding.PKCS1v15(), hashes.SHA256())
    return der(0x30, to_be_signed, whole[1], der(3, b"\x00", signature)), modulus


def forged_signature(octets, modulus):
    """RSA PKCS#1 v1.5 with SHA2-256 under e = 1: the padded digest itself (RFC 8017 section 9.2)."""
    digest_info = bytes.fromhex("3031300d060960864801650304020105000420") + hashlib.sha256(octets).digest()
    size = (modulus.bit_length() + 7) // 8
    return b"\x00\x01" + b"\xff" * (size - len(digest_info) - 3) + b"\x00" + digest_info
