"""Evaluation against plain ways to do the same."""
