"""Heads of requests are parsed to the letter, or refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glancetx.config.settings import HttpSettings
from glancetx.web.head import BadRequest, Head, check_partial, parse_head

SETTINGS = HttpSettings(max_header_count=4, max_header_size=500, max_url_length=100)


def parse(*lines: str, host: bool = True) -> Head:
    """The head of these lines; with a Host header, unless told otherwise."""
    all_lines = [lines[0], *(["Host: x"] if host else []), *lines[1:]]
    return parse_head("\r\n".join(all_lines).encode("latin-1"), SETTINGS)


def test_simple() -> None:
    """A GET has no body and keeps the connection."""
    head = parse("GET /v2/images?a=b HTTP/1.1", "Accept:  text/plain \t")
    assert (head.method, head.target, head.version) == (b"GET", b"/v2/images?a=b", b"HTTP/1.1")
    assert head.headers == {b"Host": [b"x"], b"Accept": [b"text/plain"]}
    assert (head.length, head.persistent, head.expects_continue) == (0, True, False)


def test_old_version() -> None:
    """HTTP/1.0 needs no Host, knows no expectations, and does not keep the connection."""
    head = parse("PUT / HTTP/1.0", "Expect: 100-continue", "Content-Length: 3", host=False)
    assert (head.length, head.persistent, head.expects_continue) == (3, False, False)


@pytest.mark.parametrize(("value", "length"), [("0", 0), ("007", 7), ("999999999999999999", 10**18 - 1)])
def test_content_length(value: str, length: int) -> None:
    """Digits, and nothing else, say how long a body is."""
    assert parse("PUT / HTTP/1.1", f"Content-Length: {value}").length == length


def test_chunked() -> None:
    """A chunked body has no known length."""
    assert parse("PUT / HTTP/1.1", "Transfer-Encoding: Chunked").length is None


def test_expectation() -> None:
    """A client may wait for 100 Continue, but not without a body."""
    assert parse("PUT / HTTP/1.1", "Expect: 100-Continue", "Content-Length: 3").expects_continue
    assert not parse("PUT / HTTP/1.1", "Expect: 100-continue").expects_continue


@pytest.mark.parametrize("value", ["close", "Close", "keep-alive, close", "x,close ,y"])
def test_close(value: str) -> None:
    """A client can ask for the connection to be closed, in any list."""
    assert not parse("GET / HTTP/1.1", f"Connection: {value}").persistent


def test_absolute_target() -> None:
    """The authority of an absolute target replaces the Host header."""
    head = parse("GET http://other:9292/a?b HTTP/1.1")
    assert head.target == b"/a?b"
    assert head.headers == {b"Host": [b"other:9292"]}
    assert parse("GET http://other?b HTTP/1.1").target == b"/?b"
    assert parse("GET https://other HTTP/1.1").target == b"/"


def test_star() -> None:
    """OPTIONS may ask about the server as a whole."""
    assert parse("OPTIONS * HTTP/1.1").target == b"*"


REFUSED = {
    "no version": (400, "GET /"),
    "empty line": (400, ""),
    "two blanks": (400, "GET  / HTTP/1.1"),
    "trailing blank": (400, "GET / HTTP/1.1 "),
    "tab": (400, "GET\t/ HTTP/1.1"),
    "bad method": (400, "G(T / HTTP/1.1"),
    "no target": (400, "GET  HTTP/1.1"),
    "relative target": (400, "GET a HTTP/1.1"),
    "star with GET": (400, "GET * HTTP/1.1"),
    "authority target": (400, "CONNECT x:1 HTTP/1.1"),
    "foreign scheme": (400, "GET ftp://x/ HTTP/1.1"),
    "non-ASCII target": (400, "GET /\xe4 HTTP/1.1"),
    "lower-case protocol": (400, "GET / http/1.1"),
    "no such version": (400, "GET / HTTP/1.10"),
    "HTTP/2": (505, "GET / HTTP/2.0"),
    "HTTP/0.9": (505, "GET / HTTP/0.9"),
    "long URL": (414, "GET /" + "a" * 100 + " HTTP/1.1"),
    "many headers": (431, "GET / HTTP/1.1", "a: 1", "b: 2", "c: 3", "d: 4"),
    "large headers": (431, "GET / HTTP/1.1", "a: " + "b" * 500),
    "no colon": (400, "GET / HTTP/1.1", "a"),
    "no name": (400, "GET / HTTP/1.1", ": a"),
    "blank before colon": (400, "GET / HTTP/1.1", "a : b"),
    "bad name": (400, "GET / HTTP/1.1", "a(b: c"),
    "folded": (400, "GET / HTTP/1.1", "a: b", " c"),
    "NUL": (400, "GET / HTTP/1.1", "a: b\0c"),
    "control": (400, "GET / HTTP/1.1", "a: b\x0bc"),
    "bare CR": (400, "GET / HTTP/1.1", "a: b\rc"),
    "bare LF": (400, "GET / HTTP/1.1", "a: b\nc: d"),
    "two hosts": (400, "GET / HTTP/1.1", "Host: y"),
    "two lengths": (400, "PUT / HTTP/1.1", "Content-Length: 1", "Content-Length: 1"),
    "list of lengths": (400, "PUT / HTTP/1.1", "Content-Length: 1, 1"),
    "plus": (400, "PUT / HTTP/1.1", "Content-Length: +1"),
    "minus": (400, "PUT / HTTP/1.1", "Content-Length: -1"),
    "hexadecimal": (400, "PUT / HTTP/1.1", "Content-Length: 0x1"),
    "underscore": (400, "PUT / HTTP/1.1", "Content-Length: 1_0"),
    "empty length": (400, "PUT / HTTP/1.1", "Content-Length: "),
    "other digits": (400, "PUT / HTTP/1.1", "Content-Length: \xb2"),
    "endless length": (400, "PUT / HTTP/1.1", "Content-Length: " + "1" * 19),
    "length and chunks": (400, "PUT / HTTP/1.1", "Content-Length: 1", "Transfer-Encoding: chunked"),
    "chunks and length": (400, "PUT / HTTP/1.1", "Transfer-Encoding: chunked", "Content-Length: 1"),
    "identity": (400, "PUT / HTTP/1.1", "Transfer-Encoding: identity"),
    "gzip": (400, "PUT / HTTP/1.1", "Transfer-Encoding: gzip, chunked"),
    "twice chunked": (400, "PUT / HTTP/1.1", "Transfer-Encoding: chunked, chunked"),
    "chunked in two headers": (400, "PUT / HTTP/1.1", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
    "odd coding": (400, "PUT / HTTP/1.1", "Transfer-Encoding: xchunked"),
    "chunked in HTTP/1.0": (400, "PUT / HTTP/1.0", "Transfer-Encoding: chunked"),
    "expectation": (417, "PUT / HTTP/1.1", "Expect: a-miracle", "Content-Length: 1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    """Each is refused with its status."""
    status, *lines = REFUSED[name]
    with pytest.raises(BadRequest) as caught:
        parse(*map(str, lines))
    assert caught.value.status == status


@pytest.mark.parametrize("host", ["a b", "a/b", "a@b", "[::1", "a:b", "ä"])
def test_bad_host(host: str) -> None:
    """A Host header which is no host and port is refused."""
    with pytest.raises(BadRequest):
        parse("GET / HTTP/1.1", f"Host: {host}", host=False)


@pytest.mark.parametrize("host", ["", "a", "a.b:1", "[::1]:9292", "10.0.0.1", "xn--a_b"])
def test_good_host(host: str) -> None:
    """Names and addresses with or without a port are fine."""
    assert parse("GET / HTTP/1.1", f"Host: {host}", host=False).headers == {b"Host": [host.encode()]}


def test_missing_host() -> None:
    """HTTP/1.1 needs a Host header."""
    with pytest.raises(BadRequest):
        parse("GET / HTTP/1.1", host=False)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b"\x16\x03\x01", 400),
        (b"GET / HTTP/1.1\n", 400),
        (b"GET /" + b"a" * 200, 414),
        (b"GET / HTTP/1.1\r\n" * 40, 431),
    ],
)
def test_hopeless_beginning(text: bytes, status: int) -> None:
    """What can never become good is refused before it is complete."""
    with pytest.raises(BadRequest) as caught:
        check_partial(bytearray(text), 0, SETTINGS)
    assert caught.value.status == status


def test_line_end_in_two_pieces() -> None:
    """A line end may come in two pieces."""
    check_partial(bytearray(b"GET / HTTP/1.1\r"), 0, SETTINGS)
    check_partial(bytearray(b"GET / HTTP/1.1\r\n"), 13, SETTINGS)


@given(st.binary(max_size=200))
def test_any_bytes(text: bytes) -> None:
    """Whatever comes, the result is a head or a refusal."""
    try:
        head = parse_head(text, SETTINGS)
    except BadRequest:
        return
    assert head.target[:1] in (b"/", b"*")
