"""Requests that we send: whom TLS trusts, exchanges of small documents, and streams of any length."""
