"""The page for people at /_sidecar/: what the sidecar does, for whom, and how it fares."""
