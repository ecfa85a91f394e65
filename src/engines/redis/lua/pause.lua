-- The verb pause: a queue or a name gives nothing out, or gives out again.
--
-- KEYS 1  the shard's tag, with which each of its keys begins             {deferq:0}
-- ARGV 1  whether PUBLISH counts who heard it: 1, or 0 on a cluster;       1
--         with a + where the same call may have been done already
--      2  q and the queue, or n and the name                               njob
--      3  whether it is to be paused: 1 or 0                               1
--
-- Answers 1.

local function verb(argv)
  reset()
  if argv[3] == '1' then
    call('SADD', T .. 'paused', argv[2])
    call('ZADD', LANES, '-inf', '!')
  elseif call('SREM', T .. 'paused', argv[2]) == 1 then
    if call('EXISTS', T .. 'paused') == 0 then call('ZREM', LANES, '!') end
    for _, name in ipairs(call('ZRANGE', LANES, '0', '-1')) do
      local member = sub(name, 1, 1) == 'g' and sub(name, 2)
      if member then
        local group = call('ZRANGE', T .. 't:' .. member, '0', '0')[1]
        name = group and call('ZRANGE', T .. 'g:' .. member .. '\1' .. group, '0', '0')[1] or '!'
      end
      local lane = name ~= '!' and spelled(name)
      if lane and (argv[2] == 'n' .. lane.name or argv[2] == 'q' .. lane.queue) then
        ready[name] = call('LLEN', lane.key)
      end
    end
  end
  finish()
  return 1
end
