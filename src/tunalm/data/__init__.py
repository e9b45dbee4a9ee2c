"""Instructions and lists in: file formats, shapes of rows, prompt templates, and tasks that a program can check.

file, hub, checkable --> raw rows (files) --> shape of each row (rows, shapes, lists) --> Instruction, Ranking
Instruction --> worked examples (demonstrations) --> messages --> token ids (prompts)
Ranking --> pairs and lists of other trainers (exports) --> file (streaming)
"""

from tunalm.data.demonstrations import with_demonstrations
from tunalm.data.sources import imitated, load, require_references

__all__ = ["imitated", "load", "require_references", "with_demonstrations"]
