"""Log lines: for people, for machines, and for systemd's journal."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TextIO

from sidecar.errors import SidecarError
from sidecar.http.shown import escaped
from sidecar.telemetry.record import CALLBACK, Record
from sidecar.telemetry.spool import SpooledStream, loss_message

log = logging.getLogger(__name__)

LEVELS = {
    "error": "what the sidecar cannot put right, and bugs",
    "warning": "what is unwise at the start; OAuth problems and an unreachable Jira with what to"
    " do, each kind at most once a minute",
    "info": "a line for each request; start, stop, reload, renewed and replaced tokens and keys",
    "debug": "requests to /_sidecar/*, and why connections ended",
}
"""Each level shows what the ones above it show, and this."""

_PLAIN_NAME = re.compile(r"[\w.@+-]+")
_PRIORITIES = {  # sd-daemon(3)
    logging.DEBUG: "<7>",
    logging.INFO: "<6>",
    logging.WARNING: "<4>",
    logging.ERROR: "<3>",
    logging.CRITICAL: "<2>",
}


class TextFormatter(logging.Formatter):
    """`12:00:01 warning: …`; under the journal `<4>…`, which has time and level of its own."""

    def __init__(self, *, journal: bool) -> None:
        super().__init__()
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        text = escaped(record.getMessage())
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        if self._journal:
            priority = _priority(record)
            return "\n".join(priority + line for line in text.splitlines())
        clock = _clock(int(record.created))
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        return f"{clock} {level}{text}"


@lru_cache(maxsize=1)
def _clock(second: int) -> str:
    """The local time of a moment; made once a second."""
    return time.strftime("%H:%M:%S", time.localtime(second))


class JSONFormatter(logging.Formatter):
    """One JSON object a line; facts of a request, or of what was refused, are fields of it."""

    def __init__(self, *, journal: bool) -> None:
        super().__init__()
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {} if self._journal else {"time": _iso(record.created)}
        entry |= {"level": record.levelname.lower(), "message": record.getMessage()}
        if isinstance(record.msg, RequestLine | RefusedLine):
            entry |= record.msg.facts()
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        line = json.dumps(entry)
        return _priority(record) + line if self._journal else line


class RequestLine:
    """The log line of one request; it is formatted only when it is written."""

    def __init__(self, record: Record) -> None:
        self._record = record

    def __str__(self) -> str:
        record = self._record
        text = (
            f"{record.method} {record.path} {record.status or '-'}"
            f" in={record.received} out={record.sent} total={record.total * 1000:.1f}ms"
            f" upstream={_waited(record)} signing={record.signing * 1000:.2f}ms"
            f" retries={record.retries} id={record.request_id}"
        )
        if record.acts_as:
            text += f" as={_one_word(record.acts_as)}"
        for name, value in self._remarks():
            text += f" {name}={value}"
        return text

    def facts(self) -> dict[str, Any]:
        """The same, field by field.

        There is no status where the client left before one, and no upstream_ms without an answer
        of Jira's.
        """
        record = self._record
        return {
            "method": record.method,
            "path": record.path,
            "status": record.status or None,
            "answered_by": record.answered_by,
            "received_bytes": record.received,
            "sent_bytes": record.sent,
            "total_ms": round(record.total * 1000, 1),
            "upstream_ms": round(record.first_byte * 1000, 1) if record.first_byte else None,
            "signing_ms": round(record.signing * 1000, 2),
            "retries": record.retries,
            "request_id": record.request_id,
            **({"as": record.acts_as} if record.acts_as else {}),
            **dict(self._remarks()),
        }

    def _remarks(self) -> list[tuple[str, str]]:
        record = self._record
        remarks = (
            ("client", record.client),
            ("caller", record.caller),
            ("sent_as", record.sent_as),
            ("held", f"{record.held:.1f}s" if record.held else ""),
            ("absorbed", str(record.absorbed or "")),
            ("problem", record.problem),
            ("resent_for", record.resent_for),
            ("error", record.error),
            ("closed_early", record.closed_early),
        )
        return [remark for remark in remarks if remark[1]]


class _LineRecord(logging.LogRecord):
    """What is logged of a request: all but line and time is made once, which is half its cost."""

    def __init__(self, level: int, line: RequestLine) -> None:
        created = time.time()
        ours = {"msg": line, "created": created, "msecs": created % 1 * 1000}
        self.__dict__ = _same_for_all(level) | ours


@lru_cache
def _same_for_all(level: int) -> dict[str, Any]:
    return vars(logging.LogRecord(log.name, level, __file__, 0, "", None, None))


class RefusedLine:
    """The log line of what never became a request: the parser or a deadline refused it."""

    def __init__(self, error: SidecarError, request_id: str, client: str) -> None:
        self._error = error
        self._request_id = request_id
        self._client = client

    def __str__(self) -> str:
        error = self._error
        client = f" client={self._client}" if self._client else ""
        return f"refused with {error.status}: {error.message} id={self._request_id}{client}"

    def facts(self) -> dict[str, Any]:
        """The same, field by field; there is no method and no path that could be trusted."""
        return {
            "status": self._error.status,
            "answered_by": "sidecar",
            "request_id": self._request_id,
            "error": self._error.proxy_error,
            **({"client": self._client} if self._client else {}),
        }


def _one_word(user: str) -> str:
    """A user's name that cannot be taken for another part of the line."""
    return user if _PLAIN_NAME.fullmatch(user) else json.dumps(user, ensure_ascii=False)


def _waited(record: Record) -> str:
    """How long Jira took to answer; `-` where no answer came: `total` says how long that took."""
    return f"{record.first_byte * 1000:.1f}ms" if record.first_byte else "-"


def set_up(
    form: str,
    level: str,
    environ: Mapping[str, str],
    *,
    verbose: bool,
    complete: Callable[[str], str] = str,
    stream: TextIO | None = None,
) -> None:
    """Send the log to stderr in the given form, `text` or `json`; `verbose` is level debug.

    `complete` is given each warning and error: it completes the commands that hints name.
    """
    stream = stream or sys.stderr
    journal = is_journal(stream, environ)
    formatter = (JSONFormatter if form == "json" else TextFormatter)(journal=journal)
    handler = _LineHandler(stream)
    handler.setFormatter(formatter)
    handler.addFilter(lambda record: _complete(record, complete))
    if isinstance(stream, SpooledStream):
        stream.spool.describe_loss = lambda count: formatter.format(_loss(count))
    _spare_what_nobody_reads()
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("sidecar").setLevel(
        logging.DEBUG if verbose else logging.getLevelNamesMapping()[level.upper()]
    )


class _LineHandler(logging.StreamHandler[TextIO]):
    """Writes a line without waiting until somebody reads it."""

    def flush(self) -> None:
        """Leave that to the stream."""


def _complete(record: logging.LogRecord, complete: Callable[[str], str]) -> bool:
    if record.levelno >= logging.WARNING:
        record.msg, record.args = complete(record.getMessage()), None
    return True


def _loss(count: int) -> logging.LogRecord:
    return logging.LogRecord(__name__, logging.WARNING, "", 0, loss_message(count), None, None)


def _spare_what_nobody_reads() -> None:
    """Leave out where a line was logged: half its cost (logging HOWTO, "Optimization")."""
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


def is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether a stream goes to systemd's journal, by device and inode (systemd.exec(5))."""
    try:
        device, inode = map(int, environ.get("JOURNAL_STREAM", "").split(":"))
        found = os.fstat(stream.fileno())
    except (ValueError, OSError):  # not under systemd; or the stream has no descriptor
        return False
    return (found.st_dev, found.st_ino) == (device, inode)


def log_request(record: Record) -> None:
    """Log the line of one request; one for the sidecar's own pages at level debug."""
    level = logging.INFO
    if record.is_local:
        level = logging.DEBUG
        if record.path.startswith(CALLBACK):  # only Jira and one browser know the rest
            record.path = CALLBACK
    if log.isEnabledFor(level):
        log.handle(_LineRecord(level, RequestLine(record)))


def _priority(record: logging.LogRecord) -> str:
    return _PRIORITIES.get(record.levelno, "<6>")


def _iso(created: float) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(created))
    return f"{seconds}.{int(created % 1 * 1000):03d}Z"
