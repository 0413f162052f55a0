"""Measured claims of speed: what is built in which way after which change, in which order, and what comes of it."""
