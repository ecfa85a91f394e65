-- Takes a message out of the hands of the consumer that holds this token, and answers its bytes; false if it does not hold it.

local function take(queue, token)
  local ends = redis.call('ZSCORE', queue .. ':leases', token)
  if not ends or tonumber(ends) <= now then return false end
  local _, body = split(redis.call('HGET', queue .. ':held', token))
  redis.call('ZREM', queue .. ':leases', token)
  redis.call('HDEL', queue .. ':held', token)
  redis.call('LREM', queue .. ':processing', 1, body)
  return body
end
