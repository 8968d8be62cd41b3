"""Log lines: for people, for machines, and for systemd's journal."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Mapping

from sidecar.record import Record

requests = logging.getLogger("sidecar.request")

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
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        if self._journal:
            priority = _PRIORITIES.get(record.levelno, "<6>")
            return "\n".join(priority + line for line in text.splitlines())
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        return f"{clock} {level}{text}"


class JSONFormatter(logging.Formatter):
    """One JSON object a line; a request's facts are fields of it."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": _iso(record.created),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        facts = getattr(record, "facts", None)
        if isinstance(facts, dict):
            entry |= facts
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def set_up(form: str, level: str, environ: Mapping[str, str], *, verbose: bool) -> None:
    """Send the sidecar's log to stderr in the given form, `text` or `json`."""
    handler = logging.StreamHandler(sys.stderr)
    journal = "JOURNAL_STREAM" in environ and not sys.stderr.isatty()
    handler.setFormatter(JSONFormatter() if form == "json" else TextFormatter(journal=journal))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("sidecar").setLevel(
        logging.DEBUG if verbose else logging.getLevelNamesMapping()[level.upper()]
    )


def log_request(record: Record) -> None:
    """The one line for each request; nothing is put together unless somebody reads it."""
    if not requests.isEnabledFor(logging.INFO):
        return
    facts = {
        "method": record.method,
        "path": record.path,
        "status": record.status or None,
        "received_bytes": record.received,
        "sent_bytes": record.sent,
        "total_ms": round(record.total * 1000, 1),
        "upstream_ms": round(record.first_byte * 1000, 1),
        "signing_ms": round(record.signing * 1000, 2),
        "retries": record.retries,
        "request_id": record.request_id,
    }
    text = (
        f"{record.method} {record.path} {record.status or '-'}"
        f" in={record.received} out={record.sent} total={record.total * 1000:.1f}ms"
        f" upstream={record.first_byte * 1000:.1f}ms signing={record.signing * 1000:.2f}ms"
        f" retries={record.retries} id={record.request_id}"
    )
    for name in ("problem", "closed_early"):
        if value := getattr(record, name):
            facts[name] = value
            text += f" {name}={value}"
    requests.info("%s", text, extra={"facts": facts})


def _iso(created: float) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(created))
    return f"{seconds}.{int(created % 1 * 1000):03d}Z"
