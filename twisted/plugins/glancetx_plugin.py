"""Lets ``twistd`` find ``glancetx``. There is no __init__.py here: Twisted's plugins live in a shared folder."""

from twisted.application.service import ServiceMaker

glancetx = ServiceMaker("glancetx", "glancetx.tap", "An image service for clouds: OpenStack Images API v2", "glancetx")
