// What one call costs with 1,000, 100,000 and 1,000,000 tasks waiting: a case for each kind of call.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { NAME, openDeferq, paramsOf } from './contenders.mjs'
import { callsPerSecond, inSlices, perSecond } from './load.mjs'

export const unit = '/s'
// All rounds together stay below the 2,097,152 keys at which Redis doubles its table and copies it in passing, which makes a call
// take a quarter longer: that is the price of growing, and told apart from what a backlog costs.
export const size = { full: 30_000, quick: 2_000 }
export const engines = ['redis', 'memory', 'sqlite', 'postgres']
/** Filled in minutes, and left out of a quick run. */
export const slow = ['deferq, 1,000,000 waiting', 'deferq, 1,000,000 for later']
/** Opened once for all rounds: filling takes far longer than measuring. */
export const lasting = true

const LEASE_MS = 60_000
const DAY_MS = 86_400_000

/** What waits now, or from tomorrow on, one each second. */
export async function hold({ deferq, fill }, backlog, later) {
  const schedule = (indexes) =>
    deferq.dispatchMany(
      indexes.map((index) => ({
        name: NAME,
        params: paramsOf(index),
        options: { delay: DAY_MS + index * 1_000 },
      })),
    )
  await inSlices(backlog, 10_000, later ? schedule : fill)
}

/**
 * By another process where that is possible: one whose young generation has grown with a million tasks takes half as long again for
 * each of its calls, whatever waits in the store.
 */
async function filled(at, opened, backlog, later) {
  if (at.url === 'memory:') return hold(opened, backlog, later)
  const child = fork(new URL('./hold.mjs', import.meta.url), [JSON.stringify({ at, backlog, later })])
  const [code] = await once(child, 'exit')
  if (code !== 0) throw new Error(`What fills the store ended with code ${code}.`)
}

const holding =
  (backlog, { later = false } = {}) =>
  async (at) => {
    const opened = await openDeferq(at)
    const { deferq, close } = opened
    const engine = await deferq.open()
    await filled(at, opened, backlog, later)
    let next = backlog
    const ids = []
    return {
      async dispatch(count) {
        const from = next
        next += count
        return callsPerSecond(count, 100, async (index) => {
          const { taskId } = await deferq.dispatch(NAME, paramsOf(from + index))
          ids[index % 1_000] = taskId
        })
      },
      /** A hundred at a time, as a worker does. */
      async work(count) {
        const began = performance.now()
        let outcomes = []
        for (let left = count; left > 0 || outcomes.length > 0; ) {
          const want = { names: [NAME], limit: Math.min(100, left), leaseMs: LEASE_MS }
          const { claimed } = await engine.settle(outcomes, left > 0 ? want : undefined)
          left -= claimed.length
          if (claimed.length === 0 && left > 0) throw new Error(`${left} of ${count} were not to be had.`)
          outcomes = claimed.map(({ entry: { id }, token }) => ({
            id,
            token,
            kind: 'completed',
            result: 'null',
          }))
        }
        return perSecond(count, began)
      },
      status: (count) => callsPerSecond(count, 100, (index) => deferq.getStatus(ids[index % ids.length])),
      close,
    }
  }

export const contenders = {
  deferq: holding(1_000),
  'deferq, 100,000 waiting': holding(100_000),
  'deferq, 1,000,000 waiting': holding(1_000_000),
}

/** Nothing of it is due for a day: what is due now is to be found as if it were alone. */
export const scheduled = {
  deferq: holding(1_000, { later: true }),
  'deferq, 100,000 for later': holding(100_000, { later: true }),
  'deferq, 1,000,000 for later': holding(1_000_000, { later: true }),
}
