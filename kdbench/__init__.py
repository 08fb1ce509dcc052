"""kdbench: benchmarks of distilled models as the programs that ship."""

__version__ = "0.1.0"
