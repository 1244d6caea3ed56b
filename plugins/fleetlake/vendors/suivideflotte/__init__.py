"""SuiviDeFlotte.net: keys of two kinds, lists page by page, and names that a mapping file per account gives."""
