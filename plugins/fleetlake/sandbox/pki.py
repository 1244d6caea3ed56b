"""Certificates of a sandbox: its authority, the server, one per client, one of a stranger's authority."""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

_VALID = dt.timedelta(days=3650)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, PEM files."""

    cert: Path
    key: Path


@dataclass(frozen=True)
class Pki:
    """The certificates below ``folder``, made when first asked for.

    ``client`` is the first RCS customer's. ``unregistered`` comes from the same authority but belongs to no customer;
    ``stranger`` comes from an authority that nobody trusts.
    """

    folder: Path

    @property
    def ca(self) -> Path:
        """Certificate of the sandbox's authority."""
        return self.folder / "ca.pem"

    def pair(self, name: str) -> Pair:
        """Files of the certificate called ``name``: ``server``, ``client``, ``unregistered``, ``stranger``, or a client's."""
        return Pair(self.folder / f"{name}.pem", self.folder / f"{name}.key")

    def ensure(self, *clients: str) -> None:
        """Make what is missing; what is there stays, so that a restart or one more client keeps everybody's certificates."""
        wanted = ("server", "stranger", "unregistered", *clients)
        missing = [name for name in wanted if not all(map(Path.exists, (self.pair(name).cert, self.pair(name).key)))]
        if missing or not self.ca.exists():
            _make(self, missing)


def _make(pki: Pki, names: list[str]) -> None:
    # Slow to import, and needed once per state folder only.
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    now = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)

    def name(common: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])

    def certificate(
        common: str, issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None, *, server: bool = False
    ) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        key = ec.generate_private_key(ec.SECP256R1())
        signer = issuer[1] if issuer else key
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(common))
            .issuer_name(issuer[0].subject if issuer else name(common))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now)
            .not_valid_after(now + _VALID)
            .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        )
        if issuer is None:
            usage = x509.KeyUsage(
                digital_signature=False,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=True,
                crl_sign=True,
                encipher_only=False,
                decipher_only=False,
            )
            builder = builder.add_extension(usage, critical=True)
        else:
            purpose = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
            builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        if server:
            names = [x509.DNSName("localhost"), x509.DNSName("sandbox"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(signer, hashes.SHA256()), key

    def write(path: Path, data: bytes) -> None:
        path.touch(mode=0o600)
        path.write_bytes(data)

    def load(pair: Pair) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        key = serialization.load_pem_private_key(pair.key.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)  # noqa: S101  (we wrote it)
        return x509.load_pem_x509_certificate(pair.cert.read_bytes()), key

    def save(pair: Pair, made: tuple[x509.Certificate, ec.EllipticCurvePrivateKey]) -> None:
        pem = made[1].private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        for path, data in ((pair.key, pem), (pair.cert, made[0].public_bytes(serialization.Encoding.PEM))):
            path.touch(mode=0o600)
            path.write_bytes(data)

    pki.folder.mkdir(parents=True, exist_ok=True)
    root = pki.pair("ca")
    if not root.cert.exists():
        save(root, certificate("fleetlake sandbox authority", None))
    for common in names:
        issuer = certificate("stranger authority", None) if common == "stranger" else load(root)
        save(pki.pair(common), certificate(common, issuer, server=common == "server"))
