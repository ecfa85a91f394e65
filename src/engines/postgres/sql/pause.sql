-- The verb `pause`.

-- Whoever claims has read what is paused, and keeps this from its lock until it commits: after this, none gives out any more.
create function pause(a_kind text, a_value text, is_paused boolean) returns void language plpgsql {{settings}} as $$
begin
  lock table paused in access exclusive mode;
  if is_paused then
    insert into paused values (a_kind, a_value) on conflict do nothing;
    return;
  end if;
  delete from paused where kind = a_kind and value = a_value;
  perform wake(l.id, now_ms(), 8) from lanes l
  where case a_kind when 'q' then l.queue else l.name end = a_value
    and exists (select from runs r where r.lane = l.id and r.status = 0);
end $$;
