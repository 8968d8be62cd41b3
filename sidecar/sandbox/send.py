"""Writes an answer to the connection: compressed, cut off or reset where that is asked for."""

from __future__ import annotations

import gzip
import re
import socket
import struct
import zlib
from collections.abc import AsyncIterator

from aiohttp import HttpVersion11, web

from sidecar.sandbox.answers import Answer

_COMPRESSIBLE = re.compile(r"application/json|text/", re.IGNORECASE)
_GZIP = re.compile(r"(?:^|,)\s*(?:x-)?gzip\s*(?:;\s*q=(?!0(?:\.0*)?\s*(?:,|$)).*?)?(?:,|$)", re.I)


async def send(request: web.BaseRequest, answer: Answer, cut_off: int | None) -> web.StreamResponse:
    """Send an answer; `cut_off` closes the connection after so many bytes of the body."""
    if answer.raw is not None:
        return await _send_raw(request, answer.raw)
    _compress(request, answer)
    body = answer.body
    whole = isinstance(body, bytes)
    if whole and cut_off is None:
        plain = web.Response(body=body)
        await _respond(request, plain, answer)
        await plain.write_eof()
        return plain
    response = web.StreamResponse()
    response.content_length = len(body) if isinstance(body, bytes) else answer.length
    if response.content_length is None and request.version >= HttpVersion11:
        response.enable_chunked_encoding()
    await _respond(request, response, answer)
    if request.method != "HEAD":
        await _write(request, response, _pieces(body), cut_off)
    await response.write_eof()
    return response


async def _respond(request: web.BaseRequest, response: web.StreamResponse, answer: Answer) -> None:
    """Write the head of a response, with an empty reason as Tomcat gives it."""
    response.set_status(answer.status, "")
    for name, value in answer.fields:
        response.headers.add(name, value)
    if answer.content_type is not None:
        response.headers["Content-Type"] = answer.content_type
    if any(name == "Connection" and value == "close" for name, value in answer.fields):
        response.force_close()
    await response.prepare(request)


async def _write(
    request: web.BaseRequest,
    response: web.StreamResponse,
    pieces: AsyncIterator[bytes],
    cut_off: int | None,
) -> None:
    left = cut_off
    async for piece in pieces:
        if left is not None and len(piece) >= left:
            await response.write(piece[:left])
            if request.transport is not None:
                request.transport.close()
            return
        await response.write(piece)
        left = None if left is None else left - len(piece)


async def _pieces(body: bytes | AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if isinstance(body, bytes):
        yield body
    else:
        async for piece in body:
            yield piece


async def _send_raw(request: web.BaseRequest, data: bytes) -> web.StreamResponse:
    """Send bytes as they are and close."""
    if request.transport is not None:
        request.transport.write(data)
        request.transport.close()
    return web.StreamResponse()


async def reset(request: web.BaseRequest) -> web.StreamResponse:
    """Close the connection with RST (SO_LINGER 0) in place of an answer."""
    transport = request.transport
    if transport is not None:
        if (sock := transport.get_extra_info("socket")) is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.StreamResponse()


def _compress(request: web.BaseRequest, answer: Answer) -> None:
    """Compress text as Tomcat does, when the client asks for it.

    Nothing with a strong ETag is compressed (Tomcat's noCompressionStrongETag is true).
    """
    if answer.bare or answer.status in (204, 206, 304) or not answer.content_type:
        return
    if any(name == "ETag" and value.startswith('"') for name, value in answer.fields):
        return
    if not answer.body or not _COMPRESSIBLE.match(answer.content_type):
        return
    answer.fields.append(("Vary", "Accept-Encoding"))
    if not _GZIP.search(",".join(request.headers.getall("Accept-Encoding", []))):
        return
    answer.fields.append(("Content-Encoding", "gzip"))
    if isinstance(answer.body, bytes):
        answer.body = gzip.compress(answer.body, 1, mtime=0)
    else:
        answer.body, answer.length = _deflate(answer.body), None


async def _deflate(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Compress a stream so that the client can read each piece when it arrives."""
    compressor = zlib.compressobj(1, wbits=31)
    async for piece in pieces:
        yield compressor.compress(piece) + compressor.flush(zlib.Z_SYNC_FLUSH)
    yield compressor.flush()
