"""How image data flows: sources, a tap with observers, and what blocking writers need. No store and no HTTP here."""

from glancetx.streams.held_back import HeldBack
from glancetx.streams.interfaces import IFileSource, IObserver
from glancetx.streams.observers import Digest, Inspection, SizeLimit
from glancetx.streams.sinks import Discard, Intake, gather
from glancetx.streams.sources import BytesSource, FileSource
from glancetx.streams.tap import Tap
from glancetx.streams.tee import Tee
from glancetx.streams.throttle import Throttle

__all__ = [
    "BytesSource",
    "Digest",
    "Discard",
    "FileSource",
    "HeldBack",
    "IFileSource",
    "IObserver",
    "Inspection",
    "Intake",
    "SizeLimit",
    "Tap",
    "Tee",
    "Throttle",
    "gather",
]
