"""WikiText-103 as it was published, through the ``datasets`` library, which is optional."""

from collections.abc import Iterator


def wikitext() -> Iterator[str]:
    """Give the training text of wikitext-103-raw-v1, then its validation text (Merity et al., arXiv 1609.07843).

    The library leaves blank rows empty; here they are a space and a line end again, as in the published files.

    Raises:
        ImportError: If ``datasets`` is not installed.
        ConnectionError: If the data is not on this machine and cannot be fetched.
    """
    try:
        from datasets import load_dataset  # pyrefly: ignore[missing-import]  (optional)
    except ImportError as error:
        raise ImportError(
            "WikiText-103 needs the datasets library, got none; pip install '.[data]' in a clone of scannable, or give "
            "a file or folder."
        ) from error
    for split in ("train", "validation"):
        try:
            rows = load_dataset("Salesforce/wikitext", "wikitext-103-raw-v1", split=split)["text"]
        except (OSError, ValueError, RuntimeError) as error:
            raise ConnectionError(
                f"WikiText-103 needs a network or a copy that datasets has kept, got {type(error).__name__}: {error}; "
                f"try again with a network, or give a file or folder."
            ) from error
        yield "".join(row or " \n" for row in rows)
