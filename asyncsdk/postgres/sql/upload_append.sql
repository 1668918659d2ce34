-- Append records to keys that are ours; the keys that are come back.
-- Law: a record is added only under the epoch of a claim that nobody has taken since; the lock on its key keeps a
-- claim away until this is committed. The number of a record within its claim makes a second try the same as the first.
with given as (
    select * from json_to_recordset($2::json)
        as g(key text, epoch bigint, number bigint, at float8, kind text, line text)
), ours as materialized (
    select k.key, k.epoch from asyncsdk.upload_key k
    where k.holder = $1 and (k.key, k.epoch) in (select g.key, g.epoch from given g)
    order by k.key
    for share of k
), added as (
    insert into asyncsdk.upload_record (key, epoch, number, at, kind, line)
    select g.key, g.epoch, g.number, to_timestamp(g.at), g.kind, g.line
    from given g join ours on ours.key = g.key and ours.epoch = g.epoch
    on conflict (key, epoch, number) do nothing
)
select key, epoch from ours
