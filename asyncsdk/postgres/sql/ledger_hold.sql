-- A copy of the ledger $2 is being made here, by the process that $1 names: no run of any version begins. That would be
-- the run after the greatest number, which the server refuses, even once a person has accepted what seems to be lost.
-- Law: under the ledger's lock, in a statement of its own. Only where nothing is, or what an earlier copy of the same
-- ledger has left.
with place as materialized (
    select l.is_rewound, l.options::json ->> 'copied-from' as origin, l.options::json ->> 'moved-to' as moved_to,
           exists (select from asyncsdk.edit) as has_edits,
           exists (select from asyncsdk.ledger_worker w join asyncsdk.holder h on h.id = w.holder
                   where w.run = l.run and not w.is_over and h.until > clock_timestamp()) as is_in_use
    from asyncsdk.ledger l
), held as (
    update asyncsdk.ledger set is_rewound = true, run = 9223372036854775807, options = $1
    from place
    where place.origin = $2
       or (place.origin is null and place.moved_to is null and not has_edits and not is_in_use and not place.is_rewound)
    returning 1
)
select place.*, exists (select from held) as is_held from place
