-- The next $2 keys after $1, with their records and the process that holds them.
-- Law: it takes no lock, and each page is of one moment.
with page as (select key, epoch, holder from asyncsdk.upload_key where key > $1 order by key limit $2)
select page.key, page.epoch as claim, h.pid, h.host, h.machine, r.epoch, r.number, r.line
from page
left join asyncsdk.holder h on h.id = page.holder and h.until > clock_timestamp()
left join asyncsdk.upload_record r on r.key = page.key
order by page.key, r.epoch, r.number
