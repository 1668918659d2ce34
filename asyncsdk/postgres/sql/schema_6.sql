-- Version 6 of the schema `asyncsdk`: keys by which a server knows edits again; facts about batches that may go.
-- Law: as for version 1. Where nobody works at an edit, the columns of its open claim are as they are made here.
alter table asyncsdk.edit
    add column generation integer not null default 0,  -- of the key of its last attempt
    add column tried timestamptz,  -- when that key was sent first; null: the server knows none, or surely did nothing
    add column header text,  -- in which its key was sent: in another one the server may know none
    add column new_generation integer,  -- of the open claim
    add column new_tried timestamptz,
    add column asks boolean not null default false;  -- the open claim asks for the answer to the last attempt

alter table asyncsdk.batch_fact add column at timestamptz not null default clock_timestamp();

insert into asyncsdk.schema_version (version) values (6);
