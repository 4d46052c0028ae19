"""Telling others what happened to images: what is told, and the ways that need no other program."""
