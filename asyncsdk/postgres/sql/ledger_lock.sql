-- What must be one after the other: to begin a run, and to claim under a limit.
-- Law: the lock belongs to the transaction, since a pooler lends a session for no longer than that.
select pg_advisory_xact_lock(4707200619350119)
