-- The epoch of a key, to see whether it was claimed since.
-- Law: as for a page.
select epoch from asyncsdk.upload_key where key = $1
