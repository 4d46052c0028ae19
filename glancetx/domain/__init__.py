"""What an image service talks about: plain frozen values and pure functions; no framework and no I/O."""
