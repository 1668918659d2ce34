-- Remove keys that are of no use any more; those that went come back.
-- Law: one that was claimed since it was read has another epoch, and stays; so does one that a living holder has, and
-- one that is locked.
with free as materialized (
    select k.key from asyncsdk.upload_key k
    left join asyncsdk.holder h on h.id = k.holder
    where (k.key, k.epoch) in (select u.key, u.epoch from json_to_recordset($1::json) as u(key text, epoch bigint))
      and not coalesce(h.until > clock_timestamp(), false)
    order by k.key
    for update of k skip locked
), records as (
    delete from asyncsdk.upload_record r using free where r.key = free.key
)
delete from asyncsdk.upload_key k using free where k.key = free.key returning k.key
