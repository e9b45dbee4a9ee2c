"""What a ranking goes by: ties, length, place in the prompt, models; and how far other raters agree with it.

ranked lists --> ties, lengths, positions, preferences ----------------> audit.json --> sections --> table, page
other raters (files, tables of people) --> matching --> agreement --'
"""

from tunalm.auditing.audit import audit, audit_files
from tunalm.auditing.matching import read_lists
from tunalm.auditing.outputs import audit_table, write_audit

__all__ = ["audit", "audit_files", "audit_table", "read_lists", "write_audit"]
