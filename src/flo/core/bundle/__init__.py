"""Reading a bundle: bytes in, a `BundleDefinition` or every problem out. Pure: no file is touched here."""

from flo.core.bundle.reader import read_bundle, read_parts, revision_of
from flo.core.bundle.settings import EngineKind, Setting

__all__ = ["EngineKind", "Setting", "read_bundle", "read_parts", "revision_of"]
