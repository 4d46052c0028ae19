"""The messages of vSphere's API, as far as a store needs them: SOAP envelopes, references to objects, faults."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

from attrs import frozen

from glancetx.stores.xml import parse

NAMESPACE: Final = "urn:vim25"
ACTION: Final = f"{NAMESPACE}/6.0"  # the version of the API that is spoken; newer servers know older ones
EXPIRED: Final = "NotAuthenticated"  # what a session that is not known is told
HEADERS: Final[Mapping[str, str]] = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": f'"{ACTION}"'}
_HEAD: Final = (
    '<?xml version="1.0" encoding="UTF-8"?><Envelope xmlns="http://schemas.xmlsoap.org/soap/envelope/" '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:xsd="http://www.w3.org/2001/XMLSchema"><Body>'
)


class NotSoap(Exception):
    """The answer is none that the API would give."""


class Fault(Exception):
    """The API says no. *name* is vSphere's name of the reason, such as ``FileNotFound``."""

    def __init__(self, name: str, message: str = "") -> None:
        super().__init__(f"{name}: {message}" if message else name)
        self.name = name


@frozen
class Ref:
    """A managed object on the server."""

    kind: str
    id: str


ROOT: Final = Ref("ServiceInstance", "ServiceInstance")

Value = str | int | bool | Ref | Mapping[str, "Value | list[Value]"]


def request(method: str, this: Ref, arguments: Mapping[str, Value | list[Value] | None]) -> bytes:
    """A call of *method* of the object *this*. The order of the arguments is that of vSphere's schema."""
    inner = element("_this", this) + elements(arguments)
    return f'{_HEAD}<{method} xmlns="{NAMESPACE}">{inner}</{method}></Body></Envelope>'.encode()


def elements(values: Mapping[str, Value | list[Value] | None]) -> str:
    """Each value as an element; of a list each item; None is left out."""
    found = []
    for name, value in values.items():
        if value is not None:
            found += [element(name, each) for each in (value if isinstance(value, list) else [value])]
    return "".join(found)


def element(name: str, value: Value) -> str:
    if isinstance(value, Ref):
        return f"<{name} type={quoteattr(value.kind)}>{escape(value.id)}</{name}>"
    if isinstance(value, Mapping):
        return f"<{name}>{elements(value)}</{name}>"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"<{name}>{escape(text)}</{name}>"


def answer(content: bytes) -> ElementTree.Element:
    """What a call returned: the element ``...Response``.

    :raises Fault: if the server refuses; also if it does so by leaving out properties, for want of a session.
    :raises NotSoap: if that is no answer of the API.
    """
    try:
        body = parse(content).find("Body")
    except ElementTree.ParseError as error:
        raise NotSoap("an answer that is not XML") from error
    if body is None or len(body) != 1:
        raise NotSoap("an answer without a body")
    if body[0].tag == "Fault":
        raise fault_of(body[0])
    for each in body[0].iterfind("returnval/missingSet/fault/fault"):
        if kind_of(each) == EXPIRED:
            raise Fault(EXPIRED)
    return body[0]


def fault_of(found: ElementTree.Element) -> Fault:
    """The fault of a call (its ``detail`` has the reason) or, with ``fault`` in it, of a task."""
    detail = found.find("detail")
    reasons = [found.find("fault")] if detail is None else list(detail)[:1]
    name = "".join(kind_of(each) for each in reasons if each is not None)
    message = found.findtext("faultstring") or found.findtext("localizedMessage") or ""
    return Fault(name or "UnknownFault", message.strip())


def kind_of(found: ElementTree.Element) -> str:
    """The type that an element says it has; else what its name tells."""
    said = found.get("type", "").rpartition(":")[2]
    return said or found.tag.removesuffix("Fault")


def reference(found: ElementTree.Element | None) -> Ref | None:
    """The reference that an element holds."""
    if found is None or not found.text:
        return None
    return Ref(found.get("type", ""), found.text)


def references(found: Iterable[ElementTree.Element]) -> list[Ref]:
    return [ref for ref in map(reference, found) if ref is not None]
