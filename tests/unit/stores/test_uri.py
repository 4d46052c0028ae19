"""Location URIs (S-020, S-045, S-060, S-070, S-100)."""

from __future__ import annotations

from pathlib import Path

import pytest

from glancetx.domain.errors import DataNotFound, UnknownStore
from glancetx.stores.uri import (
    DatastorePlace,
    RbdPlace,
    datastore_place,
    datastore_url,
    file_path,
    file_url,
    object_place,
    rbd_place,
    rbd_prefix,
    rbd_url,
    s3_url,
    scheme_of,
)


@pytest.mark.parametrize(
    ("url", "scheme"),
    [
        ("file:///a/b", "file"),
        ("filesystem:///a", "file"),
        ("rbd://x/y", "rbd"),
        ("swift+https://u:k@h/c/o", "swift"),
    ],
)
def test_scheme(url: str, scheme: str) -> None:
    """The scheme names the store; `filesystem` is `file`."""
    assert scheme_of(url) == scheme


@pytest.mark.parametrize("url", ["", "/a/b", "file:/a", "://x"])
def test_no_scheme(url: str) -> None:
    """What has no scheme is read by no store."""
    with pytest.raises(UnknownStore):
        scheme_of(url)


def test_file_url() -> None:
    """A path stands in the URL as it is."""
    assert file_url(Path("/images/a b%20ü")) == "file:///images/a b%20ü"


@pytest.mark.parametrize("url", ["file:///images/a b%20ü", "filesystem:///images/a b%20ü"])
def test_file_path(url: str) -> None:
    """And comes back as it was."""
    assert file_path(url) == Path("/images/a b%20ü")


@pytest.mark.parametrize(
    "url", ["file://host/a", "file:///a/../b", "file:///..", "file://", "file:///a\0b", "http:///a", "/a", ""]
)
def test_not_a_file(url: str) -> None:
    """Other schemes, relative paths and paths that climb are nothing where data could be."""
    with pytest.raises(DataNotFound):
        file_path(url)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("s3.example.com", "s3://s3.example.com/b/k"),
        ("http://s3.example.com:8080/", "s3://s3.example.com:8080/b/k"),
        ("https://s3.example.com/path", "s3+https://s3.example.com/path/b/k"),
    ],
)
def test_s3(host: str, url: str) -> None:
    """Locations of S3 name the endpoint, its scheme in their own."""
    assert s3_url(host, "b", "k") == url
    place = object_place(url)
    assert (place.container, place.key) == ("b", "k")
    assert url.endswith(f"://{place.service}/b/k")


def test_old_credentials() -> None:
    """What old versions wrote is read, and what is secret in it is never shown."""
    place = object_place("s3://key:secret/with@s3.example.com/b/k")
    assert (place.container, place.key) == ("b", "k")
    place = object_place("swift+https://acc%3Auser:pa%40ss@auth.example.com/v3/glance/some-id")
    assert (place.service, place.credentials) == ("auth.example.com/v3", "acc%3Auser:pa%40ss")
    assert "pa%40ss" not in repr(place)


@pytest.mark.parametrize("url", ["s3://host", "s3://host/b", "s3://host/b/", "s3://https://host/b/k", "nothing"])
def test_no_objects(url: str) -> None:
    """What is not a location of an object has no data."""
    with pytest.raises(DataNotFound):
        object_place(url)


def test_rbd() -> None:
    """Each part is quoted, and comes back as it was."""
    url = rbd_url("f-1", "a pool/1", "some-id", "snap")
    assert url == "rbd://f-1/a%20pool%2F1/some-id/snap"
    assert rbd_place(url) == RbdPlace("some-id", "a pool/1", "snap")
    assert url.startswith(rbd_prefix("f-1", "a pool/1"))
    assert rbd_prefix("", "images") == "rbd://"


def test_old_rbd() -> None:
    """The location of an image in the configured pool, without a snapshot."""
    assert rbd_place("rbd://some-id") == RbdPlace("some-id")


@pytest.mark.parametrize(
    "url", ["rbd://", "rbd://f/p", "rbd://f/p/i", "rbd://f/p/i/s/x", "rbd://f//i/s", "rbd://f/p/i/", "file://i", "i"]
)
def test_no_rbd(url: str) -> None:
    """Other numbers of parts, or empty ones, are nothing where data could be."""
    with pytest.raises(DataNotFound):
        rbd_place(url)


def test_datastores() -> None:
    """Locations of VMware: as Glance writes them, and where that is on the server."""
    place = DatastorePlace("Site/DC 0", "fast store", "my images/some-id")
    url = "vsphere://vcenter:8443/folder/my images/some-id?dsName=fast+store&dcPath=Site%2FDC+0"
    assert datastore_url("vcenter:8443", place) == url
    assert datastore_place(url) == place
    assert place.name == "[fast store] my images/some-id"
    assert place.target == "/folder/my%20images/some-id?dsName=fast+store&dcPath=Site%2FDC+0"
    assert datastore_place("vsphere://h/folder/i?dsName=d") == DatastorePlace(None, "d", "i")


@pytest.mark.parametrize(
    "url",
    [
        *("vsphere://h", "vsphere://h/folder/i", "vsphere://h/folder/?dsName=d", "vsphere://h/other/i?dsName=d"),
        *("vsphere://h/folder/../i?dsName=d", "https://h/folder/i?dsName=d"),
    ],
)
def test_no_datastores(url: str) -> None:
    """What is not a location of a file in a datastore has no data."""
    with pytest.raises(DataNotFound):
        datastore_place(url)
