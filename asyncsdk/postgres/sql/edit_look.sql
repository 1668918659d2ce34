-- A page of edits, by their keys, with the process that has the open claim.
-- Law: it takes no lock, and reads older versions too: where an edit lacks a column, it is that of `older`.
-- What is decided of it is a compare-and-set on `epoch` and `try`. `date_part` gives a double; `extract` gives a numeric,
-- whose way to a double takes as long as the rest of a row.
select e.key, e.id, e.status, e.phase, e.epoch, e.try, e.digest, e.source, e.n, e.files, e.usage, e.problem, e.run,
       e.new_digest, e.new_source, e.cost, e.new_cost, e.generation, e.new_generation, e.header, e.asks,
       date_part('epoch', e.tried) as tried, date_part('epoch', e.new_tried) as new_tried,
       date_part('epoch', e.at) as at, date_part('epoch', e.started) as started,
       h.id as holder, h.pid, h.host, h.machine, coalesce(h.until > clock_timestamp(), false) as is_alive,
       date_part('epoch', clock_timestamp()) as now
from json_array_elements_text($1::json) as g(key)
cross join (
    select null::bigint as cost, null::bigint as new_cost, 0 as generation, null::integer as new_generation,
           null::timestamptz as tried, null::timestamptz as new_tried, null::text as header,
           false as asks
) older
cross join lateral (
    select key, id, status, phase, epoch, try, digest, source, n, files, usage, problem, run, new_digest, new_source,
           cost, new_cost, generation, new_generation, tried, new_tried, header, asks, at, started, holder
    from asyncsdk.edit where edit.key = g.key
) e
left join asyncsdk.holder h on h.id = e.holder and e.phase is not null
