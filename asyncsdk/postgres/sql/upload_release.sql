-- Give keys of the holder $1 back. $2: each key, and the attempt that claimed it.
-- Law: only the attempt that claimed it can; for any other this does nothing. So it may be asked by one that does not
-- know whether it succeeded. Keys are locked in their order, as for appending: two that wait can't wait for each other.
with given as (
    select * from json_to_recordset($2::json) as g(key text, attempt uuid)
), ours as materialized (
    select k.key from asyncsdk.upload_key k
    where k.holder = $1 and (k.key, k.attempt) in (select g.key, g.attempt from given g)
    order by k.key
    for update of k
)
update asyncsdk.upload_key k set holder = null, attempt = null from ours where k.key = ours.key
