"""Work on an image's data that must be finished or undone if its process dies."""

from __future__ import annotations

from typing import Final

from attrs import frozen

UPLOAD: Final = "upload"
DELETE: Final = "delete"
REPAIR: Final = "repair"
STAGE: Final = "stage"
IMPORT: Final = "import"
DISCARD: Final = "discard"
SCRUB: Final = "scrub"
LOCATION: Final = "location"
STRAY: Final = "stray"


@frozen(kw_only=True)
class Claim:
    """A note in the database, written before bytes move: *process* is doing *kind* to *image_id* in *store*.

    While a claim exists and its process lives, nobody else touches the image's data. If the process is dead, a reaper
    makes the claim its own, and undoes an upload, a staging or a repair, finishes a delete or a scrubbing, goes on with
    an import or with the addition of a location, discards what an import could not, and lets the removal of a stray
    begin again. *id*
    (32 hex digits) also names the attempt's temporary data in the store. *store* is the store's identifier; an import
    may have several, and names none; nor does the addition of a location.

    *reserved* bytes count as used by the project *owner* as long as the claim exists. If nobody knows yet how many
    it will need, *turn* tells which of the owner's claims began earlier.
    """

    id: str
    kind: str
    image_id: str
    store: str
    process: str
    owner: str | None = None
    reserved: int = 0
    turn: int | None = None
