// Bugs planted in the functions on the server: a case of the conformance suite must turn red for each, or it proves nothing.
import { expect, test } from 'vitest'
import { conformance } from '../../src/conformance/index.ts'
import { REWRITE } from '../../src/engines/postgres/index.ts'
import { sharedUrl } from '../servers/shared.ts'
import { postgresFactory } from './factory.ts'

/** Whether the case still passes with the functions rewritten. */
async function passes(name: string, find: string, replace: string): Promise<boolean> {
  let planted = 0
  const rewrite = (sql: string): string => {
    planted += sql.split(find).length - 1
    return sql.replaceAll(find, replace)
  }
  const factory = postgresFactory('postgres', () => ({ url: sharedUrl('postgres'), [REWRITE]: rewrite }))
  const found = conformance(factory).find((each) => each.name === `postgres: ${name}`)
  if (found === undefined) throw new Error(`There is no case '${name}'.`)
  const passed = await found.run().then(
    () => true,
    () => false,
  )
  expect(planted, `the place for the bug: ${find}`).toBeGreaterThan(0)
  return passed
}

const BUGS: [bug: string, name: string, find: string, replace: string][] = [
  [
    'an outcome is accepted whatever its token',
    'leases: a token that never was, and an id that never was, are lost',
    'r.status is distinct from 1 or r.token <> o.token',
    'r.status is distinct from 1',
  ],
  [
    'a claim takes what is not due',
    'claim: what is delayed is claimable once it is due, and says when that is',
    'r.status = 0 and r.due_at <= t',
    'r.status = 0',
  ],
  [
    'a sweep takes every lease for an expired one',
    'leases: a heartbeat keeps the lease, and carries progress',
    'where runs.lease_until <= t limit',
    'where true limit',
  ],
  [
    'a refresh forgets the result it refreshes',
    'admit: refresh runs anew while the old result goes on answering the others',
    'update runs set place = 1 where key = d.key and place = 0',
    'update runs set place = aside_of(tail) where key = d.key and place = 0',
  ],
  [
    'the end of a run drops what follows it',
    'follow-ups: a success fires its own and those for both, and tells them of the result',
    'if r.followed then',
    'if false then',
  ],
  [
    'an accepted result is left alone when the refresh after it is swept away',
    'forget: a result outlives the refreshes that fail after it',
    'update runs set place = 0 where key = any(removed) and place = 1',
    'delete from runs where key = any(removed) and place = 1',
  ],
]

for (const [bug, name, find, replace] of BUGS) {
  test(bug, async () => {
    expect(await passes(name, find, replace)).toBe(false)
    expect(await passes(name, find, find)).toBe(true)
  })
}
