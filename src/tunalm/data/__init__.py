"""Instructions in: file formats, prompt templates, worked examples, and the built-in tasks that a program can check."""

from tunalm.data.demonstrations import with_demonstrations
from tunalm.data.sources import data_identity, imitated, load, require_references

__all__ = ["data_identity", "imitated", "load", "require_references", "with_demonstrations"]
