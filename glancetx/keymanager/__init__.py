"""Where the certificates are with which images are signed: Barbican, or a folder of this host."""
