# the auditwell command
