"""The released glance_store, asked to add, get or delete one image; runs in the environment of the real Glance.

``python other_side.py CONFIG add SCHEME IMAGE_ID FILE SIZE`` prints the location; ``... get URL FILE`` writes what is
there into the file; ``... delete URL``; ``... share URL PROJECT...``, where no project at all means everybody. CALLER
in the environment is JSON: the attributes of the context of who asks.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from types import SimpleNamespace
from typing import Any

warnings.simplefilter("ignore")
sys.path.append("/usr/lib/python3/dist-packages")  # Ceph's modules are Debian's


def main(config: str, action: str, *arguments: str) -> None:
    import glance_store
    from oslo_config import cfg

    conf = cfg.CONF  # it reads locations by this one, whatever it is given
    glance_store.register_opts(conf)
    conf([f"--config-file={config}"], project="glance")
    glance_store.create_stores(conf)
    began = time.monotonic()
    answer: Any = None
    caller = json.loads(os.environ.get("CALLER", "null"))
    context = SimpleNamespace(**caller) if caller else None
    if action == "add":
        scheme, image_id, path, size = arguments
        with open(path, "rb") as data:
            answer = glance_store.add_to_backend_with_multihash(
                conf, image_id, data, int(size), "sha512", scheme, context
            )[0]
    elif action == "get":
        url, path = arguments
        chunks, _ = glance_store.get_from_backend(url, context=context)
        with open(path, "wb") as out:
            for chunk in chunks:
                out.write(chunk)
    elif action == "share":
        glance_store.set_acls(arguments[0], public=not arguments[1:], read_tenants=list(arguments[1:]), context=context)
    else:
        glance_store.delete_from_backend(arguments[0], context=context)
    print(time.monotonic() - began, answer or "")


if __name__ == "__main__":
    main(*sys.argv[1:])
