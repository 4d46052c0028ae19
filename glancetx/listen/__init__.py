"""Where connections come in: addresses, sockets, TLS, accepting, a gentle end. Knows nothing of HTTP routes.

A process serves with `Serving`; `Ports` binds the sockets, here or for worker processes; `adopted` takes over sockets
which a parent process has bound.
"""

from glancetx.listen.addresses import Address, Ports, adopted, parse
from glancetx.listen.certificates import Certificates
from glancetx.listen.serving import Listener, Serving
from glancetx.listen.turns import Turns, shared_counts

__all__ = ["Address", "Certificates", "Listener", "Ports", "Serving", "Turns", "adopted", "parse", "shared_counts"]
