"""Images from one image service to another, or to a folder and back: what `glancetx-replicator` does.

Both sides are clients' sides of the Images API v2; nothing here knows a database or a store.
"""
