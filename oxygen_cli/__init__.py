"""The `oxygen` command: what the JSON API offers, from a terminal, a script or a pipe.

It speaks HTTP and imports nothing of the server. Data goes to standard output, everything else to standard error.
"""

VERSION = "0.1.0"
