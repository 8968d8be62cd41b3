"""What single commands do: init, request, demo, and the import of a sample client."""
