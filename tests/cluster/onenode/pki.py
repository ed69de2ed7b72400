"""Create the keys, certificates and kubeconfigs of a cluster, which are deleted with it."""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import json
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from onenode.layout import API_PORT, API_SERVICE, DOMAIN, NODE, NODE_ADDRESS

if TYPE_CHECKING:
    from pathlib import Path

    from onenode.layout import Layout

CLIENTS = {
    "admin": ("charon-tests", "system:masters"),
    "kubelet-client": ("kube-apiserver", "system:masters"),
    "controller-manager": ("system:kube-controller-manager", None),
    "scheduler": ("system:kube-scheduler", None),
    "kubelet": (f"system:node:{NODE}", "system:nodes"),
    "proxy": ("system:kube-proxy", None),
    "dns": ("charon-tests-dns", "system:masters"),
}
"""Common name and organization of each client, which Kubernetes reads as user and group."""


def _write_private(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    form = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


class Authority:
    """The certificate authority of one cluster."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "charon-tests")])
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        self.certificate = (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA256())
        )

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=5))
            .not_valid_after(now + dt.timedelta(days=2))
        )

    def issue(self, folder: Path, file: str, name: str, group: str | None = None, hosts: tuple[str, ...] = ()) -> None:
        """Write FILE.crt and FILE.key, for a server if hosts are given, else for a client."""
        key = ec.generate_private_key(ec.SECP256R1())
        attributes = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
        if group:
            attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, group))
        use = ExtendedKeyUsageOID.SERVER_AUTH if hosts else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = self._builder(x509.Name(attributes), key.public_key()).add_extension(
            x509.ExtendedKeyUsage([use]), critical=False
        )
        if hosts:
            names = [_general_name(host) for host in hosts]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        (folder / f"{file}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        _write_private(folder / f"{file}.key", _pem(key))


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def create(layout: Layout, forwarded_port: int) -> None:
    """Write the keys, certificates and kubeconfigs of the cluster's programs and users."""
    folder = layout.pki
    authority = Authority()
    (folder / "ca.crt").write_bytes(authority.certificate.public_bytes(serialization.Encoding.PEM))
    service = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", f"kubernetes.default.svc.{DOMAIN}")
    authority.issue(
        folder, "apiserver", "kube-apiserver", hosts=(*service, "localhost", "127.0.0.1", NODE_ADDRESS, API_SERVICE)
    )
    authority.issue(folder, "kubelet-server", NODE, hosts=(NODE, NODE_ADDRESS))
    for file, (name, group) in CLIENTS.items():
        authority.issue(folder, file, name, group)
        _write_private(folder / f"{file}.kubeconfig", _kubeconfig(folder, file, f"https://{NODE_ADDRESS}:{API_PORT}"))
    _write_private(layout.kubeconfig, _kubeconfig(folder, "admin", f"https://127.0.0.1:{forwarded_port}"))
    accounts = rsa.generate_private_key(65537, 2048)
    _write_private(folder / "accounts.key", _pem(accounts))
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    (folder / "accounts.pub").write_bytes(accounts.public_key().public_bytes(serialization.Encoding.PEM, spki))


def _kubeconfig(folder: Path, client: str, server: str) -> bytes:
    def data(file: str) -> str:
        return base64.b64encode((folder / file).read_bytes()).decode()

    # JSON is valid YAML.
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "tests", "cluster": {"server": server, "certificate-authority-data": data("ca.crt")}}],
        "users": [
            {
                "name": client,
                "user": {
                    "client-certificate-data": data(f"{client}.crt"),
                    "client-key-data": data(f"{client}.key"),
                },
            }
        ],
        "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": client, "namespace": "default"}}],
        "current-context": "tests",
    }
    return json.dumps(document, indent=1).encode()
