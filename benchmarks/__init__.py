"""How fast the sidecar is, beside what people would use in its place: `python -m benchmarks`."""
