from __future__ import annotations

import datetime as dt
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fleetlake.errors import ConfigError, CredentialsRejected, FleetlakeError
from fleetlake.http.session import SessionOptions, VendorSession
from fleetlake.http.transport import TlsOptions
from fleetlake.sandbox.pki import Pki


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    pki = Pki(tmp_path_factory.mktemp("pki"))
    pki.ensure("client")
    return pki


def _context(pki: Pki, *, client_required: bool = True, highest: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pair = pki.pair("server")
    context.load_cert_chain(pair.cert, pair.key)
    context.load_verify_locations(pki.ca)
    context.verify_mode = ssl.CERT_REQUIRED if client_required else ssl.CERT_NONE
    if highest:
        context.maximum_version = highest
    return context


@pytest.fixture
def tls_server(pki: Pki, tls_listening: Any, make_reply: Any) -> Iterator[Any]:
    with tls_listening(_context(pki)) as server:
        server.will(make_reply(body=b"[1]"))
        yield server


def _get(url: str, attempts: int = 1, **tls: Any) -> bytes:
    options = SessionOptions(
        base_url=url, tls=TlsOptions(**{"min_version": "1.3", **tls}), max_attempts=attempts, backoff_s=0.05
    )
    session = VendorSession(options)
    try:
        return session.get("/x").body
    finally:
        session.close()


def _client(pki: Pki, name: str = "client") -> dict[str, str]:
    pair = pki.pair(name)
    return {"cert": str(pair.cert), "key": str(pair.key)}


def test_client_certificate_and_private_authority_are_used(tls_server: Any, pki: Pki) -> None:
    assert _get(tls_server.url, ca=str(pki.ca), **_client(pki)) == b"[1]"


def test_an_untrusted_server_is_refused(tls_server: Any, pki: Pki) -> None:
    with pytest.raises(ConfigError, match=r"server's certificate is not trusted.*set ca") as caught:
        _get(tls_server.url, **_client(pki))
    assert tls_server.asked == []
    assert not isinstance(caught.value, CredentialsRejected)


def test_a_server_with_another_name_is_refused(tls_listening: Any, tmp_path: Path) -> None:
    cert, key = _self_signed(tmp_path, "other.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with tls_listening(context) as server, pytest.raises(ConfigError, match=r"not trusted: .*mismatch.*check the host name"):
        _get(server.url, ca=str(cert))


def _self_signed(folder: Path, host: str) -> tuple[Path, Path]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False)
        .sign(private, hashes.SHA256())
    )
    cert, key = folder / "other.pem", folder / "other.key"
    cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert, key


@pytest.mark.parametrize("name", [None, "stranger"])
def test_a_refused_client_certificate_is_told_as_such(name: str | None, tls_server: Any, pki: Pki) -> None:
    # In TLS 1.3 the refusal comes after the handshake; when the connection is reset first, the next attempt sees it.
    with pytest.raises(CredentialsRejected, match=r"refused our client certificate.*set cert and key"):
        _get(tls_server.url, attempts=20, ca=str(pki.ca), **(_client(pki, name) if name else {}))
    assert tls_server.asked == []


def test_an_old_server_is_refused(pki: Pki, tls_listening: Any) -> None:
    with (
        tls_listening(_context(pki, client_required=False, highest=ssl.TLSVersion.TLSv1_2)) as server,
        pytest.raises(ConfigError, match="share no TLS version"),
    ):
        _get(server.url, ca=str(pki.ca))


def test_the_lowest_version_is_a_setting(pki: Pki, tls_listening: Any, make_reply: Any) -> None:
    with tls_listening(_context(pki, client_required=False, highest=ssl.TLSVersion.TLSv1_2)) as server:
        server.will(make_reply(body=b"[2]"))
        assert _get(server.url, ca=str(pki.ca), min_version="1.2") == b"[2]"


def test_a_plain_server_behind_https_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(ConfigError, match="does not speak TLS on this port"):
            _get(f"https://127.0.0.1:{listener.getsockname()[1]}")
        thread.join(5)


@pytest.mark.parametrize("setting", ["cert", "key", "ca"])
def test_a_missing_file_is_named(setting: str, pki: Pki, tmp_path: Path) -> None:
    files = {"ca": str(pki.ca), **_client(pki), setting: str(tmp_path / "nothing.pem")}
    with pytest.raises(ConfigError) as caught:
        _get("https://127.0.0.1:9", **files)
    assert caught.value.where == setting
    assert "nothing.pem" in str(caught.value)


def test_files_that_do_not_belong_together_are_refused(pki: Pki) -> None:
    files = {**_client(pki), "key": str(pki.pair("stranger").key)}
    with pytest.raises(ConfigError, match=r"cannot be used: KEY_VALUES_MISMATCH.*belong together"):
        _get("https://127.0.0.1:9", ca=str(pki.ca), **files)


def test_an_encrypted_key_is_refused_instead_of_asking_a_terminal(pki: Pki, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(pki.pair("client").key.read_bytes(), None)
    locked = tmp_path / "locked.key"
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"passphrase"),
        )
    )
    with pytest.raises(ConfigError, match="without passphrase"):
        _get("https://127.0.0.1:9", ca=str(pki.ca), cert=str(pki.pair("client").cert), key=str(locked))


def test_rubbish_in_a_bundle_and_wrong_settings_are_refused(pki: Pki, tmp_path: Path) -> None:
    rubbish = tmp_path / "rubbish.pem"
    rubbish.write_text("no certificate")
    wrong: list[tuple[dict[str, str], str]] = [
        ({"ca": str(rubbish)}, "holds no certificate"),
        ({"min_version": "1.1"}, "one of 1.2, 1.3"),
        ({"key": str(pki.pair("client").key)}, "client key without certificate"),
    ]
    for tls, text in wrong:
        with pytest.raises(FleetlakeError, match=text):
            _get("https://127.0.0.1:9", **tls)
