-- Remove records of a key that is ours: those that its settled upload makes useless.
-- Law: as for appending, only under the epoch of a claim that nobody has taken since.
with ours as materialized (
    select k.key from asyncsdk.upload_key k where k.holder = $1 and k.key = $2 and k.epoch = $3 for share of k
)
delete from asyncsdk.upload_record r using ours, json_to_recordset($4::json) as u(epoch bigint, number bigint)
where r.key = ours.key and r.epoch = u.epoch and r.number = u.number
