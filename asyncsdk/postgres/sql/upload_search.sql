-- The keys in whose records one of these words is, with all their records.
-- Law: as for a page. What is found may be more than what was meant, never less.
with page as (
    select k.key, k.epoch, k.holder from asyncsdk.upload_key k
    where exists (
        select from asyncsdk.upload_record r, json_array_elements_text($1::json) as word
        where r.key = k.key and position(word in r.line) > 0
    )
)
select page.key, page.epoch as claim, h.pid, h.host, h.machine, r.epoch, r.number, r.line
from page
left join asyncsdk.holder h on h.id = page.holder and h.until > clock_timestamp()
left join asyncsdk.upload_record r on r.key = page.key
order by page.key, r.epoch, r.number
