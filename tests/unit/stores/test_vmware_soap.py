"""Messages of vSphere's API."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from glancetx.stores.vmware_soap import EXPIRED, ROOT, Fault, NotSoap, Ref, answer, reference, request
from glancetx.stores.xml import parse

ENVELOPE = (
    '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>{}</soapenv:Body></soapenv:Envelope>'
)


def test_request() -> None:
    """Values of all kinds, in their order; what is None is left out, what is special in XML is quoted."""
    found = parse(
        request(
            "Do", Ref("Task", "t<1>"), {"name": 'a & "b"', "force": False, "no": None, "x": [{"y": 1}, {"y": ROOT}]}
        )
    )
    call = found[0][0]
    assert [each.tag for each in call] == ["_this", "name", "force", "x", "x"]
    assert (call[0].get("type"), call[0].text) == ("Task", "t<1>")
    assert [each.text for each in call[1:3]] == ['a & "b"', "false"]
    assert [call[3][0].text, reference(call[4][0])] == ["1", ROOT]


def test_answer() -> None:
    """What a method returned."""
    text = '<DoResponse xmlns="urn:vim25"><returnval type="Task">task-7</returnval></DoResponse>'
    assert reference(answer(ENVELOPE.format(text).encode()).find("returnval")) == Ref("Task", "task-7")


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (
            "<soapenv:Fault><faultcode>x</faultcode><faultstring>no</faultstring><detail>"
            '<InvalidLoginFault xmlns="urn:vim25" xsi:type="InvalidLogin"/></detail></soapenv:Fault>',
            "InvalidLogin",
        ),
        ("<soapenv:Fault><detail><FileNotFoundFault/></detail></soapenv:Fault>", "FileNotFound"),
        ("<soapenv:Fault><faultstring>what?</faultstring></soapenv:Fault>", "UnknownFault"),
        (
            "<R><returnval><missingSet><path>info</path><fault>"
            f'<fault xsi:type="vim:{EXPIRED}"/></fault></missingSet></returnval></R>',
            EXPIRED,
        ),
    ],
)
def test_faults(body: str, name: str) -> None:
    """The reason has vSphere's name, wherever it stands."""
    with pytest.raises(Fault) as caught:
        answer(ENVELOPE.format(body).encode())
    assert caught.value.name == name


@pytest.mark.parametrize("content", [b"", b"<html>", b"<Envelope/>", ENVELOPE.format("").encode()])
def test_no_answers(content: bytes) -> None:
    """What is not of the API is told from what is."""
    with pytest.raises(NotSoap):
        answer(content)


def test_dangerous_documents() -> None:
    """Declarations, by which a document could grow or fetch, are not read."""
    bomb = b'<!DOCTYPE a [<!ENTITY b "bbbb">]><a>&b;</a>'
    with pytest.raises(ElementTree.ParseError):
        parse(bomb)
    with pytest.raises(ElementTree.ParseError):
        parse(bomb.decode().encode("utf-16"))
