-- What the processes that are over have counted becomes one row: each claim adds up all rows.
-- Law: under the ledger's lock, so that no claim under a limit sees half of it. A process that is over writes nothing more;
-- one that was killed keeps its row, for it may be asleep.
with gone as (
    delete from asyncsdk.ledger_worker where is_over and holder <> '00000000-0000-0000-0000-000000000000'
    returning edits, tokens, cost, unpriced
)
insert into asyncsdk.ledger_worker as w (holder, run, is_over, edits, tokens, cost, unpriced)
select '00000000-0000-0000-0000-000000000000', 0, true, sum(edits), sum(tokens), sum(cost), sum(unpriced) from gone having count(*) > 0
on conflict (holder) do update set edits = w.edits + excluded.edits, tokens = w.tokens + excluded.tokens,
    cost = w.cost + excluded.cost, unpriced = w.unpriced + excluded.unpriced
