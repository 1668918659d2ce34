-- A person decides that uncertain edits are sent again: those with the keys in $1, or all where that is null. $2: at
-- once; $3: else only those that were started this many seconds ago, to which no answer can come any more. One that was
-- started is uncertain too once its holder's lease has lapsed, whether a run has seen that yet or not.
-- Law: it raises the epoch, so that an answer that comes all the same has a name of its own. They go on to count: each
-- may be paid. They are of no run: one that is under way sends them. A row that was changed since it was seen is
-- another's, whose lease this statement may not see. In key order.
with seen as materialized (
    select e.key, e.epoch, e.try
    from asyncsdk.edit e left join asyncsdk.holder h on h.id = e.holder and h.until > clock_timestamp()
    where ((e.phase is null and e.status = 'uncertain') or (e.phase = 'started' and h.id is null))
      and ($1::json is null or e.key in (select json_array_elements_text($1::json)))
), asked as materialized (
    select e.key, $2 or e.started is null or e.started <= clock_timestamp() - $3 * interval '1 second' as is_old
    from seen join asyncsdk.edit e on e.key = seen.key
    where e.epoch = seen.epoch and e.try = seen.try and (e.phase = 'started' or (e.phase is null and e.status = 'uncertain'))
    order by e.key
    for update of e
), released as (
    update asyncsdk.edit e
    set status = 'failed', phase = null, epoch = e.epoch + 1, try = $4, run = null, problem = null,
        at = case when e.phase is null then e.at else e.started end,
        digest = case when e.phase is null then e.digest else e.new_digest end,
        source = case when e.phase is null then e.source else e.new_source end,
        n = case when e.phase is null then e.n else coalesce(e.new_n, 1) end,
        files = case when e.phase is null then e.files end,
        usage = case when e.phase is null then e.usage end,
        images = case when e.phase is null then e.images end,
        request_id = case when e.phase is null then e.request_id end,
        cost = case when e.phase is null then e.cost else e.new_cost end,
        generation = case when e.phase is null then e.generation else coalesce(e.new_generation, e.generation) end,
        tried = case when e.phase is null then e.tried else e.new_tried end,
        new_generation = null, new_tried = null, asks = false
    from asked where e.key = asked.key and asked.is_old
    returning e.key
)
select e.id, asked.is_old, date_part('epoch', e.started + $3 * interval '1 second') as free_at
from asked join asyncsdk.edit e on e.key = asked.key order by e.key
