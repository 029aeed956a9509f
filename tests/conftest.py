"""What all tests share: how hard the property tests try.

`pytest --hypothesis-profile thorough tests/unit` runs a hundred times as many examples, the state machine's among them.
"""

from hypothesis import settings

settings.register_profile("thorough", max_examples=10_000, deadline=None)
