"""Functions that rules may call. Their annotations are the types the rules are checked against."""

LIMITS = {"CH": 1200.0, "DE": 1000.0}


def limit_of(country: str) -> float:
    """How much one card may spend in ten minutes before a person looks at it."""
    return LIMITS.get(country, 800.0)
