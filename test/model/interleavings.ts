// Every interleaving of a small world, breadth first: each state once, told apart by a hash of all that can make a difference later.
import { createHash } from 'node:crypto'
import type { Run } from '../../src/engines/memory/runs.ts'
import { violations, violationsOfFairRun } from './laws.ts'
import type { Action, Scenario } from './world.ts'
import { World } from './world.ts'

export interface Exploration {
  scenario: string
  depth: number
  states: number
  transitions: number
  fairRuns: number
  /** How often each outcome and transition was reached. */
  reached: Map<string, number>
  /** The first violation, with the actions that lead to it. */
  violation?: string
}

interface Node {
  action: Action | undefined
  before: Node | undefined
}

export function explore(scenario: Scenario, depth: number): Exploration {
  const found: Exploration = {
    scenario: scenario.name,
    depth,
    states: 1,
    transitions: 0,
    fairRuns: 0,
    reached: new Map(),
  }
  const known = new Set([hashOf(new World(scenario))])
  let level: Node[] = [{ action: undefined, before: undefined }]
  for (let at = 0; at < depth; at++) {
    const next: Node[] = []
    for (const node of level) {
      for (const action of replay(scenario, node).enabled()) {
        const child: Node = { action, before: node }
        const world = replay(scenario, node)
        const seenBefore = world.seen.length
        world.act(action)
        found.transitions++
        for (const what of world.seen.slice(seenBefore))
          found.reached.set(what, (found.reached.get(what) ?? 0) + 1)
        const wrong = violations(world)
        if (wrong.length > 0) return { ...found, violation: told(wrong, child) }
        const hash = hashOf(world)
        if (known.has(hash)) continue
        known.add(hash)
        found.states++
        next.push(child)
      }
    }
    level = next
  }
  for (const node of level) {
    found.fairRuns++
    const wrong = violationsOfFairRun(replay(scenario, node))
    if (wrong.length > 0) return { ...found, violation: told(wrong, node) }
  }
  return found
}

/** The store cannot be copied: a state is made again by the actions that lead to it. */
function replay(scenario: Scenario, node: Node): World {
  const world = new World(scenario)
  for (const action of actionsOf(node)) world.act(action)
  return world
}

function actionsOf(node: Node): Action[] {
  const actions: Action[] = []
  for (let at: Node | undefined = node; at?.action !== undefined; at = at.before) actions.push(at.action)
  return actions.reverse()
}

const told = (wrong: string[], node: Node): string =>
  [...wrong, ...actionsOf(node).map((action, index) => `  ${index + 1}. ${JSON.stringify(action)}`)].join(
    '\n',
  )

/** Moments count from now, and those that are over are alike. Tokens are told by what they are good for. */
function hashOf(world: World): string {
  const { now } = world
  const ahead = (moment: number | undefined): number => Math.max(0, (moment ?? 0) - now)
  const parts: unknown[] = []
  world.store.step((ledger) => {
    const slotOf = (run: Run) => ledger.slots.get(run.id.slice(0, 64))
    for (const run of ledger.runs.values()) {
      const { id, status, place, attempt, priority } = run
      const usable = slotOf(run)?.accepted === run
      parts.push([id, status, place, usable, attempt, priority, run.followUps?.size ?? 0, run.errors.length])
      parts.push([run.dueAt, run.leaseUntil, run.freshUntil, run.staleUntil, run.rememberedUntil].map(ahead))
      parts.push(ahead(run.expiresAt))
    }
    const tokenState = (held: { id: string; token: string }): string => {
      const run = ledger.runs.get(held.id)
      if (run?.token === held.token) return 'present'
      return run?.lastToken === held.token ? 'settled' : 'stale'
    }
    for (const { held, pending } of world.workers)
      parts.push(held && [held.id, tokenState(held), pending?.kind])
    const lasts = [...ledger.runs.values()].map((run) => run.lastToken !== undefined)
    parts.push(lasts)
  })
  parts.push(world.dispatchers, world.cancelled, world.invalidated, [...world.acknowledged].sort())
  return createHash('sha1').update(JSON.stringify(parts)).digest('base64')
}
