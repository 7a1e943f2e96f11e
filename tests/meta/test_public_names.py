"""What a package exports is what its ``__all__`` says, sorted."""

import importlib
import types

import pytest

PACKAGES = ["scannable", "scannable.scans", "scannable.testing"]


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_are_what_is_importable(package):
    module = importlib.import_module(package)
    names = list(module.__all__)
    assert names == sorted(set(names))
    for name in names:
        getattr(module, name)
    public = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert public <= set(names)


def test_the_root_exports_the_design():
    import scannable

    assert {"Aggregator", "Counter", "scan", "testing"} <= set(scannable.__all__)
