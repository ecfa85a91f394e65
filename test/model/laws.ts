// The laws that hold in every state of the memory store, and those that hold at the end of a fair run.
import { isEnded } from '../../src/contract/engine.ts'
import type { MemoryLedger } from '../../src/engines/memory/ledger.ts'
import type { World } from './world.ts'
import { LEASE_UNITS } from './world.ts'

/** The laws that this state breaks, in words; empty for a sound one. */
export function violations(world: World): string[] {
  const wrong: string[] = []
  world.store.step((ledger) => {
    const tickets = ticketsOf(ledger)
    const live = new Map<string, number>()
    for (const run of ledger.runs.values()) {
      const { id, status, place } = run
      const count = tickets.get(id) ?? 0
      if (status === 'pending' && place !== 'behind' && count !== 1)
        wrong.push(`the pending run ${id} has ${count} tickets`)
      if ((status !== 'pending' || place === 'behind') && count > 0)
        wrong.push(`the ${status} run ${id} has a ticket`)
      if (status === 'running' && (run.token === undefined || !ledger.running.has(id)))
        wrong.push(`the running run ${id} has no lease that ends`)
      if (isEnded(status) && !Number.isFinite(run.expiresAt)) wrong.push(`the ended run ${id} never goes`)
      if (place === 'stands' && !isEnded(status)) {
        const key = id.slice(0, 64)
        live.set(key, (live.get(key) ?? 0) + 1)
        if (ledger.slots.get(key)?.run !== run) wrong.push(`the run ${id} stands under no key`)
      }
    }
    for (const [key, count] of live) if (count > 1) wrong.push(`${count} live runs stand under ${key}`)
    for (const [key, { run, accepted, next }] of ledger.slots) {
      if (next !== undefined && (run === undefined || isEnded(run.status)))
        wrong.push(`the run ${next.id} waits behind nothing that lives`)
      if (accepted !== undefined && accepted.status !== 'completed')
        wrong.push(`the result under ${key} is of a run that is ${accepted.status}`)
      if (run !== undefined && !ledger.runs.has(run.id)) wrong.push(`the key ${key} outlives its run`)
    }
  })
  for (const [id, ends] of world.ends) if (ends > 1) wrong.push(`the run ${id} ended ${ends} times`)
  return wrong
}

function ticketsOf(ledger: MemoryLedger): Map<string, number> {
  const tickets = new Map<string, number>()
  for (const { run } of ledger.lanes.tickets()) tickets.set(run.id, (tickets.get(run.id) ?? 0) + 1)
  return tickets
}

/** From here on everybody does their work: each run that was acknowledged must come to an end, and be readable until then. */
export function violationsOfFairRun(world: World): string[] {
  const wrong: string[] = []
  const open = new Set([...world.acknowledged].filter((id) => !isOver(world, id)))
  for (let round = 0; round < 40 && open.size > 0; round++) {
    world.act({ do: 'sweep' })
    for (const who of [0, 1]) {
      const worker = world.workers[who]
      if (worker?.held === undefined) world.act({ do: 'claim', who, lost: false })
      if (worker?.held !== undefined || world.workers[who]?.held !== undefined)
        world.act({ do: 'settle', who, kind: worker?.pending?.kind ?? 'completed', lost: false })
    }
    for (const id of open) {
      const [entry] = world.store.read([id])
      if (entry === undefined) return [`the acknowledged run ${id} is gone before it ended`]
      if (!isEnded(entry.status)) continue
      open.delete(id)
      if (!world.told.has(id)) return [`nobody was told of the end of the run ${id}`]
    }
    if (round > LEASE_UNITS) wrong.push(...orphansOf(world))
    if (wrong.length > 0) return wrong
    world.act({ do: 'tick' })
  }
  return [...open].map((id) => `the acknowledged run ${id} never ends`)
}

/** Runs whose lease was over before the last sweep, and which run on. */
function orphansOf(world: World): string[] {
  return world.store.step((ledger) =>
    [...ledger.running.values()]
      .filter((run) => run.leaseUntil <= world.now - 1_000)
      .map(({ id }) => `the run ${id} of a dead worker was not brought back within lease and sweep`),
  )
}

/** It has ended, or it had and its retention is over. */
function isOver(world: World, id: string): boolean {
  const [entry] = world.store.read([id])
  return entry === undefined ? world.ends.has(id) : isEnded(entry.status)
}
