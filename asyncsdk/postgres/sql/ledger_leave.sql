-- A process is over: the next run need not wait for its lease.
-- Law: what it has not given back is lapsed only when its lease is.
update asyncsdk.ledger_worker set is_over = true where holder = $1
