-- How uploads began, since $1 (unix time).
-- Law: more than what was asked for is no mistake; the caller looks at sizes.
select epoch, number, line from asyncsdk.upload_record where kind in ('opened', 'posting') and at >= to_timestamp($1) order by at
