-- Edits, of those in $1, that were started and are as they were seen, and whose holder's lease lapsed ($3: whether that
-- may be said) or is among those in $2, which are known to be gone: they are uncertain.
-- Law: a row that was changed since is another's, whose lease this statement may not see. Epoch and try stay, so that an
-- answer that comes late still ends the edit. They are of no run: none of them came to its end by itself.
with gone as materialized (
    select e.key, e.epoch = g.epoch and e.try = g.last as is_as_seen
    from json_to_recordset($1::json) as g(key text, epoch bigint, last uuid)
    join asyncsdk.edit e on e.key = g.key left join asyncsdk.holder h on h.id = e.holder
    where e.phase = 'started'
      and (e.holder in (select g::uuid from json_array_elements_text($2::json) as g)
           or ($3 and not coalesce(h.until > clock_timestamp(), false)))
    order by e.key
    for update of e skip locked
)
update asyncsdk.edit e
set status = 'uncertain', phase = null, at = clock_timestamp(), run = null, digest = new_digest, source = new_source,
    n = coalesce(new_n, 1), files = null, usage = null, problem = null, images = null, request_id = null,
    cost = new_cost, generation = coalesce(new_generation, generation), tried = new_tried,
    new_generation = null, new_tried = null, asks = false
from gone where e.key = gone.key and gone.is_as_seen
returning e.key
