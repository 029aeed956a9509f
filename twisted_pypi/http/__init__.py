"""HTTP semantics as pure functions: no IO, no clock, no Twisted."""
