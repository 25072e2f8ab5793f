"""Certificates that a spec has generated: an authority of the fleet's own, and what it signs.

Each is one PEM text, so one secret: the private key, the certificate, and, below what was signed, the authority's
certificate. Programs that read PEM take from it what they look for, so such a file serves as key, certificate and
authority at once (Go's crypto/tls and OpenSSL skip blocks of other kinds).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_CLOCKS = timedelta(hours=1)
"""How much the clocks of nodes may be behind this machine's."""


def new_authority(name: str, days: int) -> str:
    """A key and a certificate that it signed itself.

    Args:
        name: The common name.
        days: How long it is valid.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(name, _named(name), key.public_key(), days).add_extension(
        x509.BasicConstraints(ca=True, path_length=0), critical=True
    )
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    return _pem(key, builder.add_extension(usage, critical=True).sign(key, hashes.SHA256()))


def issue(authority: str, names: Sequence[str], days: int) -> str:
    """A key and a certificate for servers and clients, and the authority's certificate.

    Args:
        authority: What :func:`new_authority` made.
        names: DNS names and IP addresses; the first is the common name.
        days: How long it is valid; the authority's own end comes first if that is sooner.

    Raises:
        ValueError: That is no authority.
    """
    signer = serialization.load_pem_private_key(authority.encode(), password=None)
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise ValueError("its key is none of an elliptic curve")
    (root,) = x509.load_pem_x509_certificates(authority.encode())
    left = (root.not_valid_after_utc - datetime.now(UTC)).days
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(names[0], root.subject, key.public_key(), min(days, left))
    for extension, critical in (
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False),
        (x509.SubjectAlternativeName([_general(name) for name in names]), False),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), False),
    ):
        builder = builder.add_extension(extension, critical=critical)
    return _pem(key, builder.sign(signer, hashes.SHA256()), root)


def is_current(text: str, names: Sequence[str], renew_days: int, authority: str) -> bool:
    """Whether what :func:`issue` made is still what is wanted: its names, its authority, and enough days left."""
    try:
        leaf, *above = x509.load_pem_x509_certificates(text.encode())
        alternative = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        (root,) = x509.load_pem_x509_certificates(authority.encode())
    except (ValueError, x509.ExtensionNotFound):
        return False
    return (
        list(alternative) == [_general(name) for name in names]
        and above == [root]
        and leaf.not_valid_after_utc - datetime.now(UTC) > timedelta(days=renew_days)
    )


def _builder(name: str, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_named(name))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(key: ec.EllipticCurvePrivateKey, *certificates: x509.Certificate) -> str:
    encoded = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return b"".join([encoded, *(each.public_bytes(serialization.Encoding.PEM) for each in certificates)]).decode()
