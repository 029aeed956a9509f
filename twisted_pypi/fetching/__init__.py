"""Talking to upstreams: one shared fetch, bounded, timed, and checked."""
