-- What counts in the ledger that a process copies here, whose options are $1: $2 edits, $3 tokens,
-- $4 of cost, and $5 tokens without a price.
-- Law: under the ledger's lock, in a statement of its own.
with ours as (
    select from asyncsdk.ledger where options = $1
)
insert into asyncsdk.ledger_worker as w (holder, run, is_over, edits, tokens, cost, unpriced)
select '00000000-0000-0000-0000-000000000000', 0, true, $2::bigint, $3::bigint, $4::bigint, $5::bigint from ours
on conflict (holder) do update set (edits, tokens, cost, unpriced) =
    (excluded.edits, excluded.tokens, excluded.cost, excluded.unpriced)
returning w.edits
