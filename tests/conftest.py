"""What all tests share: how hard the property tests try.

`pytest --hypothesis-profile thorough tests/unit` runs a hundred times as many examples, the state machine's among them.
"""

from hypothesis import HealthCheck, settings

# How long an example takes tells how busy the machine is, and nothing else.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", settings.get_profile("patient"), max_examples=10_000)
settings.load_profile("patient")
