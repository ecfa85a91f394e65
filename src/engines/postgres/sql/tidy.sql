-- The tallies are added up, and what nobody needs is deleted.

-- What any number of sweepers may skip as long as one of them does it, now and then.
create function tidy() returns void language plpgsql {{settings}} as $$
begin
  if not pg_try_advisory_xact_lock(hashtextextended(current_schema() || ' tidy', 0)) then return; end if;
  if (select count(*) from (select from tallies limit 1000) first) = 1000 then
    with added as (delete from tallies returning *)
    insert into tallies select lane, kind, sum(count) from added group by lane, kind having sum(count) <> 0;
  end if;
  delete from waits where seen_at < now_ms() - 86400000;
  if (select count(*) from (select from lanes limit 1000) first) = 1000 then perform drop_lanes(); end if;
end $$;

-- So that a queue per customer does not leave a lane for every customer there ever was. Whoever has looked up a lane and not
-- committed yet keeps this from getting its lock; it is done another time then.
create function drop_lanes() returns void language plpgsql as $$
begin
  lock table lanes in access exclusive mode nowait;
  delete from lanes l where not exists (select from runs r where r.lane = l.id and r.status = 0)
    and not exists (select from runs r where r.lane = l.id and r.status = 1)
    and not exists (select from runs r where r.lane = l.id and r.status = -1)
    and not exists (select from runs r where r.lane = l.id and r.status >= 2);
exception when lock_not_available then null;
end $$;
