"""Instructions in: file formats, prompt templates, worked examples, and the built-in tasks that a program can check."""

from tunalm.data.demonstrations import with_demonstrations
from tunalm.data.sources import imitated, load, require_references

__all__ = ["imitated", "load", "require_references", "with_demonstrations"]
