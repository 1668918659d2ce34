-- The ledger was copied elsewhere, which $2 says: no run of any version begins here any more, as for `ledger_hold`.
-- Law: under the ledger's lock, in a statement of its own. Only if the process whose options are $1 has had it alone since
-- the processes of it had made $3 changes. To say it twice is the same as once.
update asyncsdk.ledger set is_rewound = true, run = 9223372036854775807, options = $2
where options = $2
   or (options = $1 and (select coalesce(sum(writes), 0) from asyncsdk.ledger_worker) = $3::bigint
       and not exists (select from asyncsdk.edit where phase is not null))
returning true as is_sealed
