-- The verb `admit`: alike drafts are one insert, and the rest goes through the rules one by one.

create function admit(kinds json, hex text, params json, places integer[], address text, tx boolean) returns json language plpgsql {{settings}} as $$
declare
  t bigint := now_ms();
  birth bigint := nextval('births');
  ids bytea := decode(hex, 'hex');
  kind ask := json_populate_record(null::ask, kinds->0);
  kind_lane integer;
  kind_due bigint;
  put integer;
  ds ask[];
  d ask;
  made bytea[];
  hits json[];
  answers json[] := '{}';
  next_made integer := 1;
  next_hit integer := 1;
begin
  if json_array_length(kinds) = 1 and kind."then" is null then
    kind_lane := lane_of(kind.name, kind.queue, kind.priority, kind.grp);
    kind_due := greatest(t, least(coalesce(kind.due, t + kind.delay), t + kind.most_delay));
    if tx then
      {{insert_alike}} on conflict (key, place) do nothing;
      get diagnostics put = row_count;
    else
      -- To be ready for a conflict costs a tenth of all. Inside somebody's own transaction it is what costs least: each of
      -- these blocks would be one more part of that.
      begin
        {{insert_alike}};
        get diagnostics put = row_count;
      exception when unique_violation then
        {{insert_alike}} on conflict (key, place) do nothing;
        get diagnostics put = row_count;
      end;
    end if;
    if put > 0 then
      insert into tallies values (kind_lane, 'pending', put), (0, 'created', put);
      perform wake(kind_lane, kind_due, put, tx);
    end if;
    if put * 44 = length(ids) then return json_build_object('now', t, 'answers', answers); end if;
    ds := asks(kinds, ids, admit.params, places, birth, t);
    select array_agg(n.key || n.tail order by n.key) into made from unnest(ds) n
    where put > 0 and exists (select from runs r where r.key = n.key and r.place = 0 and r.tail = n.tail and r.created_at = t);
  else
    ds := asks(kinds, ids, admit.params, places, birth, t);
    perform lane_of(name, queue, priority, grp) from unnest(ds)
    where not exists (
      select from lanes l where (l.name, l.queue, l.priority, l.grp) = (unnest.name, unnest.queue, unnest.priority, coalesce(unnest.grp, ''))
    );
    {{insert_asked}}
    perform store_follow_ups(key, tail, "then") from unnest(ds) where "then" is not null and key || tail = any(made);
    if cardinality(made) = cardinality(ds) then return json_build_object('now', t, 'answers', answers); end if;
  end if;

  select array_agg(json_build_array(h.ord, 'hit', h.mismatch is null or r.params = h.params, null, standing(r::runs, l)) order by h.key, h.ord)
  into hits
  from unnest(ds) h
  -- By its key and nothing else: an index of what has ended may look cheaper to the planner, and is not.
  cross join lateral (select * from runs where runs.key = h.key and runs.place in (0, 1) offset 0) r
  join lanes l on l.id = r.lane
  where r.status = 2 and r.fresh_until > t and r.expires_at > t and h."then" is null and not coalesce(h.refresh, false)
    and (h.mismatch is distinct from 'reject' or r.params = h.params)
    and not exists (
      select from (select tail from runs where runs.key = h.key and runs.place in (0, 1, h.aside) offset 0) own
      where own.tail = h.tail
    );
  if hits is not null then
    perform tally(0, 'hit', cardinality(hits));
    answers := hits;
  end if;

  -- All three are in order of their keys, so one pass tells what is left to be looked at more closely.
  foreach d in array ds loop
    if made[next_made] = d.key || d.tail then next_made := next_made + 1;
    elsif (hits[next_hit]->>0)::integer = d.ord then next_hit := next_hit + 1;
    else answers := answers || meet(d, address, tx); end if;
  end loop;
  return json_build_object('now', t, 'answers', answers);
end $$;
