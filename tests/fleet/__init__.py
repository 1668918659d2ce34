"""Many processes over one ledger of edits: what must hold whatever they and the database go through."""
