"""Rankings looked at: ties, length, place in the prompt, models, and agreement with the order of somebody else."""

from tunalm.auditing.audit import audit, audit_files
from tunalm.auditing.outputs import audit_table, write_audit

__all__ = ["audit", "audit_files", "audit_table", "write_audit"]
