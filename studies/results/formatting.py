"""How a value is written wherever a person reads it: terminal, note and report."""


def number(value: object) -> str:
    """Return a value as a person would write it: four significant digits of a float, and a dash for None."""
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
