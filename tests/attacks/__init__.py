"""Requests as bytes that must not get through, or only in one way.  See ../test_attacks.py."""
