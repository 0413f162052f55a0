"""Measuring scripts. No part of the package and of its tests: run them by hand (see README.md)."""
