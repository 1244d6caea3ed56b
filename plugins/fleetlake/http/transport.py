"""TLS settings, and what a failed connection means."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
import requests.adapters
import urllib3.exceptions

from fleetlake.errors import ConfigError, CredentialsRejected, FleetlakeError, VendorUnavailable
from fleetlake.http.redaction import Redactor

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


@dataclass(frozen=True, kw_only=True)
class TlsOptions:
    """Certificates and lowest version.

    Attributes:
        min_version: ``1.2`` or ``1.3``.
        cert, key: PEM files of the client certificate; the key may be in the same file.
        ca: PEM file of the authority that signed the server; ``None`` = the public ones.
    """

    min_version: str = "1.2"
    cert: str | None = None
    key: str | None = None
    ca: str | None = None

    def context(self) -> ssl.SSLContext:
        """Build the TLS context.

        Raises:
            ConfigError: a file is missing or unreadable, or certificate and key do not belong together.
        """
        if self.min_version not in _VERSIONS:
            raise ConfigError(f"TLS version {self.min_version!r}", where="min_tls", remedy=f"one of {', '.join(_VERSIONS)}")
        if self.key and not self.cert:
            raise ConfigError("a client key without certificate", where="key", remedy="set cert to its PEM file too")
        for name in ("cert", "key", "ca"):
            path = getattr(self, name)
            if path and not Path(path).is_file():
                raise ConfigError(f"file {path} is missing", where=name, remedy="give the path of a PEM file")
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=self.ca) if self._ca_is_readable() else None
        if context is None:
            raise ConfigError(f"{self.ca} holds no certificate", where="ca", remedy="give a PEM file with certificates")
        context.minimum_version = _VERSIONS[self.min_version]
        if self.cert:
            problem = None
            try:
                # The callback keeps OpenSSL from asking a terminal for the passphrase of an encrypted key.
                context.load_cert_chain(self.cert, self.key, password=lambda: b"")
            except (ssl.SSLError, OSError) as error:
                problem = getattr(error, "reason", None) or type(error).__name__
            if problem:
                raise ConfigError(
                    f"client certificate and key cannot be used: {problem}",
                    where=f"cert {self.cert}, key {self.key or self.cert}",
                    remedy="give PEM files that belong together; the key without passphrase",
                )
        return context

    def _ca_is_readable(self) -> bool:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(self.ca) if self.ca else None
        except (ssl.SSLError, OSError):
            return False
        return True


class TlsAdapter(requests.adapters.HTTPAdapter):
    """Transport adapter with our TLS context; it repeats nothing by itself."""

    def __init__(self, options: TlsOptions) -> None:
        self._context = options.context()
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Direct connections."""
        super().init_poolmanager(*args, **{**kwargs, "ssl_context": self._context})

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        """Connections through a proxy."""
        return super().proxy_manager_for(*args, **{**kwargs, "ssl_context": self._context})


_REFUSED_CERTIFICATE = re.compile(
    r"alert (certificate required|bad certificate|unknown ca|unsupported certificate|certificate (revoked|expired|unknown)"
    r"|access denied|decrypt error|no certificate)|_ALERT_(CERTIFICATE|BAD_CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED)",
    re.IGNORECASE,
)


def transport_error(error: BaseException, where: str, base_url: str, redactor: Redactor) -> FleetlakeError:
    """The error of ours that a failure below HTTP stands for, without the original's text where it shows addresses."""
    chain = _chain(error)
    text = redactor(" ".join(f"{type(item).__name__}: {item}" for item in chain))
    if any(isinstance(item, ssl.SSLCertVerificationError) for item in chain) or "CERTIFICATE_VERIFY_FAILED" in text:
        reason = re.search(r"certificate verify failed: ([^(]+)", text)
        return ConfigError(
            f"the server's certificate is not trusted: {reason.group(1).strip() if reason else 'verification failed'}",
            where=where,
            remedy="check the host name, or set ca to the PEM file of the authority that signed the server",
        )
    if _REFUSED_CERTIFICATE.search(text):
        return CredentialsRejected(
            "the server refused our client certificate during the TLS handshake",
            where=where,
            remedy="set cert and key to the certificate the vendor issued, and check that it is still valid",
        )
    if re.search(r"PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL|NO_PROTOCOLS_AVAILABLE|protocol version", text):
        return ConfigError(
            "server and client share no TLS version",
            where=where,
            remedy="check min_tls, and that no old proxy stands between",
        )
    if re.search(r"WRONG_VERSION_NUMBER|HTTP_REQUEST|RECORD_LAYER_FAILURE|PACKET_LENGTH_TOO_LONG", text):
        return ConfigError("the server does not speak TLS on this port", where=where, remedy="check scheme and port")
    if re.search(r"InvalidURL|LocationParseError|InvalidSchema|MissingSchema|InvalidHeader", text):
        return ConfigError("the address or a header cannot be sent", where=where, remedy="check the base URL")
    meaning = next((meaning for pattern, meaning in _LOST if re.search(pattern, text)), None)
    lost = VendorUnavailable(
        f"{meaning or 'the connection failed'} ({base_url})",
        where=where,
        remedy="check host and port if this lasts" if meaning else "it is tried again",
    )
    # The kinds of errors that are raised before there is a connection, and only then.
    lost.was_sent = not any(isinstance(item, _NOT_CONNECTED) for item in chain)
    return lost


_NOT_CONNECTED = (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError)
_LOST = (
    (r"NameResolutionError|getaddrinfo|gaierror", "the host name cannot be resolved"),
    (r"ConnectTimeout", "no connection within the time-out"),
    (r"ProxyError", "the proxy does not let us through"),
    (r"refused", "nobody listens there: connection refused"),
    (r"unreachable|No route", "the host is unreachable"),
    (r"ReadTimeout|timed out", "no answer within the time-out"),
    (r"IncompleteRead|InvalidChunk|ended prematurely|ChunkedEncoding", "the answer ended early"),
    (r"reset|Broken pipe|RemoteDisconnected|EOF|aborted", "the connection was lost"),
)


def _chain(error: BaseException) -> list[BaseException]:
    """The error and everything it wraps, in ``args``, ``reason``, cause and context."""
    found: list[BaseException] = []
    todo: list[Any] = [error]
    while todo:
        item = todo.pop(0)
        if isinstance(item, BaseException) and item not in found:
            found.append(item)
            todo += [*item.args, getattr(item, "reason", None), item.__cause__, item.__context__]
    return found
