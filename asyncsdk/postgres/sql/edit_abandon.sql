-- Claims of which nothing was sent and whose holder's lease has lapsed: the edits are as before, and count no more. $1:
-- the holder that asks, $2: its run, $3: the new try.
-- Law: a claim that was changed since it was seen is another's, whose lease this statement may not see; a locked one is in
-- use. The new try keeps a holder that comes back from its start. In key order.
with seen as materialized (
    select e.key, e.epoch, e.try
    from asyncsdk.edit e left join asyncsdk.holder h on h.id = e.holder and h.until > clock_timestamp()
    where e.phase = 'claimed' and h.id is null
), gone as materialized (
    select e.key, e.asks from seen join asyncsdk.edit e on e.key = seen.key
    where e.phase = 'claimed' and e.epoch = seen.epoch and e.try = seen.try
    order by e.key
    for update of e skip locked
), freed as (
    update asyncsdk.edit e set phase = null, try = $3, new_generation = null, new_tried = null, asks = false
    from gone where e.key = gone.key
    returning e.key, e.new_cost, gone.asks
)
insert into asyncsdk.ledger_worker as w (holder, run, edits, cost, writes)
select $1, $2, -count(*), -coalesce(sum(new_cost), 0), 1 from freed where not asks
on conflict (holder) do update set edits = w.edits + excluded.edits, cost = w.cost + excluded.cost, writes = w.writes + 1
returning w.edits
