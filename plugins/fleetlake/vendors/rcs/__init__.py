"""Remoto Cloud Services, Third-Party API: mutual TLS, versions, revisions, health reports."""
