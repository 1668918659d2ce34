-- All records of a key, in the order in which they were written.
-- Law: read after the key was claimed, in a statement of its own: no earlier claim adds anything any more.
select epoch, number, line from asyncsdk.upload_record where key = $1 order by epoch, number
