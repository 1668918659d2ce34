-- The facts about batches after the number $1.
-- Law: they are added one after the other, so that none comes before one that was read.
select number, fact::text as fact from asyncsdk.batch_fact where number > $1 order by number
