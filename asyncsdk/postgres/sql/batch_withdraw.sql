-- Surely nothing of the batch with the key $2 was done. Of the edits that it holds, those in $3 are claimed by the holder $1,
-- each by its new try; the others are as they were before it, and count no more. $4: the run; $5 and $6: the try and the
-- facts to add; $7: the number of the last fact that was read.
-- Law: as for `batch_begin`; a new claim raises the epoch. In key order.
with given as materialized (
    select * from json_to_recordset($3::json) as g(key text, new uuid)
), batch as materialized (
    select id from asyncsdk.batch where key = $2
), held as materialized (
    select e.key, g.new from asyncsdk.edit e join batch on e.holder = batch.id left join given g on g.key = e.key
    where e.phase = 'started'
    order by e.key
    for update of e
), kept as (
    update asyncsdk.edit e
    set phase = 'claimed', holder = $1, epoch = e.epoch + 1, try = held.new, new_digest = null, new_source = null, new_n = null,
        new_generation = null, new_tried = null
    from held where e.key = held.key and held.new is not null
    returning e.key, e.epoch
), freed as (
    update asyncsdk.edit e set phase = null, try = gen_random_uuid(), new_generation = null, new_tried = null, asks = false
    from held where e.key = held.key and held.new is null
    returning e.new_cost
), counted as (
    insert into asyncsdk.ledger_worker as w (holder, run, edits, cost, writes)
    select $1, $4, -count(*), -coalesce(sum(new_cost), 0), 1 from freed
    on conflict (holder) do update set edits = w.edits + excluded.edits, cost = w.cost + excluded.cost, writes = w.writes + 1
), made as (
    insert into asyncsdk.batch_fact (try, part, fact)
    select $5, g.part, g.fact from json_array_elements($6::json) with ordinality as g(fact, part) order by g.part
    on conflict (try, part) do nothing
    returning number, fact
), over as (
    delete from asyncsdk.batch where key = $2
), gone as (
    delete from asyncsdk.holder h using batch where h.id = batch.id
)
select (select coalesce(json_agg(json_build_object('key', key, 'epoch', epoch)), '[]') from (
           select key, epoch from kept
           union all select e.key, e.epoch from asyncsdk.edit e join given g on g.key = e.key
           where e.try = g.new and e.holder = $1 and e.phase = 'claimed'
       ) mine)::text as keys,
       (select coalesce(json_agg(json_build_object('number', number, 'fact', fact) order by number), '[]') from (
           select number, fact from asyncsdk.batch_fact where number > $7 union all select number, fact from made
       ) facts)::text as facts
