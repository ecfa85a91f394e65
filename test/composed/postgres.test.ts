// What of the conformance suite asks most of a store, with @keyv/postgres as the store of tasks.
import { KeyvPostgres } from '@keyv/postgres'
import { Keyv } from 'keyv'
import { afterAll, describe, test } from 'vitest'
import { conformance } from '../../src/conformance/index.ts'
import { Keyed } from '../../src/drivers/keyv.ts'
import { sharedUrl } from '../servers/shared.ts'
import { redisApart, redisLock, serverFactory } from './servers.ts'

// @keyv/postgres has one pool a process, and whoever closes it closes it for all: held here, it is closed last.
let held: { keyv: Keyv; last: Keyed } | undefined
function tasks(): Keyv {
  if (held === undefined) {
    const store = new KeyvPostgres({ uri: sharedUrl('postgres'), table: 'composed', iterationLimit: 1_000 })
    const keyv = new Keyv({ store })
    held = { keyv, last: new Keyed(keyv, 'held') }
  }
  return held.keyv
}

const factory = serverFactory('composed of @keyv/postgres and redlock', () => ({
  tasks,
  lock: () => redisLock(redisApart()),
}))

/** For a case that is played again because the machine stood still. */
const LONG_MS = 60_000

describe.concurrent('conformance', () => {
  // The rest waits for the clock, and says nothing that the other stores don't.
  for (const { name, run } of conformance(factory))
    if (/: (admit|claim|duplicates|attended|flow|races): /.test(name)) test(name, run, LONG_MS)
})

afterAll(() => held?.last.close())
