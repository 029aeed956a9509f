"""Whom an index's servers are to be, and as whom we come to them: a value, of which `tls` makes contexts."""

from __future__ import annotations

from attrs import frozen


@frozen
class TlsIdentity:
    """Paths of PEM files, absolute; "" is unset.

    `ca_file` holds the authorities that are trusted instead of the system's. `certificate` is ours, authorities between
    it and its root may follow it; its key is in `key`, or in the same file where that is "". `insecure`: anybody is
    believed.
    """

    ca_file: str = ""
    certificate: str = ""
    key: str = ""
    insecure: bool = False


COMMON = TlsIdentity()
"""That of an index that says nothing of it."""
