-- One process makes the schema; those that start with it wait until it is made, then see that it is.
-- Law: the lock belongs to the transaction, since a pooler lends a session for no longer than that.
select pg_advisory_xact_lock(4707200619350118)
