"""One async method for each operation of the API that works on records; no HTTP and no bytes."""
