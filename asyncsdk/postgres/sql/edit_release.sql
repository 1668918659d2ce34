-- A person decides that uncertain edits are sent again: those with the keys in $1, or all where that is null. $2: at
-- once; $3: else only those that were started this many seconds ago, to which no answer can come any more.
-- Law: it raises the epoch, so that an answer that comes all the same has a name of its own. They go on to count: each
-- may be paid.
with asked as materialized (
    select e.key, $2 or e.started is null or e.started <= clock_timestamp() - $3 * interval '1 second' as is_old
    from asyncsdk.edit e
    where e.status = 'uncertain' and e.phase is null
      and ($1::json is null or e.key in (select json_array_elements_text($1::json)))
    order by e.key
    for update of e
), released as (
    update asyncsdk.edit e set status = 'failed', epoch = e.epoch + 1, try = $4, problem = null
    from asked where e.key = asked.key and asked.is_old
    returning e.key
)
select e.id, asked.is_old, extract(epoch from e.started + $3 * interval '1 second')::float8 as free_at
from asked join asyncsdk.edit e on e.key = asked.key order by e.key
