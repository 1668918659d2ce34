-- All open claims of holders whose leases have lapsed, or that are among those in $1, which are known to be gone, come to
-- their end: one that was started is uncertain, and of another nothing was sent. $2: the holder that asks, $3: its run,
-- $4: the new try of those.
-- Law: as for `edit_abandon` and `edit_lapse`.
with seen as materialized (
    select e.key, e.epoch, e.try
    from asyncsdk.edit e left join asyncsdk.holder h on h.id = e.holder and h.until > clock_timestamp()
    where e.phase is not null
      and (h.id is null or e.holder in (select g::uuid from json_array_elements_text($1::json) as g))
), gone as materialized (
    select e.key, e.phase, e.asks from seen join asyncsdk.edit e on e.key = seen.key
    where e.phase is not null and e.epoch = seen.epoch and e.try = seen.try
    order by e.key
    for update of e skip locked
), freed as (
    update asyncsdk.edit e set phase = null, try = $4, new_generation = null, new_tried = null, asks = false
    from gone where e.key = gone.key and gone.phase = 'claimed'
    returning e.new_cost, gone.asks
), lapsed as (
    update asyncsdk.edit e
    set status = 'uncertain', phase = null, at = clock_timestamp(), run = null, digest = new_digest, source = new_source,
        n = coalesce(new_n, 1), files = null, usage = null, problem = null, images = null, request_id = null,
        cost = new_cost, generation = coalesce(new_generation, generation), tried = new_tried,
        new_generation = null, new_tried = null, asks = false
    from gone where e.key = gone.key and gone.phase = 'started'
    returning e.key
)
insert into asyncsdk.ledger_worker as w (holder, run, edits, cost, writes)
select $2, $3, -count(*), -coalesce(sum(new_cost), 0), 1 from freed where not asks
on conflict (holder) do update set edits = w.edits + excluded.edits, cost = w.cost + excluded.cost, writes = w.writes + 1
returning w.edits
