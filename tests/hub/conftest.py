"""Fixtures of the Hub tests."""

from loopback_hub import loopback_hub

__all__ = ["loopback_hub"]
