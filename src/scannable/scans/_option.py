"""Options with a closed set of values."""


def check_option(name: str, value: object, allowed: tuple[object, ...]) -> None:
    """Refuse an option that is not among those there are.

    Raises:
        ValueError: If so.
    """
    if value not in allowed:
        raise ValueError(f"{name} must be one of {list(allowed)}, got {value!r}; choose one of these.")
