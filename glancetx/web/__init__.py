"""HTTP, and only here: read the request, call one operation, write the answer."""
