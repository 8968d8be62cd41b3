"""Every error that a user can meet.

    SidecarError                      exit 70, 500 proxy_internal_error
    ├── UsageError                    exit 2
    ├── ConfigError                   exit 78, 503 proxy_configuration_error
    ├── StoreError                    exit 73
    ├── AddressInUse                  exit 75
    ├── NotAuthorized                 exit 77, 503 proxy_configuration_error
    ├── JiraError                     exit 22
    ├── RequestRefused                the client's fault: 4xx or 508, with a status of its own
    ├── Overloaded                    503 connection_limit_reached
    └── UpstreamError                 exit 69, 502 or 504
        ├── NameNotResolved           502 dns_error
        ├── ConnectionRefused         502 connection_refused
        ├── ConnectionLost            502 connection_terminated
        ├── CertificateError          502 tls_certificate_error
        │   └── UnknownIssuer         502 tls_certificate_error
        ├── TLSError                  502 tls_protocol_error
        ├── ProtocolError             502 http_protocol_error
        ├── NotJira                   502 http_protocol_error
        ├── OutOfDescriptors          503 connection_limit_reached
        ├── ConnectTimeout            504 connection_timeout
        └── ResponseTimeout           504 http_response_timeout

An error's text says what is wrong and where; its hint says what to do.  Exit codes are those of
sysexits(3), statuses RFC 9110's, Proxy-Status tokens RFC 9209 §2.3's.
"""

from __future__ import annotations

import errno
import re
from typing import ClassVar

_WORD = re.compile(r"[a-z]+(?=[ ,:;.?!]|$)(?!\.\w)")
_COMMANDS = ("sidecar", "sudo", "curl", "chmod", "chown", "kill", "mv", "rm", "ssh", "systemctl")
"""Words that a hint may begin with and that are typed as they are."""

DESCRIPTORS_HINT = "raise LimitNOFILE= in the unit, or `ulimit -n`"


class SidecarError(Exception):
    """What happened, and in `hint` what to do about it."""

    exit_code: ClassVar[int] = 70
    status: int = 500
    proxy_error: str = "proxy_internal_error"
    ends_connection: bool = False
    """Whether the client's connection ends with this answer."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(SidecarError):
    """The command line makes no sense."""

    exit_code = 2


class ConfigError(SidecarError):
    """The configuration, a key or a file's permission is invalid."""

    exit_code = 78
    status = 503
    proxy_error = "proxy_configuration_error"


class StoreError(SidecarError):
    """A key, configuration or token cannot be written."""

    exit_code = 73


class AddressInUse(SidecarError):
    """Another process listens where the sidecar should."""

    exit_code = 75


class NotAuthorized(SidecarError):
    """There is no usable access token, or the dance did not yield one."""

    exit_code = 77
    status = 503
    proxy_error = "proxy_configuration_error"


class JiraError(SidecarError):
    """Jira answered a request of `sidecar request` with 4xx or 5xx."""

    exit_code = 22


class RequestRefused(SidecarError):
    """A client's request that is not forwarded; `status` is that of the answer."""

    def __init__(
        self,
        status: int,
        message: str,
        hint: str = "",
        *,
        proxy_error: str = "http_request_error",
        fields: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message, hint)
        self.status = status
        self.proxy_error = proxy_error
        self.fields = fields


class Overloaded(SidecarError):
    """Too many requests wait already, or the sidecar is shutting down."""

    status = 503
    proxy_error = "connection_limit_reached"


class UpstreamError(SidecarError):
    """Jira cannot be reached, or what answers is not HTTP."""

    exit_code = 69
    status = 502
    proxy_error = "destination_unavailable"


class NameNotResolved(UpstreamError):
    """Jira's host name has no address."""

    proxy_error = "dns_error"


class ConnectionRefused(UpstreamError):
    """Nothing listens at Jira's address, or no route leads there."""

    proxy_error = "connection_refused"


class ConnectionLost(UpstreamError):
    """The connection ended before the answer did."""

    proxy_error = "connection_terminated"


class CertificateError(UpstreamError):
    """Jira's TLS certificate cannot be trusted."""

    proxy_error = "tls_certificate_error"


class UnknownIssuer(CertificateError):
    """What issued Jira's TLS certificate is not known here, or was not sent."""


class TLSError(UpstreamError):
    """Jira and we could not agree on TLS."""

    proxy_error = "tls_protocol_error"


class ProtocolError(UpstreamError):
    """The answer is not valid HTTP."""

    proxy_error = "http_protocol_error"

    def __init__(
        self,
        message: str,
        hint: str = "look at what stands between here and Jira: no sound server sends that",
    ) -> None:
        super().__init__(message, hint)


class NotJira(UpstreamError):
    """Something answered that is not Jira's OAuth provider: a login page, a gateway."""

    proxy_error = "http_protocol_error"


class ConnectTimeout(UpstreamError):
    """No connection within `timeouts.connect`."""

    status = 504
    proxy_error = "connection_timeout"


class OutOfDescriptors(UpstreamError):
    """The process may open no further file, so that it cannot connect to Jira."""

    status = 503
    proxy_error = "connection_limit_reached"

    def __init__(self) -> None:
        super().__init__(
            "The sidecar may open no further file or connection, and so none to Jira.",
            DESCRIPTORS_HINT,
        )


class ResponseTimeout(UpstreamError):
    """No response head within `timeouts.response`, or a pause beyond `timeouts.idle`."""

    status = 504
    proxy_error = "http_response_timeout"


def is_out_of_descriptors(error: OSError) -> bool:
    """Whether something could not be opened because too much is open already."""
    return error.errno in (errno.EMFILE, errno.ENFILE)


def as_sentence(text: str) -> str:
    """A message or hint with a full stop, unless it ends as a sentence already."""
    return text if text.endswith((".", "?", "!")) else text + "."


def own_sentence(hint: str) -> str:
    """A hint as a sentence of its own: a word begins in upper case, a name stays as it is."""
    word = _WORD.match(hint)
    if word is None or word[0] in _COMMANDS:
        return as_sentence(hint)
    return as_sentence(hint[:1].upper() + hint[1:])


def with_hint(message: str, hint: str, label: str = "What to do") -> str:
    """What is wrong and, after the label, what to do about it; a hint begins in lower case."""
    said = as_sentence(message)
    return f"{said} {label}: {as_sentence(hint)}" if hint else said


def in_brackets(hint: str) -> str:
    """A hint to be put behind what is wrong; empty where there is none."""
    return f" ({hint})" if hint else ""
