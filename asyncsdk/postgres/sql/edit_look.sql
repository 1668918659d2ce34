-- A page of edits, by their keys, with the process that has the open claim.
-- Law: it takes no lock, and reads older versions too, in which nothing has a cost. What is decided of it is a compare-and-set on `epoch` and `try`.
select e.key, e.id, e.status, e.phase, e.epoch, e.try, e.digest, e.source, e.n, e.files, e.usage, e.problem, e.run,
       e.new_digest, e.new_source, (to_jsonb(e)->>'cost')::bigint as cost, (to_jsonb(e)->>'new_cost')::bigint as new_cost,
       extract(epoch from e.at)::float8 as at, extract(epoch from e.started)::float8 as started,
       h.id as holder, h.pid, h.host, h.machine, coalesce(h.until > clock_timestamp(), false) as is_alive,
       extract(epoch from clock_timestamp())::float8 as now
from json_array_elements_text($1::json) as g(key)
join asyncsdk.edit e on e.key = g.key
left join asyncsdk.holder h on h.id = e.holder and e.phase is not null
