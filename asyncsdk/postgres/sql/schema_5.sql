-- Version 5 of the schema `asyncsdk`: edits in batches.
-- Law: as for version 1. An edit that is in a batch is started, and its holder is the batch, whose row in
-- `asyncsdk.holder` has no end: so it never lapses, and no run takes it.
create table asyncsdk.batch (
    key text primary key,  -- ours
    id uuid not null unique,  -- as a holder of edits
    number integer not null,
    holder uuid not null  -- the process that brings it to its end
);

-- A fact about batches, as `images/ledger/book.py` has it. They are added under the ledger's lock: so who has read up to
-- a number has read all before it.
create table asyncsdk.batch_fact (
    number bigint generated always as identity primary key,
    try uuid not null,  -- of who added it: one whose answer was lost asks again
    part integer not null,
    fact json not null,
    unique (try, part)
);

insert into asyncsdk.schema_version (version) values (5);
