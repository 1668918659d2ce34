-- Forget processes whose lease ended a day ago.
-- Law: a key whose holder is not listed counts as lapsed, so that nothing depends on these rows.
delete from asyncsdk.holder where until < clock_timestamp() - interval '1 day'
