-- The process $1 claims nothing more: which other ones are alive that may.
-- Law: of those that end at once, the one whose update is the last sees that the others are over.
with mine as (
    update asyncsdk.ledger_worker set is_over = true where holder = $1
)
select h.id, h.pid, h.machine from asyncsdk.ledger_worker w join asyncsdk.holder h on h.id = w.holder
where not w.is_over and h.until > clock_timestamp() and w.holder <> $1
