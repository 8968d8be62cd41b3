"""What aiohttp's parser refuses, in our own words: by kind of error, never quoting the input."""

from __future__ import annotations

from aiohttp.http_exceptions import BadHttpMethod, BadStatusLine, InvalidURLError, LineTooLong
from aiohttp.web_protocol import RequestPayloadError

from sidecar.errors import RequestRefused


def refusal(error: BaseException | None, status: int) -> RequestRefused:
    """The refusal of a head that the parser cannot read, or that came too late (TimeoutError)."""
    text = str(getattr(error, "message", ""))
    match error:
        case TimeoutError():
            return RequestRefused(408, "The request's head was not complete in time.")
        case LineTooLong():
            return RequestRefused(
                431,
                "The request's head is too large.",
                "limits.head_bytes sets the limit; long JQL can go into the body of a POST to"
                " /rest/api/2/search",
            )
        case BadHttpMethod() if "HTTPS" in text:
            return RequestRefused(
                400,
                "This port speaks plain http, and the request came in TLS.",
                "use http://, or set listen.tls_certificate and listen.tls_key",
            )
        case BadHttpMethod():
            return RequestRefused(400, "The request's method is not one that HTTP knows.")
        case BadStatusLine():
            return RequestRefused(
                400,
                "The request line is malformed.",
                "HTTP/1.0 and 1.1 only; percent-encode a space as %20",
            )
        case InvalidURLError():
            return RequestRefused(
                400,
                "The request target is malformed.",
                "percent-encode é as %C3%A9, a space as %20",
            )
    if "Too many headers" in text:
        return RequestRefused(431, "The request has too many header fields.", "128 at most")
    if "Host" in text:
        return RequestRefused(400, "The request needs exactly one Host field.")
    if status == 431:
        return RequestRefused(431, "The request's head is too large.")
    return RequestRefused(
        400, "The request is malformed.", "its header fields, lengths or chunks break HTTP's rules"
    )


def body_refusal(error: BaseException) -> RequestRefused:
    """The refusal of a request whose body failed: malformed, ended early, or its client left."""
    if isinstance(error, RequestPayloadError):
        return RequestRefused(400, f"The request's body cannot be understood: {error}.")
    return RequestRefused(400, "The client left before its request's body was complete.")
