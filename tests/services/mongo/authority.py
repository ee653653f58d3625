"""Certificates for a test: an authority, and what it signs."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


class Authority:
    """A certificate authority with its files in a folder.

    Attributes
    ----------
    certificate_file : Path
        Of the authority: what `tlsCAFile` names.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self.key = ec.generate_private_key(ec.SECP256R1())
        usage = x509.KeyUsage(*[False] * 5, True, True, *[False] * 2)  # it signs certificates and lists of revoked ones
        ours = self._builder(self.name, self.key.public_key())
        ours = ours.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        ours = ours.add_extension(usage, critical=True)
        ours = ours.add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False)
        folder.mkdir(parents=True, exist_ok=True)
        self.certificate_file = folder / "authority.pem"
        self.certificate_file.write_bytes(self._signed(ours))

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        since = datetime.now(UTC) - timedelta(hours=1)
        number = x509.random_serial_number()
        return x509.CertificateBuilder(self.name, subject, key, number, since, since + timedelta(days=2))

    def _signed(self, builder: x509.CertificateBuilder) -> bytes:
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def sign(self, host: str) -> tuple[Path, Path]:
        """Return the files of a key (PKCS 8) and of its certificate, for a host's name or address."""
        key = ec.generate_private_key(ec.SECP256R1())
        try:
            known_as: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            known_as = x509.DNSName(host)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
        builder = self._builder(name, key.public_key())
        builder = builder.add_extension(x509.SubjectAlternativeName([known_as]), critical=False)
        of_authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder = builder.add_extension(of_authority, critical=False)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        files = self.folder / f"{host}.key", self.folder / f"{host}.pem"
        files[0].touch(mode=0o600)
        files[0].write_bytes(private)
        files[1].write_bytes(self._signed(builder))
        return files
