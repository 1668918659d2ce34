-- Append records to keys that are ours; the keys that are come back, with the numbers of what is there now.
-- Law: a record is added only under the epoch of a claim that nobody has taken since; the lock on its key keeps a
-- claim away until this is committed. The number of a record within its claim makes a second try the same as the first;
-- where another line has its number, as after a table was restored, it is not there, and its number does not come back.
with given as (
    select * from json_to_recordset($2::json)
        as g(key text, epoch bigint, number bigint, at float8, kind text, line text)
), ours as materialized (
    select k.key, k.epoch from asyncsdk.upload_key k
    where k.holder = $1 and (k.key, k.epoch) in (select g.key, g.epoch from given g)
    order by k.key
    for share of k
), added as (
    insert into asyncsdk.upload_record as r (key, epoch, number, at, kind, line)
    select g.key, g.epoch, g.number, to_timestamp(g.at), g.kind, g.line
    from given g join ours on ours.key = g.key and ours.epoch = g.epoch
    on conflict (key, epoch, number) do update set line = excluded.line where r.line = excluded.line
    returning r.key, r.epoch, r.number
)
select key, epoch, added.number from ours left join added using (key, epoch)
