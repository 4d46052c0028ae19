"""Background work: each an IService with `run_once()` and `status()`; they meet in the database, never in a call."""
