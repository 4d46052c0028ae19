"""What disk image formats look like. No framework: bytes go in, facts come out."""
