-- Stop all copies of the run: they claim nothing more.
-- Law: what is under way comes to its end.
update asyncsdk.ledger set is_stopping = true where run = $1
