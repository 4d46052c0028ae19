"""Imports: accepting them, running them, going on with those whose process died (processes.md, sections 1 to 4)."""
