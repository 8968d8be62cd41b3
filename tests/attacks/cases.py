"""Siblings of the cases in sample.json, in the same terms: every spelling that we could think of.

Besides its placeholders there are {{UPSTREAM}}, the port of the fixture upstream, {{TOKEN}}, our
access token, and {{LENGTH}}, of what stands behind the first blank line.  `complete` is the number
of requests that arrive upstream whole.
"""

from __future__ import annotations

from typing import Any

Case = dict[str, Any]

HOST = "Host: 127.0.0.1:{{PORT}}\r\n"
FORM = "Content-Type: application/x-www-form-urlencoded"
HELLO = "5\r\nhello\r\n0\r\n\r\n"
REFUSED = ("4xx", "closed")


def case(
    name: str, raw: str, status: str | tuple[str, ...] = "2xx", upstream: str = "", **expect: Any
) -> Case:
    """A case in sample.json's form; a status of 2xx means that exactly one request arrives."""
    statuses = [status] if isinstance(status, str) else list(status)
    arrives = "one" if statuses == ["2xx"] else "none"
    return {
        "name": name,
        "raw": raw,
        "expect": {"status": statuses, "upstream": upstream or arrives, **expect},
    }


def get(*fields: str, target: str = "/rest/api/2/myself", host: str = HOST) -> str:
    return f"GET {target} HTTP/1.1\r\n{host}" + "".join(f"{f}\r\n" for f in fields) + "\r\n"


def post(body: str, *fields: str) -> str:
    lines = "".join(f"{field}\r\n" for field in fields)
    return f"POST /rest/api/2/issue HTTP/1.1\r\n{HOST}{lines}\r\n{body}"


def chunked(body: str, *fields: str) -> str:
    return post(body, "Transfer-Encoding: chunked", *fields)


def host(name: str, value: str, status: str | tuple[str, ...] = REFUSED) -> Case:
    return case(name, get(host=f"{value}\r\n"), status)


def target(name: str, value: str, status: str | tuple[str, ...] = "400", **expect: Any) -> Case:
    return case(name, get(target=value), status, **expect)


def arrives_as(name: str, value: str, at_upstream: str) -> Case:
    return case(name, get(target=value), target=at_upstream)


def bad_body(name: str, body: str, **expect: Any) -> Case:
    """A chunked body that must never be completed upstream."""
    return case(name, chunked(body), ("400", "431"), "none_complete", **expect)


def bad_head(name: str, *fields: str, **expect: Any) -> Case:
    return case(name, post("hello", *fields), "400", **expect)


def dropped(field: str) -> Case:
    name, _, value = field.partition(": ")
    return case(
        f"{name} is not forwarded", get(field), absent=[name.lower()], absent_text=[f": {value}"]
    )


HOSTS = {
    "HOST-02": host("empty Host", "Host:"),
    "HOST-03": case("no Host", get(host=""), "400"),
    "HOST-05": host("loopback address as first label", "Host: 127.0.0.1.attacker.test:{{PORT}}"),
    "HOST-06": host("userinfo", "Host: 127.0.0.1:{{PORT}}@attacker.test"),
    "HOST-08": host("path", "Host: 127.0.0.1:{{PORT}}/attacker.test"),
    "HOST-09": host("any address", "Host: 0.0.0.0:{{PORT}}"),
    "HOST-11": host("short IP", "Host: 127.1:{{PORT}}"),
    "HOST-12": host("hexadecimal IP", "Host: 0x7f000001:{{PORT}}"),
    "HOST-14": host("port out of range", "Host: localhost:99999"),
    "HOST-15": host("two ports", "Host: localhost:80:{{PORT}}"),
    "HOST-17": case("the same Host twice", get(HOST.strip()), "400"),
    "HOST-18": case("another Host in capitals", get("HOST: attacker.test"), "400"),
    "HOST-20": host("tab before the colon", "Host\t: 127.0.0.1:{{PORT}}"),
    "HOST-21": case("HTTP/1.0 without Host", "GET /rest/x HTTP/1.0\r\n\r\n", "400"),
    "HOST-22": host("space within", "Host: 127.0.0.1:{{PORT}} attacker.test"),
    "HOST-23": host("8-bit letters", "Host: localh\xf6st"),
    "HOST-24": host("another IPv6 address", "Host: [::2]:{{PORT}}"),
    "HOST-25": host("unbalanced bracket", "Host: [::1:{{PORT}}"),
    "HOST-26": host("NUL", "Host: localhost\x00.attacker.test"),
    "HOST-27": host("X-Forwarded-Host is no Host", "Host: attacker.test\r\nX-Forwarded-Host: ::1"),
    "HOST-28": host("capitals", "Host: LOCALHOST:{{PORT}}", "2xx"),
    "HOST-29": host("a forwarded port", "Host: localhost:9999", "2xx"),
    "HOST-30": host("folded", "Host: 127.0.0.1:{{PORT}}\r\n .attacker.test"),
    "HOST-31": host("IPv4-mapped IPv6", "Host: [::ffff:127.0.0.1]:{{PORT}}"),
    "HOST-32": host("percent-encoded", "Host: local%68ost:{{PORT}}"),
    "HOST-33": host("only a port", "Host: :{{PORT}}"),
    "HOST-34": host("Jira's own name needs absolute-form", "Host: 127.0.0.2:{{UPSTREAM}}"),
}

OWN_ORIGIN = "Origin: http://127.0.0.1:{{PORT}}"
PAGES = {
    "CSRF-02": case("cross-site POST", post("", "Sec-Fetch-Site: cross-site"), "403"),
    "CSRF-03": case("same-site page", get("Sec-Fetch-Site: same-site"), "403"),
    "CSRF-05": case("Origin null", get("Origin: null"), "403"),
    "CSRF-06": case("page on another port", get("Origin: http://127.0.0.1:1"), "403"),
    "CSRF-08": case("page on another scheme", get("Origin: https://127.0.0.1:{{PORT}}"), "403"),
    "CSRF-09": case("our origin as a prefix", get(OWN_ORIGIN + ".attacker.test"), "403"),
    "CSRF-11": case(
        "our Origin but another site", get(OWN_ORIGIN, "Sec-Fetch-Site: cross-site"), "403"
    ),
    "CSRF-12": case("two Origins", get(OWN_ORIGIN, OWN_ORIGIN), "403"),
    "CSRF-14": case("empty Sec-Fetch-Site", get("Sec-Fetch-Site:"), "403"),
    "CSRF-15": case("empty Origin", get("Origin:"), "403"),
    "CSRF-17": case(
        "foreign preflight",
        f"OPTIONS /rest/api/2/issue HTTP/1.1\r\n{HOST}Origin: http://attacker.test\r\n"
        "Access-Control-Request-Method: PUT\r\n\r\n",
        "403",
        resp_absent=["access-control-allow-origin"],
    ),
    "CSRF-18": case(
        "WebSocket handshake from our own origin",
        get(OWN_ORIGIN, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
        absent=["upgrade", "origin", "sec-websocket-version"],
        never_status=["101"],
    ),
    "CSRF-19": case("our own page", get(OWN_ORIGIN, "Sec-Fetch-Site: same-origin")),
    "CSRF-20": case(
        "localhost page, 127.0.0.1 Host", get("Origin: http://localhost:{{PORT}}"), "403"
    ),
}

TARGETS = {
    "TGT-02": arrives_as(
        "our own absolute-form", "http://127.0.0.1:{{PORT}}/rest/x?y", "/rest/x?y"
    ),
    "TGT-03": target("userinfo in absolute-form", "http://a:b@127.0.0.1:{{PORT}}/x"),
    "TGT-05": target("Jira's name in absolute-form, our Host", "http://127.0.0.2:{{UPSTREAM}}/x"),
    "TGT-06": target("absolute-form with another port", "http://127.0.0.1:1/x"),
    "TGT-08": case(
        "CONNECT to ourselves", f"CONNECT 127.0.0.1:{{{{PORT}}}} HTTP/1.1\r\n{HOST}\r\n", REFUSED
    ),
    "TGT-09": case("CONNECT to a suffix", f"CONNECT .evil:443 HTTP/1.1\r\n{HOST}\r\n", REFUSED),
    "TGT-11": target("at-authority", "@{{EVIL}}", canary="none"),
    "TGT-12": case("OPTIONS *", f"OPTIONS * HTTP/1.1\r\n{HOST}\r\n", "400"),
    "TGT-14": target("empty target", ""),
    "TGT-15": target("another scheme", "ftp://127.0.0.1:{{PORT}}/x"),
    "TGT-17": target("encoded dots", "/rest/%2e%2e/secure"),
    "TGT-18": target("dots encoded twice", "/rest/%252e%252e/secure"),
    "TGT-20": target("dots encoded three times", "/rest/%25252e%25252e/secure"),
    "TGT-21": target("backslash", "/rest\\..\\secure"),
    "TGT-23": target("encoded backslash", "/rest/..%5csecure"),
    "TGT-24": target("backslash encoded twice", "/rest/%255c..%255csecure"),
    "TGT-26": target("encoded NUL", "/rest/a%00b"),
    "TGT-27": target("NUL", "/rest/a\x00b"),
    "TGT-29": target("tab", "/rest/a\tb"),
    "TGT-30": target("fragment", "/rest/a#b"),
    "TGT-32": arrives_as("three slashes", "///{{EVIL}}/x", "///{{EVIL}}/x"),
    "TGT-33": target("slash and backslash", "/\\{{EVIL}}/x", canary="none"),
    "TGT-34": target("8-bit byte", "/rest/\xe9"),
    "TGT-35": target("DEL", "/rest/\x7f"),
    "TGT-36": target("stray % in the path", "/rest/100%"),
    "TGT-37": arrives_as("stray % in the query", "/rest?a=100%", "/rest?a=100%25"),
    "TGT-38": arrives_as("scheme in capitals", "HTTP://127.0.0.1:{{PORT}}/x", "/x"),
    "TGT-39": target("scheme without authority", "http:/x"),
    "TGT-40": target("empty authority", "http:///x"),
    "TGT-41": target("query alone", "?x=1"),
    "TGT-42": target("relative", "rest/api"),
    "TGT-43": target("dots and a parameter", "/rest/..;a=b/secure"),
    "TGT-44": target("half encoded dots", "/rest/.%2e/secure"),
    "TGT-45": target("encoded dots and slashes", "/rest/%2e%2e%2f%2e%2e%2fsecure"),
    "TGT-46": target("single dot", "/rest/./secure"),
    "TGT-47": target("dots at the end", "/rest/.."),
    "TGT-48": target("encoded LF alone", "/rest/%0aX: 1"),
    "TGT-49": target("CR in the target", "/rest/a\rb"),
    "TGT-50": target("overlong UTF-8 byte", "/rest/\xc0\xae\xc0\xae/secure"),
    "TGT-51": arrives_as(
        "brackets are encoded", '/rest?a[]=<{"|^`}>', "/rest?a%5B%5D=%3C%7B%22%7C%5E%60%7D%3E"
    ),
    "TGT-52": arrives_as("a bare ? stays", "/rest?", "/rest?"),
    "TGT-53": arrives_as("letters that look like a host", "/@{{EVIL}}:80", "/@{{EVIL}}:80"),
    "TGT-54": target(
        "host with userinfo trap", "http://127.0.0.1:{{PORT}}@{{EVIL}}/x", canary="none"
    ),
    "TGT-55": target(
        "backslash in the authority", "http://127.0.0.1:{{PORT}}\\@{{EVIL}}/", canary="none"
    ),
    "TGT-56": target("form feed", "/rest/\x0c"),
    "TGT-57": case("two spaces before the target", f"GET  /x HTTP/1.1\r\n{HOST}\r\n", "400"),
    "TGT-61": case("two spaces behind the target", f"GET /x  HTTP/1.1\r\n{HOST}\r\n", "400"),
    "TGT-62": case("RTSP in the target", get(target="/rest?RTSP/1.0"), target="/rest?RTSP/1.0"),
    "TGT-58": case(
        "absolute-form https on a plain listener",
        get(target="https://127.0.0.1:{{PORT}}/x"),
        ("4xx", "2xx"),
        "max_one",
        canary="none",
    ),
    "TGT-59": case(
        "Jira's own name through http_proxy",
        get(target="http://127.0.0.1:{{UPSTREAM}}/x", host="Host: 127.0.0.1:{{UPSTREAM}}\r\n"),
        target="/x",
    ),
    "TGT-60": case(
        "foreign name through http_proxy",
        get(target="http://{{EVIL}}x/x", host="Host: {{EVIL}}x\r\n"),
        "4xx",
        canary="none",
    ),
}

METHODS = {
    "METH-02": case("lower-case method", f"get /rest/x HTTP/1.1\r\n{HOST}\r\n", "400"),
    "METH-03": case("PROPFIND", f"PROPFIND /rest/x HTTP/1.1\r\n{HOST}\r\n", "405"),
    "METH-05": case(
        "X-HTTP-Method-Override",
        post("", "X-HTTP-Method-Override: DELETE", "Content-Length: 0"),
        absent=["x-http-method-override"],
        absent_text=["DELETE"],
    ),
    "METH-06": case(
        "X-Method-Override",
        post("", "X-Method-Override: DELETE", "Content-Length: 0"),
        absent=["x-method-override"],
        absent_text=["DELETE"],
    ),
    "METH-08": case("space within the method", f"G ET /rest/x HTTP/1.1\r\n{HOST}\r\n", "400"),
    "METH-09": case("endless method", "{{repeat:A:70000}} / HTTP/1.1\r\n\r\n", ("400", "431")),
    "METH-11": case(
        "override twin",
        post("", "X_HTTP_METHOD_OVERRIDE: DELETE", "Content-Length: 0"),
        absent_text=["DELETE"],
    ),
    "METH-12": case("tab for a space", f"GET\t/rest/x HTTP/1.1\r\n{HOST}\r\n", "400"),
    "METH-13": case("M-SEARCH", f"M-SEARCH /rest/x HTTP/1.1\r\n{HOST}\r\n", "405"),
    "METH-14": case("NUL in the method", f"GE\x00T /rest/x HTTP/1.1\r\n{HOST}\r\n", "400"),
    "METH-15": case("X-Original-URL", get("X-Original-URL: /secure"), absent_text=["/secure"]),
    "METH-16": case("X-Rewrite-URL", get("X-Rewrite-URL: /secure"), absent_text=["/secure"]),
    "METH-17": case(
        "override twin of a URL", get("X_Original_URL: /secure"), absent_text=["/secure"]
    ),
    "METH-18": case(
        "HEAD answered without a body", f"HEAD /rest/x HTTP/1.1\r\n{HOST}\r\n", n_responses=1
    ),
}

VERSIONS = {
    f"VER-{number:02}": case(f"version {line!r}", f"GET /rest/x {line}\r\n{HOST}\r\n", "400")
    for number, line in (
        (2, "HTTP/1.2"),
        (3, "HTTP/2.0"),
        (5, "http/1.1"),
        (6, "HTTP/1"),
        (8, "HTTP/1.1 x"),
        (9, ""),
        (10, "HTTP/3.0"),
        (11, "HTTP /1.1"),
        (12, "HTTP/1.1x"),
        (13, "JTTP/1.1"),
        (14, "RTSP/1.0"),
        (15, "ICE/1.0"),
        (16, "HTTP/01.1"),
        (17, "HTTP/1.1\x00"),
        (18, "HTTP/1,1"),
        (19, "HTTP/-1.1"),
        (25, "RTSP/1.1"),
    )
} | {
    "VER-20": case("RTSP", f"OPTIONS /rest/x RTSP/1.0\r\n{HOST}\r\n", "400"),
    "VER-21": case("RTSP method", f"DESCRIBE /rest/x RTSP/1.0\r\n{HOST}\r\n", REFUSED),
    "VER-22": case("Icecast", f"SOURCE /rest/x ICE/1.0\r\n{HOST}\r\n", REFUSED),
    "VER-23": case("simple request", "GET /rest/x\r\n\r\n", "400"),
    "VER-24": case("POST RTSP", f"POST /rest/x RTSP/1.0\r\n{HOST}Content-Length: 0\r\n\r\n", "400"),
}

LENGTHS = {
    "SMUG-02": bad_head("TE and CL", "Transfer-Encoding: chunked", "Content-Length: 5"),
    "SMUG-03": bad_head("two Content-Lengths", "Content-Length: 5", "Content-Length: 6"),
    "SMUG-05": bad_head("Content-Length list", "Content-Length: 5, 5"),
    "SMUG-06": bad_head("Content-Length +5", "Content-Length: +5"),
    "SMUG-08": bad_head("Content-Length with a space", "Content-Length: 5 5"),
    "SMUG-09": bad_head("Content-Length 0x5", "Content-Length: 0x5"),
    "SMUG-11": bad_head("Content-Length with a parameter", "Content-Length: 5;q=1"),
    "SMUG-12": bad_head("Content-Length 5.0", "Content-Length: 5.0"),
    "SMUG-14": bad_head("Content-Length -0", "Content-Length: -0"),
    "SMUG-15": bad_head("Content-Length 1e1", "Content-Length: 1e1"),
    "SMUG-80": bad_head("Content-Length with NUL", "Content-Length: 5\x00"),
    "SMUG-81": bad_head("Content-Length in other digits", "Content-Length: \xb2"),
    "SMUG-82": bad_head("Content-Length with _", "Content-Length: 1_0"),
    "SMUG-83": bad_head("Content-Length folded", "Content-Length: 5\r\n 0"),
    "SMUG-84": bad_head("empty and good Content-Length", "Content-Length:", "Content-Length: 5"),
    "SMUG-85": bad_head("Content-Length before a colon's space", "Content-Length : 5"),
    "SMUG-86": bad_head("Content-Length with a vertical tab", "Content-Length: \x0b5"),
    "SMUG-17": bad_head("chunked twice in one", "Transfer-Encoding: chunked, chunked"),
    "SMUG-18": bad_head(
        "chunked twice", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"
    ),
    "SMUG-20": bad_head("TE xchunked", "Transfer-Encoding: xchunked"),
    "SMUG-21": bad_head("TE with a parameter", "Transfer-Encoding: chunked;q=1"),
    "SMUG-24": bad_head("TE with a vertical tab", "Transfer-Encoding: \x0bchunked"),
    "SMUG-26": case(
        "TE and CL in HTTP/1.0",
        post("hello", "Transfer-Encoding: chunked", "Content-Length: 5").replace("/1.1", "/1.0"),
        "400",
    ),
    "SMUG-87": bad_head("TE gzip, chunked", "Transfer-Encoding: gzip, chunked"),
    "SMUG-88": bad_head("TE gzip", "Transfer-Encoding: gzip"),
    "SMUG-89": bad_head("TE identity", "Transfer-Encoding: identity", "Content-Length: 5"),
    "SMUG-90": bad_head("empty TE", "Transfer-Encoding:", "Content-Length: 5"),
    "SMUG-91": bad_head("TE chunked, identity", "Transfer-Encoding: chunked, identity"),
    "SMUG-92": bad_head("TE with NUL", "Transfer-Encoding: chunked\x00"),
    "SMUG-93": bad_head("TE folded", "Transfer-Encoding:\r\n chunked"),
    "SMUG-94": bad_head("TE space colon", "Transfer-Encoding : chunked"),
    "SMUG-95": bad_head("TE tab colon", "Transfer-Encoding\t: chunked"),
    "SMUG-96": bad_head("TE with a comma", "Transfer-Encoding: chunked,"),
    "SMUG-97": bad_head("TE with a comma before", "Transfer-Encoding: ,chunked"),
    "SMUG-98": bad_head("TE in 8 bits", "Transfer-Encoding: chun\xe7ed"),
    "SMUG-99": bad_head("TE behind a bare CR", "X: y\rTransfer-Encoding: chunked"),
    "SMUG-100": bad_head("TE behind a bare LF", "X: y\nTransfer-Encoding: chunked"),
    "SMUG-23": case(
        "TE behind a tab", chunked(HELLO).replace(": ch", ":\tch"), body_if_any="hello"
    ),
    "SMUG-27": case("TE in capitals", chunked(HELLO).replace(" ch", " CH"), body_if_any="hello"),
    "SMUG-101": case(
        "Content-Length with leading zeros",
        post("hello", "Content-Length: 005"),
        ("2xx", "4xx"),
        "max_one",
        body_if_any="hello",
    ),
    "SMUG-102": case(
        "Content-Length twin",
        post("hello", "Content-Length: 5", "Content_Length: 50"),
        absent=["content_length"],
        body_if_any="hello",
    ),
    "SMUG-103": case(
        "Transfer-Encoding twin",
        post("hello", "Content-Length: 5", "Transfer_Encoding: chunked"),
        absent=["transfer_encoding"],
        body_if_any="hello",
    ),
}

FRAMES = {
    "SMUG-38": bad_body("chunk size 0x5", "0x5\r\nhello\r\n0\r\n\r\n"),
    "SMUG-39": bad_body("chunk size +5", "+5\r\nhello\r\n0\r\n\r\n"),
    "SMUG-41": bad_body("space before the chunk size", " 5\r\nhello\r\n0\r\n\r\n"),
    "SMUG-42": bad_body("chunk size with _", "0_5\r\nhello\r\n0\r\n\r\n"),
    "SMUG-44": bad_body("chunk size overflow", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
    "SMUG-45": bad_body("chunk longer than its size", "4\r\nhello\r\n0\r\n\r\n"),
    "SMUG-47": bad_body("no CRLF behind a chunk", "5\r\nhello0\r\n\r\n"),
    "SMUG-48": bad_body("chunk lines that end with LF", "5\nhello\n0\n\n"),
    "SMUG-49": bad_body("no chunk size", "\r\nhello\r\n0\r\n\r\n"),
    "SMUG-50": bad_body("space behind the chunk size", "5 \r\nhello\r\n0\r\n\r\n"),
    "SMUG-51": bad_body("chunk size that is no number", "g\r\nhello\r\n0\r\n\r\n"),
    "SMUG-52": bad_body("extension with a bare CR", "5;a\rb\r\nhello\r\n0\r\n\r\n"),
    "SMUG-53": bad_body("early end in a chunk", "5\r\nhel", half_close=True),
    "SMUG-54": bad_body("early end between chunks", "5\r\nhello\r\n", half_close=True),
    "SMUG-55": bad_body(
        "early end in the trailers", "5\r\nhello\r\n0\r\nX: y\r\n", half_close=True
    ),
    "SMUG-56": bad_body("early end before the last CRLF", "5\r\nhello\r\n0\r\n", half_close=True),
    "SMUG-57": case(
        "early end by Content-Length",
        post("hel", "Content-Length: 5"),
        "400",
        "none_complete",
        half_close=True,
    ),
    "SMUG-58": case(
        "early end without a body",
        post("", "Content-Length: 5"),
        "400",
        "none_complete",
        half_close=True,
    ),
    "SMUG-59": case("early end in the head", get()[:-2], REFUSED, half_close=True),
    "SMUG-60": bad_body("trailer without a colon", "5\r\nhello\r\n0\r\nX\r\n\r\n"),
    "SMUG-61": bad_body("trailer with NUL", "5\r\nhello\r\n0\r\nX: a\x00b\r\n\r\n"),
    "SMUG-62": bad_body("folded trailer", "5\r\nhello\r\n0\r\nX: a\r\n b\r\n\r\n"),
    "SMUG-63": bad_body("chunk with LF for CRLF", "5\r\nhello\n0\r\n\r\n"),
    "SMUG-64": bad_body("bare CR behind the size", "5\rhello\r\n0\r\n\r\n"),
    "SMUG-65": bad_body("second chunk malformed", "5\r\nhello\r\nZZ\r\n"),
    "SMUG-66": bad_body("negative second chunk", "5\r\nhello\r\n-1\r\n"),
    "SMUG-67": bad_body("LF at the very end", "5\r\nhello\r\n0\r\n\n"),
    "SMUG-68": bad_body("size in other digits", "\xb5\r\nhello\r\n0\r\n\r\n"),
    "SMUG-69": bad_body("tab behind the size", "5\t\r\nhello\r\n0\r\n\r\n"),
    "SMUG-70": bad_body("NUL in an extension", "5;a=\x00\r\nhello\r\n0\r\n\r\n"),
    "SMUG-71": case(
        "trailers are dropped",
        chunked("5\r\nhello\r\n0\r\nAuthorization: x-evil\r\nX-Y: x-evil\r\n\r\n"),
        absent_text=["x-evil"],
        count={"authorization": 1},
        body_if_any="hello",
        n_responses=1,
    ),
    "SMUG-72": case(
        "framing in trailers is dropped",
        chunked("5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n"),
        ("2xx", "400"),
        "max_one",
        body_if_any="hello",
        absent=["content-length"],
    ),
    "SMUG-73": case(
        "capital hexadecimal and zeros",
        chunked('000A;x="y"\r\nhellohello\r\n000\r\n\r\n'),
        body_if_any="hellohello",
    ),
    "SMUG-74": case(
        "a request in a body stays a body",
        post(get(target="/rest/smuggled"), "Content-Length: {{LENGTH}}"),
        absent_target=["/rest/smuggled"],
    ),
    "SMUG-75": case(
        "garbage behind a body",
        post("helloG", "Content-Length: 5"),
        ("2xx", "400", "closed"),
        "max_one",
        body_if_any="hello",
    ),
    "SMUG-76": case(
        "good, then bad",
        get() + post("hello", "Content-Length: 5, 5"),
        ("2xx", "400"),
        "one",
        target="/rest/api/2/myself",
        n_responses=2,
    ),
    "SMUG-77": case(
        "two good, then bad chunks",
        get() + get() + chunked("5\r\nhello\r\nZ\r\n"),
        ("2xx", "400"),
        "any",
        n_responses=3,
        complete=2,
    ),
    "SMUG-78": case(
        "nothing is looked at behind Connection: close",
        get("Connection: close") + get(target="/rest/smuggled"),
        "2xx",
        "one",
        absent_target=["/rest/smuggled"],
        n_responses=1,
    ),
    "SMUG-79": case(
        "nothing is looked at behind what was refused",
        get(target="/rest/..") + get(target="/rest/smuggled"),
        "400",
        "none",
        n_responses=1,
    ),
    "SMUG-104": case(
        "nothing is looked at behind an offer to upgrade",
        get("Connection: Upgrade", "Upgrade: websocket") + get(target="/rest/smuggled"),
        "2xx",
        "one",
        absent_target=["/rest/smuggled"],
        n_responses=1,
    ),
    "SMUG-105": case(
        "HTTP/1.0 asks no more",
        f"GET /rest/a HTTP/1.0\r\n{HOST}\r\n" + get(target="/rest/smuggled"),
        "2xx",
        "one",
        absent_target=["/rest/smuggled"],
        n_responses=1,
    ),
    "SMUG-106": case("body behind a GET", get("Content-Length: 5") + "hello", body_if_any="hello"),
    "SMUG-107": case("empty line before", "\r\n" + get(), n_responses=1),
    "SMUG-108": case(
        "pipelined in order",
        get(target="/rest/1") + get(target="/rest/2"),
        "2xx",
        "any",
        n_responses=2,
        complete=2,
    ),
    "SMUG-109": case(
        "pipelined behind chunks",
        chunked(HELLO) + get(target="/rest/2"),
        "2xx",
        "any",
        n_responses=2,
        complete=2,
    ),
    "SMUG-110": case(
        "h2c offer, and a request behind it",
        get("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AA")
        + get(target="/rest/2"),
        "2xx",
        "any",
        never_status=["101"],
        absent=["upgrade", "http2-settings"],
    ),
    "SMUG-111": case(
        "websocket offer with a body, and a bad request behind it",
        post("hello", "Connection: Upgrade", "Upgrade: websocket", "Content-Length: 5")
        + "GARBAGE\r\n\r\n",
        "2xx",
        "one",
        body_if_any="hello",
        n_responses=1,
    ),
    "SMUG-112": case(
        "h2c offer with a chunked body",
        chunked(HELLO, "Connection: Upgrade", "Upgrade: h2c"),
        body_if_any="hello",
        absent=["upgrade"],
        n_responses=1,
    ),
    "SMUG-113": case(
        "early end behind an offer to upgrade",
        post("hel", "Connection: Upgrade", "Upgrade: websocket", "Content-Length: 5"),
        "400",
        "none_complete",
        half_close=True,
    ),
}

SYNTAX = {
    "SMUG-29": case("bare LF behind a field", get("X: y").replace("y\r\n", "y\n"), "400"),
    "SMUG-30": case("bare LF everywhere", get().replace("\r\n", "\n"), "400"),
    "SMUG-32": case("NUL in a value", get("X: a\x00b"), "400"),
    "SMUG-33": case("NUL in a name", get("X\x00: a"), "400"),
    "SMUG-35": case("folded field", get("X: a\r\n b"), "400"),
    "SMUG-36": case("field folded by a tab", get("X: a\r\n\tb"), "400"),
    "SMUG-114": case("space in a name", get("X Y: a"), "400"),
    "SMUG-115": case("empty name", get(": a"), "400"),
    "SMUG-116": case("bracket in a name", get("X(Y): a"), "400"),
    "SMUG-117": case("8-bit name", get("X\xe9: a"), "400"),
    "SMUG-118": case("CR CR LF", get("X: a\r"), "400"),
    "SMUG-119": case("CR within", get("X: a\rb"), "400"),
    "SMUG-120": case("control in a value", get("X: a\x01b"), "400"),
    "SMUG-121": case("DEL in a value", get("X: a\x7fb"), "400"),
    "SMUG-122": case("escape in a value", get("X: a\x1bb"), "400"),
    "SMUG-123": case("LF ends the head", get()[:-2] + "\n", "400"),
    "SMUG-124": case("CR ends the head", get()[:-2] + "\rX: y\r\n\r\n", "400"),
    "SMUG-125": case("quotes in a name", get('"X": a'), "400"),
    "SMUG-126": case("colon in a value", get("X: a:b"), present={"x": "a:b"}),
    "SMUG-127": case("blank value", get("X: "), present={"x": ""}),
    "SMUG-128": case("spaces around a value", get("X:  \t a b \t "), present={"x": "a b"}),
    "SMUG-129": case("LF behind the request line", get().replace("1.1\r\n", "1.1\n", 1), "400"),
    "SMUG-130": case("TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03{{repeat:x:80}}", REFUSED),
    "SMUG-131": case("SOCKS", "\x05\x01\x00" + get(), REFUSED),
    "SMUG-132": case("SSH", "SSH-2.0-OpenSSH_9.2\r\n\r\n", REFUSED),
    "SMUG-133": case("PROXY protocol", "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n" + get(), REFUSED),
}

FIELDS = {
    "HDR-02": case(
        "our Authorization survives Connection",
        get("Connection: Authorization"),
        count={"authorization": 1},
        present_prefix={"authorization": "OAuth "},
    ),
    "HDR-03": case(
        "Content-Length survives Connection",
        post("hello", "Connection: Content-Length", "Content-Length: 5"),
        body_if_any="hello",
        present={"content-length": "5"},
    ),
    "HDR-05": case(
        "Transfer-Encoding survives Connection",
        chunked(HELLO, "Connection: close, Transfer-Encoding"),
        body_if_any="hello",
    ),
    "HDR-06": case(
        "what Connection names is dropped",
        get("Connection: X-Evil", "X-Evil: 1"),
        absent=["x-evil"],
    ),
    "HDR-08": case(
        "an Authorization twin",
        get("Authorization_: x", "AUTHORIZATION: Basic eA=="),
        absent_text=["Basic"],
        count={"authorization": 1},
    ),
    "HDR-09": dropped("Cookie: JSESSIONID=evil"),
    "HDR-11": dropped("Proxy-Authorization: Basic evil"),
    "HDR-12": dropped("X_Forwarded_For: 6.6.6.6"),
    "HDR-14": dropped("TE: trailers, deflate"),
    "HDR-15": dropped("X-Forwarded-Host: attacker.test"),
    "HDR-17": dropped("X-Sidecar-Key: attempt"),
    "HDR-18": dropped("Forwarded: for=6.6.6.6"),
    "HDR-19": case("a value that is not UTF-8", get("X: \xe9"), "400"),
    "HDR-20": case("a value in UTF-8", get("X: \xc3\xa9"), present={"x": "\xc3\xa9"}),
    "HDR-21": case(
        "no br or zstd", get("Accept-Encoding: br, zstd"), present={"accept-encoding": "identity"}
    ),
    "HDR-22": dropped("Keep-Alive: timeout=9"),
    "HDR-23": dropped("X-Real-IP: 6.6.6.6"),
    "HDR-24": dropped("Sec-GPC: one"),
    "HDR-25": dropped("Trailer: X-Evil"),
    "HDR-26": case(
        "a browser's name", get("User-Agent: Mozilla/5.0 (X11)"), absent_text=["Mozilla"]
    ),
    "HDR-27": dropped("Referer: http://attacker.test/"),
    "HDR-28": case("an empty Cookie", get("Cookie:"), absent=["cookie"]),
    "HDR-29": case("Expect without a body", get("Expect: 100-continue"), absent=["expect"]),
    "HDR-30": case(
        "Expect with the body at once",
        post("hello", "Expect: 100-continue", "Content-Length: 5"),
        absent=["expect"],
        body_if_any="hello",
        n_responses=1,
    ),
    "HDR-31": case(
        "no 100 for what is refused",
        post("", "Expect: 100-continue", "Content-Length: 5", "Origin: null"),
        "403",
        never_status=["100"],
    ),
    "HDR-32": case(
        "two expectations",
        post("", "Expect: 100-continue, 200-ok", "Content-Length: 5"),
        "417",
        never_status=["100"],
    ),
    "HDR-33": case(
        "no 100 for a reserved name",
        post("", "Expect: 100-continue", "Content-Length: 5").replace(
            "/rest/api/2/issue", "/_sidecar/x"
        ),
        "4xx",
        never_status=["100"],
    ),
    "HDR-34": case(
        "our Host survives Connection",
        get("Connection: Host"),
        absent_text=["Host: 127.0.0.1:{{PORT}}"],
        count={"host": 1},
    ),
    "HDR-35": case(
        "Proxy-Connection", get("Proxy-Connection: keep-alive"), absent=["proxy-connection"]
    ),
    "HDR-36": case("a Host twin", get("H_ost: x", "HO-ST: x"), count={"host": 1}),
}

OAUTH = {
    "OAUTH-02": target("oauth_token, encoded", "/rest?%6Fauth_token=evil"),
    "OAUTH-03": target("OAUTH_TOKEN", "/rest?a=b&OAUTH_TOKEN=evil"),
    "OAUTH-05": case(
        "oauth_token in a form",
        post("oauth_token=evil", FORM, "Content-Length: {{LENGTH}}"),
        "400",
    ),
    "OAUTH-06": case(
        "encoded name in a form",
        post("a=b&oauth%5Fx=1", FORM, "Content-Length: {{LENGTH}}"),
        "400",
    ),
    "OAUTH-07": case(
        "another consumer's Authorization",
        get('Authorization: OAuth oauth_token="evil", oauth_signature="evil"'),
        absent_text=["evil"],
        count={"authorization": 1},
    ),
    "OAUTH-08": case(
        "our own token: a loop", get('Authorization: OAuth oauth_token="{{TOKEN}}"'), "508"
    ),
    "OAUTH-09": target("encoded underscore", "/rest?oauth%5Ftoken=evil"),
    "OAUTH-10": target("without a value", "/rest?oauth_token"),
    "OAUTH-11": case(
        "a chunked form",
        chunked("10\r\noauth_token=evil\r\n0\r\n\r\n", FORM),
        "400",
    ),
}

LIMITS = {
    "LIM-02": case("129 fields", get(*["X: y"] * 128), ("400", "431")),
    "LIM-03": case("70 KB in many fields", get(*["X: {{repeat:y:696}}"] * 100), "431"),
    "LIM-05": case("70 KB value", get("X: {{repeat:y:70000}}"), "431"),
    "LIM-06": case(
        "a head without an end", get("X: {{repeat:y:60000}}", "{{repeat:Z:10000}}")[:-4], "431"
    ),
    "LIM-07": bad_body("an extension without an end", "5;{{repeat:y:90000}}"),
    "LIM-09": bad_body("70 KB trailer", "5\r\nhello\r\n0\r\nX: {{repeat:y:70000}}\r\n\r\n"),
    "LIM-10": case("128 fields", get(*["X: y"] * 127)),
    "LIM-11": case("60 KB query", get(target="/rest?{{repeat:a:60000}}")),
    "LIM-12": case(
        "many one-byte chunks",
        chunked("{{repeat:1\r\nx\r\n:20000}}0\r\n\r\n"),
        body_if_any="x" * 20000,
    ),
    "LIM-13": case("empty lines without an end", "{{repeat:\r\n:3000}}" + get()),
    "LIM-14": case(
        "a body too large for a form",
        post("{{repeat:a:3000}}", FORM, "Content-Length: 99999999"),
        "413",
    ),
}

SLOW = {
    "SLOW-02": case(
        "a request line, then nothing",
        f"GET /rest/x HTTP/1.1\r\n{HOST}",
        "408",
        slow={"drip": "", "interval_s": 2, "within_s": 35},
    ),
    "SLOW-03": case(
        "a head that drips into a value",
        f"GET /rest/x HTTP/1.1\r\n{HOST}X: ",
        "408",
        slow={"drip": "y", "interval_s": 2, "within_s": 35},
    ),
}

GOOD = {
    "OK-02": case("HTTP/1.0", f"GET /rest/x HTTP/1.0\r\n{HOST}\r\n", n_responses=1),
    "OK-03": case(
        "HTTP/1.0 keep-alive", f"GET /rest/x HTTP/1.0\r\n{HOST}Connection: keep-alive\r\n\r\n"
    ),
    "OK-05": case("Connection: close", get("Connection: close"), absent=["connection"]),
    "OK-06": case("localhost", get(host="Host: localhost:{{PORT}}\r\n")),
    "OK-08": case("DELETE with a body", post("{}", "Content-Length: 2").replace("POST", "DELETE")),
    "OK-09": case("chunked PUT", chunked("2\r\n{}\r\n0\r\n\r\n").replace("POST", "PUT")),
    "OK-11": case("POST without a body", post(""), present={"content-length": "0"}),
    "OK-12": case("empty chunked body", chunked("0\r\n\r\n"), body_if_any=""),
    "OK-14": case(
        "a form",
        post("a=b%20c", FORM, "Content-Length: 7"),
        body_if_any="a=b%20c",
    ),
    "OK-15": case("duplicate fields stay", get("X-A: 1", "X-A: 2"), count={"x-a": 2}),
    "OK-17": case("OPTIONS", f"OPTIONS /rest/x HTTP/1.1\r\n{HOST}\r\n"),
}

RESPONSES = {
    "RESP-02": case(
        "hop-by-hop fields of the answer",
        get(target="/rest/__hop"),
        resp_absent=[
            "x-secret",
            "keep-alive",
            "proxy-authenticate",
            "set-cookie",
            "access-control-allow-origin",
        ],
    ),
}

_GROUPS = (
    HOSTS,
    PAGES,
    TARGETS,
    METHODS,
    VERSIONS,
    LENGTHS,
    FRAMES,
    SYNTAX,
    FIELDS,
    OAUTH,
    LIMITS,
    SLOW,
    GOOD,
    RESPONSES,
)

CASES: list[Case] = [{"id": name, **fact} for group in _GROUPS for name, fact in group.items()]
