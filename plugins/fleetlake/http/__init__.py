"""Talking HTTP to a vendor: one session, one rate gate per account, revision paging, redaction of secrets."""
