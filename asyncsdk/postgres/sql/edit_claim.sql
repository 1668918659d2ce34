-- Claim the edits in $2 for the holder $1: those that are as they were seen. $3: holders whose process is known to be
-- gone, as JSON; $4: whether a claim may be taken whose lease lapsed; $5 and $6: the most edits and tokens, or null;
-- $7: for how many seconds an uncertain edit is left alone; $8: the options of this process; $9: the most that all may
-- cost, or null, and $10: what a token whose price was not known counts with; $11: for how many seconds after its key was
-- sent first an uncertain edit may be claimed to ask for its answer (`again`).
-- Law: only what nobody works at, or a claim that lapsed before it was started; a new claim raises the epoch. In key
-- order, since two that lock in another order wait for each other. A locked row is in use and is passed over: whoever
-- waited for it would judge the lease by what was known before. Under a limit it runs under the ledger's lock, in a
-- statement of its own: then the sums are those that all claims before it have left. A process that was away while others
-- began a run with other options claims nothing more.
with given as materialized (
    select * from json_to_recordset($2::json) as g(key text, id text, epoch bigint, last uuid, new uuid, cost bigint, again boolean)
), place as materialized (
    select l.run, l.is_stopping, l.options <> $8 as is_anothers, l.is_rewound or l.system_id <> c.system_identifier::text
           or l.timeline <> left(pg_walfile_name(pg_current_wal_lsn()), 8) as is_rewound
    from asyncsdk.ledger l, pg_control_system() c
    limit 1  -- it is one; a planner that does not know compiles the statement for a second
), used as materialized (
    select coalesce(sum(edits), 0)::bigint as edits, coalesce(sum(tokens), 0)::bigint as tokens,
           coalesce(sum(cost), 0)::bigint as cost, coalesce(sum(unpriced), 0)::bigint as unpriced from asyncsdk.ledger_worker
), seen as materialized (
    select e.key, e.status, e.phase, e.epoch, e.try, e.started, e.holder, e.asks,
           case when e.phase is null or e.asks then 0 else 1 end as counted,
           case when e.phase is null or e.asks then 0 else coalesce(e.new_cost, 0) end as costed,
           e.status = 'uncertain' and coalesce(e.tried between clock_timestamp() - $11 * interval '1 second'
                                                           and clock_timestamp(), false) as is_known,
           coalesce(g.again, false) as again, g.id, g.new, g.last, g.cost, g.epoch as seen_epoch,
           coalesce(h.until > clock_timestamp(), false) as is_alive
    from given g join asyncsdk.edit e on e.key = g.key left join asyncsdk.holder h on h.id = e.holder
    order by e.key
    for update of e skip locked
), free as materialized (
    select key, id, new, case when again then 0 else 1 end - counted as counts, false as is_new, again, cost,
           case when again then 0 else coalesce(cost, 0) end - costed as costs from seen
    where try <> new and epoch = seen_epoch and try = last
      and case when phase is null then true
               when phase = 'claimed' then ($4 and not is_alive)
                                           or holder in (select h::uuid from json_array_elements_text($3::json) as h)
               else false end
      and case when again then is_known
               else status is distinct from 'uncertain' or (phase is not null and not asks) or started is null
                    or started <= clock_timestamp() - $7 * interval '1 second' end
    union all
    select key, id, new, 1, true, false, cost, coalesce(cost, 0) from given g
    where epoch = 0 and not coalesce(g.again, false) and not exists (select from asyncsdk.edit e where e.key = g.key)
), chosen as materialized (
    select free.key, free.id, free.new, free.counts, free.is_new, free.again, free.cost, free.costs
    from (select *, sum(counts) over (order by key) as number, sum(costs) over (order by key) as amount from free) free,
         used, place
    where not place.is_stopping and not place.is_anothers and not place.is_rewound
      and (free.counts <= 0 or (($5::bigint is null or used.edits + free.number <= $5)
                               and ($6::bigint is null or used.tokens < $6)
                               and ($9::bigint is null or used.cost + used.unpriced * $10 + free.amount <= $9)))
), taken as (
    update asyncsdk.edit e
    set phase = 'claimed', epoch = e.epoch + 1, holder = $1, try = chosen.new,
        new_digest = null, new_source = null, new_n = null, asks = chosen.again,
        new_cost = case when chosen.again then e.cost else chosen.cost end,
        new_generation = case when chosen.again then e.generation end,
        new_tried = case when chosen.again then e.tried end
    from chosen where e.key = chosen.key and not chosen.is_new
    returning e.key, e.epoch, chosen.counts, chosen.costs
), made as (
    insert into asyncsdk.edit (key, id, phase, epoch, holder, try, new_cost)
    select key, id, 'claimed', 1, $1, new, cost from chosen where is_new order by key
    on conflict (key) do nothing
    returning key, epoch, 1 as counts, coalesce(new_cost, 0) as costs
), granted as (
    select key, epoch, counts, costs from taken union all select key, epoch, counts, costs from made
), counted as (
    insert into asyncsdk.ledger_worker as w (holder, run, edits, cost, writes)
    select $1, place.run, (select coalesce(sum(counts), 0) from granted), (select coalesce(sum(costs), 0) from granted), 1
    from place
    on conflict (holder) do update set edits = w.edits + excluded.edits, cost = w.cost + excluded.cost, writes = w.writes + 1
    returning w.writes
), ours as (
    select key, epoch from granted
    union all select key, epoch from seen where try = new and phase = 'claimed'
)
select ours.key, ours.epoch, counted.writes, place.is_stopping, place.is_anothers, place.is_rewound, used.edits, used.tokens,
       used.cost, used.unpriced,
       (select count(*) from free) > (select count(*) from chosen) as is_held_back
from place cross join used cross join counted left join ours on true
