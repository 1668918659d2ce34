-- Forget $2 edits of a copy that was not finished, for the process whose options are $1, which makes it again.
-- Law: as for `edit_put`.
with ours as (
    select from asyncsdk.ledger where options = $1
), gone as (
    delete from asyncsdk.edit e using ours where e.key in (select key from asyncsdk.edit order by key limit $2)
    returning e.key
)
select exists (select from ours) as is_ours, (select count(*) from gone) as gone
