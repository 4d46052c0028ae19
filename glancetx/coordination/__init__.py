"""Leases that are kept elsewhere than in the database."""
