"""One script of requests, played to a real Glance and to us; what differs in the answers.

The ids in a script are the client's, so they are the same on both sides; what the servers choose themselves (dates,
request ids, ports, folders) is written over before it is compared.
"""

from __future__ import annotations

import gzip
import http.client
import json
import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import evolve, field, frozen

from tests.running import JSON, PATCH

COMPARED: Final = (
    "accept-patch", "access-control-allow-credentials", "access-control-allow-headers",
    "access-control-allow-methods", "access-control-allow-origin", "access-control-expose-headers",
    "access-control-max-age", "allow", "content-encoding", "content-md5", "content-range", "content-type", "location",
    "openstack-image-import-methods", "openstack-image-store-ids", "vary", "www-authenticate",
)  # fmt: skip


def without_head(methods: str) -> str:
    """Their order means nothing; and we answer HEAD wherever GET is."""
    return ", ".join(sorted(set(methods.split(", ")) - {"HEAD"}))


def without_reserved(stores: str) -> str:
    """Glance's list grows by its own stores when an image was first uploaded."""
    return ",".join(name for name in stores.split(",") if not name.startswith("os_glance_"))


def without_coding(names: str) -> str:
    """Glance does not tell caches that compressed answers are for some clients only."""
    return ", ".join(name for name in names.split(", ") if name != "Accept-Encoding")


SAID_OTHERWISE: Final[Mapping[str, Callable[[str], str]]] = {
    "allow": without_head,
    "vary": without_coding,
    "openstack-image-store-ids": without_reserved,
}

ADMIN, OWNER, FRIEND, STRANGER = "admin", "owner", "friend", "stranger"
ROLES: Final = {ADMIN: "admin,member,reader", "service": "service"}  # everybody else is a member

DATE: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d(:|%3A)\d\d(:|%3A)\d\d(\.\d+)?Z?")
CHOSEN: Final = re.compile(
    r"(?!abcdef)[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
)  # by a server
MOMENT: Final = re.compile(r'("last_(?:accessed|modified)": ?)[0-9.]+')
SHOWN_SCHEMA: Final = re.compile(r"(?<=:\n) .*?(?=\n\nOn instance)", re.DOTALL)
PLACE: Final = re.compile(r"<([a-z_0-9]+)>")


def image_id(number: int) -> str:
    """The id of the image which a script calls by this number."""
    return str(uuid.UUID(int=(0xABCDEF << 104) + number))


@frozen
class Ask:
    """One request of a script.

    *path* and *body* may contain ``<name>`` for what an earlier reply was asked to *keep* (a name of ours and the key
    in its document). *caller* is a project; its name tells its roles. *differs* tells for an aspect of the reply
    (status, message, body, order, or a header's name) why ours is meant to be another one. With *until* it is asked
    again until these keys of the document have these values; None: until they are not there.
    """

    method: str
    path: str
    document: Any = None
    body: bytes | None = None
    headers: Mapping[str, str] = field(factory=dict)
    caller: str = ADMIN
    keep: Mapping[str, str] = field(factory=dict)
    differs: Mapping[str, str] = field(factory=dict)
    until: Mapping[str, Any] = field(factory=dict)

    def fits(self, document: Any) -> bool:
        """Whether *document* is what it waits for."""
        return not self.until or (
            isinstance(document, dict) and all(meets(document.get(name), value) for name, value in self.until.items())
        )

    @property
    def name(self) -> str:
        """For people to find it by."""
        document = "" if self.document is None else " " + json.dumps(self.document, ensure_ascii=False)[:150]
        headers = f" {dict(self.headers)}" if self.headers else ""
        return f"{self.caller}: {self.method} {self.path}{document}{headers}"


def meets(value: Any, wanted: Any) -> bool:
    return bool(wanted(value)) if callable(wanted) else value == wanted


@frozen
class Reply:
    """What came back, with the server's own names written over."""

    status: int
    headers: Mapping[str, str]
    body: str

    @property
    def message(self) -> str | None:
        """The text of an error, without the part of a schema that it may show: descriptions are everybody's own."""
        document = self.document
        if not isinstance(document, dict) or set(document) != {"message", "code", "title"}:
            return None
        return SHOWN_SCHEMA.sub("", document["message"])

    @property
    def document(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError:
            return self.body


class Side:
    """One of the two servers, which keeps its files in *folder*: ``<folder>`` in a script."""

    def __init__(self, port: int, folder: Path) -> None:
        self._port = port
        self._names = {f"://127.0.0.1:{port}": "://SERVER", str(folder): "/FOLDER", f"of-{folder.name}": "of-SIDE"}
        self._kept = {"folder": str(folder)}

    def play(self, script: Iterable[Ask]) -> list[Reply]:
        """Send the requests one after the other."""
        return [self.ask_until(step) for step in script]

    def ask_until(self, step: Ask) -> Reply:
        """Ask until the reply is as the step wants it."""
        latest = time.monotonic() + 60
        while not step.fits((reply := self.ask(step)).document):
            assert time.monotonic() < latest, f"{step.path} never had {step.until}: {reply.document}"
            time.sleep(0.05)
        return reply

    def ask(self, step: Ask) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            connection.putrequest(
                step.method, self._fill(step.path), skip_accept_encoding=True, skip_host="Host" in step.headers
            )
            body = self._body(step)
            for name, value in self._headers(step, body).items():
                connection.putheader(name, value.encode())
            connection.endheaders(body)
            response = connection.getresponse()
            data = response.read()
        except http.client.RemoteDisconnected:
            return Reply(0, {}, "no answer")
        finally:
            connection.close()
        if response.headers.get("Content-Encoding") == "gzip":
            data = gzip.decompress(data)
        self._keep(step, data)
        headers = {
            name: SAID_OTHERWISE.get(name, str)(self._hide(response.headers[name]))
            for name in COMPARED
            if name in response.headers
        }
        return Reply(response.status, headers, self._hide(data.decode("utf-8", "replace")))

    def _headers(self, step: Ask, body: bytes | None) -> dict[str, str]:
        identity = {
            "X-Identity-Status": "Confirmed",
            "X-User-Id": f"user-{step.caller}",
            "X-Project-Id": step.caller,
            "X-Roles": ROLES.get(step.caller, "member,reader"),
        }
        kinds = {"Content-Type": PATCH} if step.method == "PATCH" else {}
        chunked = "Transfer-Encoding" in step.headers
        length = {} if body is None or chunked else {"Content-Length": str(len(body))}
        return {"Accept": JSON, **identity, **kinds, **length, **step.headers}

    def _body(self, step: Ask) -> bytes | None:
        if step.document is None:
            return step.body
        return self._fill(json.dumps(step.document)).encode()

    def _fill(self, text: str) -> str:
        return PLACE.sub(lambda place: self._kept.get(place[1], place[0]), text)

    def _keep(self, step: Ask, data: bytes) -> None:
        for name, key in step.keep.items():
            self._kept[name] = str(json.loads(data)[key])

    def _hide(self, text: str) -> str:
        for secret, name in self._names.items():
            text = text.replace(secret, name)
        return MOMENT.sub(r'\1"SECONDS"', CHOSEN.sub("ID", DATE.sub("DATE", text)))


def differences(step: Ask, theirs: Reply, ours: Reply) -> dict[str, str]:
    """In which aspects the replies differ, each with what they said."""
    if "/schemas/" in step.path:
        theirs, ours = undescribed(theirs), undescribed(ours)
    found: dict[str, tuple[Any, Any]] = {}
    if theirs.status != ours.status:
        found["status"] = (theirs.status, ours.status)
    for name in COMPARED:
        if name == "content-type" and ours.status == 204:
            continue  # of nothing
        if (theirs.headers.get(name) or None) != (ours.headers.get(name) or None):
            found[name] = (theirs.headers.get(name), ours.headers.get(name))
    if theirs.message != ours.message:
        found["message"] = (theirs.message, ours.message)
    elif theirs.message is not None:
        pass
    elif plain(theirs.document) != plain(ours.document):
        places = list(unequal(plain(theirs.document), plain(ours.document), ""))
        found["body"] = (
            [f"{where}: {first!r}" for where, first, _ in places[:5]],
            [f"{where}: {second!r}" for where, _, second in places[:5]],
        )
    elif ordered(theirs.body) != ordered(ours.body):
        found["order"] = (theirs.body, ours.body)
    return {aspect: f"Glance {first!r}\n      ours   {second!r}" for aspect, (first, second) in found.items()}


def undescribed(reply: Reply) -> Reply:
    """A schema without descriptions, which are everybody's own."""
    return evolve(reply, body=json.dumps(_undescribed(reply.document), sort_keys=True))


def _undescribed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_undescribed(each) for each in schema]
    if isinstance(schema, dict):
        kept = {name: value for name, value in schema.items() if not (name == "description" and isinstance(value, str))}
        return {name: _undescribed(value) for name, value in kept.items()}
    return schema


def unequal(first: Any, second: Any, where: str) -> Iterator[tuple[str, Any, Any]]:
    """The places in two documents where they are not the same, with what is there."""
    if first == second:
        return
    if isinstance(first, dict) and isinstance(second, dict):
        for name in {**first, **second}:
            yield from unequal(first.get(name, "nothing"), second.get(name, "nothing"), f"{where}.{name}")
    elif isinstance(first, list) and isinstance(second, list):
        if len(first) == len(second) and ids(first) == ids(second):
            for number, pair in enumerate(zip(first, second, strict=True)):
                yield from unequal(*pair, f"{where}[{number}]")
        else:
            yield where, ids(first), ids(second)
    else:
        yield where, first, second


def ids(documents: list[Any]) -> list[Any]:
    """What they are called, if they are called anything."""
    return [each.get("id", each.get("name", each)) if isinstance(each, dict) else each for each in documents]


def plain(document: Any) -> Any:
    """Without what has no order: the tags of an image."""
    if isinstance(document, list):
        return [plain(each) for each in document]
    if isinstance(document, dict):
        return {
            name: sorted(value) if name == "tags" and is_texts(value) else plain(value)
            for name, value in document.items()
        }
    return document


def is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def ordered(body: str) -> Any:
    """As `plain`, with the order in which members of objects stand."""
    try:
        document = json.loads(body, object_pairs_hook=lambda pairs: [list(pair) for pair in pairs])
    except ValueError:
        return body
    return [_sorted_tags(each) for each in document] if isinstance(document, list) else document


def _sorted_tags(pair: Any) -> Any:
    if isinstance(pair, list) and len(pair) == 2 and pair[0] == "tags" and is_texts(pair[1]):
        return ["tags", sorted(pair[1])]
    return [_sorted_tags(each) for each in pair] if isinstance(pair, list) else pair


def report(script: Sequence[Ask], theirs: Sequence[Reply], ours: Sequence[Reply]) -> list[str]:
    """What differs and is not meant to, and what is meant to and does not."""
    lines = []
    for number, (step, first, second) in enumerate(zip(script, theirs, ours, strict=True)):
        found = differences(step, first, second)
        lines += [
            f"{number} {step.name}\n   {aspect}: {text}" for aspect, text in found.items() if aspect not in step.differs
        ]
        lines += [
            f"{number} {step.name}\n   {aspect} is meant to differ ({why}), and does not"
            for aspect, why in step.differs.items()
            if aspect not in found
        ]
    return lines
