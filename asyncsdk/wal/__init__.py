"""A durable append-only log: what the upload journal and the edit ledger are both built on."""
