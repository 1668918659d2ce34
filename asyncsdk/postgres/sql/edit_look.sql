-- A page of edits, by their keys, with the process that has the open claim.
-- Law: it takes no lock, and reads older versions too, in which nothing has a cost or a key.
-- What is decided of it is a compare-and-set on `epoch` and `try`.
select e.key, e.id, e.status, e.phase, e.epoch, e.try, e.digest, e.source, e.n, e.files, e.usage, e.problem, e.run,
       e.new_digest, e.new_source, later.cost, later.header, later.new_generation,
       coalesce(later.generation, 0) as generation, extract(epoch from later.tried)::float8 as tried,
       extract(epoch from later.new_tried)::float8 as new_tried, extract(epoch from e.at)::float8 as at, extract(epoch from e.started)::float8 as started,
       h.id as holder, h.pid, h.host, h.machine, coalesce(h.until > clock_timestamp(), false) as is_alive,
       extract(epoch from clock_timestamp())::float8 as now
from json_array_elements_text($1::json) as g(key)
join asyncsdk.edit e on e.key = g.key
cross join lateral jsonb_to_record(to_jsonb(e)) as later(
    cost bigint, generation integer, tried timestamptz, header text, new_generation integer, new_tried timestamptz)
left join asyncsdk.holder h on h.id = e.holder and e.phase is not null
