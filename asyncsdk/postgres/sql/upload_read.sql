-- All records of the keys in $1, those of each in the order in which they were written.
-- Law: read after the keys were claimed, in a statement of its own: no earlier claim adds anything any more.
select key, epoch, number, line from asyncsdk.upload_record
where key in (select json_array_elements_text($1::json))
order by key, epoch, number
