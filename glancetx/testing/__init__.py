"""The public test kit: real rooms made small, and fakes that pass the same tests as the real thing."""
