"""Commands for operators. Each is a thin layer over a room; nothing is decided here."""
