-- Those of the batches in $2 that the holder $1 brings to their ends: its own, and those whose process is gone. $3: whether
-- it may be said that a lease has lapsed.
-- Law: a batch is taken from the process that an earlier part of the statement showed. A locked one is in use.
with seen as materialized (
    select b.key, b.holder, coalesce(h.until > clock_timestamp(), false) as is_alive
    from asyncsdk.batch b left join asyncsdk.holder h on h.id = b.holder
    where b.key in (select json_array_elements_text($2::json))
), free as materialized (
    select b.key from asyncsdk.batch b join seen on seen.key = b.key
    where b.holder = seen.holder and (seen.holder = $1 or ($3 and not seen.is_alive))
    order by b.key
    for update of b skip locked
)
update asyncsdk.batch b set holder = $1 from free where b.key = free.key returning b.key
