"""Every way the registry refuses: one base, one leaf per cause."""

from __future__ import annotations


class RegistryError(Exception):
    """Base of the registry's errors; the message says what, where, expected and found."""


class RegistryUnavailableError(RegistryError):
    """A folder or file that cannot be read: says nothing about its content."""
