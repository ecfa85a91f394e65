// Bugs planted in the server-side scripts: the conformance suite must turn red for each, or it proves nothing.
import { expect, test } from 'vitest'
import { conformance } from '../../src/conformance/index.ts'
import { REWRITE } from '../../src/engines/redis/index.ts'
import { sharedUrl } from '../servers/shared.ts'
import { redisFactory } from './factory.ts'

/** Runs a group of the suite with every script rewritten, and answers the names of the cases that failed. */
async function failures(group: string, find: string, replace: string): Promise<string[]> {
  let planted = 0
  const rewrite = (source: string): string => {
    if (source.includes(find)) planted++
    return source.replaceAll(find, replace)
  }
  const factory = redisFactory('redis', () => sharedUrl('redis'), 1, { [REWRITE]: rewrite })
  const cases = conformance(factory).filter(({ name }) => name.startsWith(`redis: ${group}:`))
  const done: PromiseSettledResult<void>[] = []
  // Some at a time: the cases count time by the server's clock, and a crowd would make each of them late.
  for (let from = 0; from < cases.length; from += 16) {
    done.push(...(await Promise.allSettled(cases.slice(from, from + 16).map(({ run }) => run()))))
  }
  expect(planted, `the place for the bug: ${find}`).toBeGreaterThan(0)
  return cases.flatMap(({ name }, index) => (done[index]?.status === 'rejected' ? [name] : []))
}

test('an outcome is accepted whatever its token', async () => {
  const failed = await failures('leases', "r.status ~= 'r' or r.token ~= token", "r.status ~= 'r'")
  expect(failed).toContain(
    'redis: leases: a stale token changes nothing: the late outcome is lost, the newer one stands',
  )
  expect(failed).toContain('redis: leases: a token that never was, and an id that never was, are lost')
})

test('an outcome with its claim is accepted whatever has become of the run', async () => {
  const failed = await failures('leases', 'same = cache[k] == text', 'same = true')
  expect(failed).toContain(
    'redis: leases: a stale token changes nothing: the late outcome is lost, the newer one stands',
  )
  const ends = await failures('ends', 'same = cache[k] == text', 'same = true')
  expect(ends).toContain('redis: ends: of a run that has met others')
  expect(ends).toContain('redis: ends: of a usual run')
})

test('an end by itself is accepted whatever has become of the run', async () => {
  const failed = await failures('ends', "if tryCall('GET', k) ~= text or call", 'if call')
  expect(failed).toContain('redis: ends: of a run that has met others')
  expect(failed).toContain('redis: ends: of a run with something rare about it')
})

test('a draft by itself is begun whatever stands there', async () => {
  const failed = await failures(
    'own work',
    "if call('EXISTS', k, LANES, D) > 0 or not isNew(flags) and call('EXISTS', A .. key .. run) > 0 then return end",
    '',
  )
  expect(failed).toContain(
    'redis: own work: asked for again, it is joined while it runs, and a hit when it is done',
  )
  expect(failed).toContain('redis: own work: what was ready before it comes before it')
  expect(failed).toContain('redis: own work: of a paused lane nothing begins')
})

test('the key of a run that lives has a time to live', async () => {
  const failed = await failures(
    'leases',
    'local list = lasts and endings or writes',
    "lasts = lasts or '150'\n  local list = endings",
  )
  expect(failed).toContain('redis: leases: no key times out while its run lives, however short its times are')
})

test('a sweep takes every lease for an expired one', async () => {
  const failed = await failures('leases', 'if expiry <= now and', 'if')
  expect(failed).toContain('redis: leases: a heartbeat keeps the lease, and carries progress')
})

test('a refresh forgets the result it refreshes', async () => {
  const failed = await failures(
    'admit',
    'local pointer = accepted and accepted.run or nil',
    'local pointer = nil',
  )
  expect(failed).toContain(
    'redis: admit: refresh runs anew while the old result goes on answering the others',
  )
})

test('the end of an attempt makes no room in its group', async () => {
  const failed = await failures('flow', 'if kind.group then ran(kind, -count) end', '')
  expect(failed).toContain('redis: flow: every way in which an attempt ends makes room')
})

test('what waits behind a run stays there when that run is superseded or ends', async () => {
  const failed = await failures('duplicates', "if behind ~= '' then", 'if false then')
  expect(failed).toContain('redis: duplicates: what waits behind a run comes forward however that ends')
})

test('a pause is forgotten by those who claim', async () => {
  const failed = await failures('flow', "if lanes[1] ~= '!' then", 'if true then')
  expect(failed).toContain(
    'redis: flow: a paused queue or name gives nothing out, until it is resumed for both',
  )
})
