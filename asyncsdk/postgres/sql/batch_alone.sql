-- Whether no other process than the holder $1 works with the ledger.
-- Law: it takes no lock: what comes after it reads facts that were written before.
select not exists (
    select from asyncsdk.ledger_worker w join asyncsdk.holder h on h.id = w.holder
    where not w.is_over and h.until > clock_timestamp() and w.holder <> $1
) as is_alone
