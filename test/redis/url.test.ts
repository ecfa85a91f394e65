// How a Redis URL is read, and how keys are spread over shards and slots.
import { expect, test } from 'vitest'
import { readUrl } from '../../src/drivers/redis-url.ts'
import { RedisEngine } from '../../src/engines/redis/index.ts'
import { shardTags, slotOf } from '../../src/engines/redis/shards.ts'

test('urls name servers, arrangement, login, database and options', () => {
  expect(readUrl('redis://localhost')).toMatchObject({
    kind: 'single',
    hosts: [{ host: 'localhost', port: 6379 }],
    tls: false,
    db: 0,
  })
  expect(readUrl('rediss://user:p%40ss@[::1]:7000/3?prefix=app&shards=4')).toMatchObject({
    hosts: [{ host: '::1', port: 7000 }],
    tls: true,
    username: 'user',
    password: 'p@ss',
    db: 3,
    prefix: 'app',
    shards: 4,
  })
  expect(readUrl('rediss+cluster://:secret@a,b:7001')).toMatchObject({
    kind: 'cluster',
    hosts: [
      { host: 'a', port: 6379 },
      { host: 'b', port: 7001 },
    ],
    tls: true,
    password: 'secret',
  })
  expect(readUrl('redis+sentinel://u:p@a,b:1/2?name=main&sentinelPassword=s')).toMatchObject({
    kind: 'sentinel',
    hosts: [
      { host: 'a', port: 26379 },
      { host: 'b', port: 1 },
    ],
    master: 'main',
    sentinelPassword: 's',
    username: 'u',
    db: 2,
  })
})

test.each([
  ['redis://a:b@host:99999', /names the host/],
  ['redis://a,b', /several hosts/],
  ['redis://host/first', /database/],
  ['redis+cluster://host/1', /only 0/],
  ['redis+sentinel://host', /name of the master/],
  ['redis://host?colour=red', /unknown option 'colour'/],
  ['redis://host?name=main', /for redis\+sentinel/],
  ['redis://a:%zz@host', /percent-encoded/],
  ['http://host', /can’t be read/],
])('%s is refused', (url, message) => {
  expect(() => new RedisEngine({ url })).toThrow(expect.objectContaining({ code: 'INVALID_URL' }))
  expect(() => readUrl(url)).toThrow(message)
})

test('messages show no password', () => {
  for (const url of ['redis://user:geheim@host?x=1', 'redis+sentinel://host?sentinelPassword=geheim']) {
    expect(() => readUrl(url)).toThrow(
      expect.not.objectContaining({ message: expect.stringContaining('geheim') }),
    )
  }
})

test('prefixes and numbers of shards are checked', () => {
  const make = (options: object) => () => new RedisEngine({ url: 'redis://host', ...options })
  for (const options of [
    { prefix: 'a{b' },
    { prefix: '' },
    { prefix: 'a*' },
    { shards: 0 },
    { shards: 1.5 },
  ]) {
    expect(make(options)).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }))
  }
})

test('shards lie evenly over the slots of a cluster', () => {
  // What CLUSTER KEYSLOT says of it.
  expect(slotOf('123456789')).toBe(12739)
  expect(shardTags('deferq', 1)).toEqual(['{deferq:0}'])
  for (const count of [2, 3, 12, 100]) {
    const slots = shardTags('deferq', count).map((tag) => slotOf(tag.slice(1, -1)))
    for (const masters of [2, 3, 4]) {
      const loads = Array.from({ length: masters }, () => 0)
      for (const slot of slots) loads[Math.floor((slot * masters) / 16_384)]!++
      if (count % masters === 0) expect(new Set(loads).size).toBe(1)
    }
  }
})
