"""Servers, and files, that answer many requests at a time, some time later."""
