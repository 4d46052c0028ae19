"""What a service needs that nobody configured: a certificate, an administrator, and a file that tells clients of both.

Plain blocking code without Twisted, run before the reactor is.
"""
