-- Put the edits in $4, which the holder $1 has claimed, into the batch $2, whose holder is $3: all of them, or none where
-- some are not as they were. $5: the facts to add, by the try $6; $7: the number of the last fact that was read.
-- Law: it is the start of each edit, by the rules of `images/ledger/rows.py`, and the batch holds them from then on.
-- Under the ledger's lock, as all facts. The lease of $1 is alive, judged after the rows are locked. In key order.
with given as materialized (
    select * from json_to_recordset($4::json) as g(key text, epoch bigint, was uuid, new uuid, digest text, source text, n integer)
), place as materialized (
    select l.is_rewound or l.timeline <> left(pg_walfile_name(pg_current_wal_lsn()), 8) as is_rewound
    from asyncsdk.ledger l
    limit 1  -- as for a claim
), mine as materialized (
    select g.*, e.try = g.new as was_made from given g join asyncsdk.edit e on e.key = g.key
    where e.epoch = g.epoch and ((e.try = g.was and e.phase = 'claimed') or (e.try = g.new and e.holder = $3))
    order by e.key
    for update of e
), verdict as materialized (
    select (select count(*) from mine) = (select count(*) from given) and not place.is_rewound
           and coalesce((select until from asyncsdk.holder where id = $1) > clock_timestamp(), false) as is_made
    from place
), number as materialized (
    select coalesce(max(coalesce(fact->>'number', fact->>'last')::integer), 0) + 1 as number
    from asyncsdk.batch_fact where fact->>'t' in ('creating', 'batches')
), held as (
    insert into asyncsdk.holder (id, pid, host, machine, until)
    select $3, 0, 'a batch', $2, 'infinity' from verdict where is_made
    on conflict (id) do nothing
), batch as (
    insert into asyncsdk.batch (key, id, number, holder)
    select $2, $3, number.number, $1 from verdict, number where is_made
    on conflict (key) do nothing
), changed as (
    update asyncsdk.edit e
    set phase = 'started', holder = $3, try = m.new, started = clock_timestamp(),
        new_digest = m.digest, new_source = m.source, new_n = m.n,
        new_generation = e.generation + 1, new_tried = null
    from mine m, verdict where e.key = m.key and verdict.is_made and not m.was_made
), made as (
    insert into asyncsdk.batch_fact (try, part, fact)
    select $6, g.part, case when g.fact->>'t' = 'creating'
                            then jsonb_set(g.fact::jsonb, '{number}', to_jsonb(number.number))::json else g.fact end
    from json_array_elements($5::json) with ordinality as g(fact, part), verdict, number
    where verdict.is_made
    order by g.part
    on conflict (try, part) do nothing
    returning number, fact
)
select verdict.is_made, place.is_rewound, (select coalesce(json_agg(key), '[]') from mine)::text as keys,
       (select coalesce(json_agg(json_build_object('number', number, 'fact', fact) order by number), '[]') from (
           select number, fact from asyncsdk.batch_fact where number > $7 union all select number, fact from made
       ) facts)::text as facts
from verdict, place
